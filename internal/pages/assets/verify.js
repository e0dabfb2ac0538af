// The page of the link with which users confirm their email address. Without a link, it tells users
// whose email address is not confirmed that one was sent.

import { showSignedOut, signOut } from './actions.js';
import { call } from './api.js';
import { $, notify } from './dom.js';
import { onClick, onSubmit } from './forms.js';
import { goOn } from './navigation.js';
import { t } from './texts.js';
import { currentToken, forgetToken, showOnly, takeToken } from './token.js';

const parts = ['verify', 'wait', 'done', 'incomplete'];

onSubmit($('verify'), () => call('verifyEmail', { token: currentToken() }), () => {
  forgetToken();
  showOnly('done', ...parts);
  notify(t('verify.done'));
  $('done').querySelector('a').focus();
});

onClick($('resend'), () => call('resendVerification'), () => notify(t('verify.resent')));
onClick($('signout'), signOut, showSignedOut);

takeToken(async (link) => {
  if (link) {
    showOnly('verify', ...parts);
    return $('verify').querySelector('button').focus();
  }

  const session = await call('session', { background: true });
  if (session.ok) $('wait-text').textContent = t('verify.wait', { email: session.answer.email });
  showOnly(session.ok ? 'wait' : 'incomplete', ...parts);
  $('title').focus();
});

// The user may have opened the link in another tab.
document.addEventListener('visibilitychange', async () => {
  if (document.visibilityState !== 'visible' || $('wait').hidden) return;

  const me = await call('me', { background: true });
  if (me.ok && me.answer.user.emailVerified) goOn();
});
