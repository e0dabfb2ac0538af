// The page on which users request a link to reset their password.

import { call } from './api.js';
import { $, notify } from './dom.js';
import { onSubmit } from './forms.js';
import { t } from './texts.js';

onSubmit($('forgot'), ({ email }) => call('forgotPassword', { email: email.value }), () => notify(t('forgot.done')));
