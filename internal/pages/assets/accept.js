// The page of the link in an invitation.

import { call } from './api.js';
import { $ } from './dom.js';
import { onSubmit } from './forms.js';
import { goOnAs } from './navigation.js';
import { currentToken, forgetToken, showOnly, takeToken } from './token.js';

onSubmit($('accept'), ({ name, password }) => call('acceptInvitation', {
  token: currentToken(),
  name: name.value,
  password: password.value,
}), (result) => {
  forgetToken();
  goOnAs(result);
});

takeToken((isComplete) => {
  showOnly(isComplete ? 'accept' : 'incomplete', 'accept', 'incomplete');
  if (isComplete) $('accept').elements.name.focus();
  else $('title').focus();
});
