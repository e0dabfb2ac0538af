// The page of the link with which users set a new password.

import { call } from './api.js';
import { $, notify } from './dom.js';
import { onSubmit } from './forms.js';
import { t } from './texts.js';
import { currentToken, forgetToken, showOnly, takeToken } from './token.js';

const parts = ['reset', 'done', 'incomplete'];

onSubmit($('reset'), ({ password }) => call('resetPassword', { token: currentToken(), password: password.value }), () => {
  forgetToken();
  showOnly('done', ...parts);
  notify(t('reset.done'));
  $('done').querySelector('a').focus();
});

takeToken((link) => {
  showOnly(link ? 'reset' : 'incomplete', ...parts);
  if (link) $('reset').elements.password.focus();
  else $('title').focus();
});
