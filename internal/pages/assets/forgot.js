// The page on which users request a link to reset their password.

import { call } from './api.js';
import { $, notify } from './dom.js';
import { onSubmit } from './forms.js';
import { t } from './texts.js';

onSubmit($('forgot'), ({ email }) => call('POST', '/auth/password/forgot', { email: email.value }), ({ status }) => {
  notify(t('forgot.done'), { status });
});
