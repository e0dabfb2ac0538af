// The page of the link with which users confirm their email address. Without a link, it tells users
// whose email address is not confirmed that one was sent, and lets them correct a mistyped email.

import { showSignedOut } from './actions.js';
import { call } from './api.js';
import { $, notify } from './dom.js';
import { onClick, onSubmit } from './forms.js';
import { goOn, mustVerify, pageURL } from './navigation.js';
import { setStepUpUser, withStepUp } from './stepup.js';
import { t } from './texts.js';
import { currentToken, forgetToken, showOnly, takeToken } from './token.js';

const parts = ['verify', 'wait', 'done', 'incomplete'];

let accountEmail = '';
let recipient = ''; // of the last link: accountEmail, or the email that replaces it

onSubmit($('verify'), () => call('verifyEmail', { token: currentToken() }), () => {
  forgetToken();
  showOnly('done', ...parts);
  notify(t('verify.done'));
  $('done').querySelector('a').focus();
});

// leaveIfEnded leaves for the sign-in page if the session has ended. Afterwards users go where they wanted
// to go in the first place, not back to this page.
function leaveIfEnded({ error }) {
  if (error?.code !== 'not_authenticated') return false;

  location.replace(pageURL('signin', { ended: error.reason }));
  return true;
}

const check = (request) => async (...args) => {
  const result = await request(...args);
  return result && leaveIfEnded(result) ? undefined : result;
};

function showRecipient(email) {
  recipient = email;
  $('wait-text').textContent = t('verify.wait', { email });
}

// sendLink sends a link to the email of the account, or to another one, which then replaces it.
const sendLink = check((email) => (email === accountEmail
  ? call('resendVerification')
  : withStepUp(() => call('changeEmail', { email }))));

onClick($('resend'), () => sendLink(recipient), () => notify(t('verify.resent')));

onSubmit($('change-email'), ({ email }) => sendLink(email.value.trim()), () => {
  showRecipient($('change-email').elements.email.value.trim());
  $('correct').open = false;
  $('correct').querySelector('summary').focus(); // the form is hidden
  notify(t('verify.resent'));
});

onClick($('signout'), check(() => call('logout')), showSignedOut);

// load returns what the page has to know about the session. Users whose email must be confirmed first
// cannot load their account.
async function load() {
  const [me, session] = await Promise.all(['me', 'session'].map((operation) => call(operation, { background: true })));
  return { session: me.error?.reason ? me : session, isVerified: me.ok && me.answer.user.emailVerified }; // only one may have the reason
}

takeToken(async (link) => {
  if (link) {
    showOnly('verify', ...parts);
    return $('verify').querySelector('button').focus();
  }

  const { session, isVerified } = await load();
  if (isVerified && mustVerify) return goOn(); // there is nothing to wait for any more

  const isWaiting = session.ok && !isVerified;
  if (isWaiting) {
    accountEmail = session.answer.email;
    showRecipient(accountEmail);
    setStepUpUser({ linked: [], email: accountEmail });
    if ($('change-email')) $('change-email').elements.email.value = accountEmail;
  }
  showOnly(isWaiting ? 'wait' : 'incomplete', ...parts);
  $('title').focus();
});

// The user may have opened the link in another tab, or on another device: if it changes the email, that
// ends the session.
document.addEventListener('visibilitychange', async () => {
  if (document.visibilityState !== 'visible' || $('wait').hidden) return;

  const { session, isVerified } = await load();
  if (isVerified) goOn();
  else leaveIfEnded(session);
});
