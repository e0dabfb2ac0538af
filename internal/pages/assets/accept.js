// The page of the link in an invitation. The link contains the email and perhaps the name.

import { call } from './api.js';
import { $ } from './dom.js';
import { onSubmit } from './forms.js';
import { goOnAs } from './navigation.js';
import { currentToken, forgetToken, showOnly, takeToken } from './token.js';

onSubmit($('accept'), ({ name, email, password }) => call('register', {
  invitation: currentToken(),
  name: name.value,
  email: email.value,
  password: password.value,
}), (result) => {
  forgetToken();
  goOnAs(result);
});

takeToken((link) => {
  showOnly(link ? 'accept' : 'incomplete', 'accept', 'incomplete');
  if (!link) return $('title').focus();

  const { name, email, password } = $('accept').elements;
  email.value = link.get('email') ?? '';
  name.value ||= link.get('name') ?? '';
  (name.value === '' ? name : password).focus();
});
