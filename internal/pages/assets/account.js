// The page on which users manage their account. The sections that change by themselves are in
// sessions.js, activity.js and methods.js.

import { check, hasEnded, refreshWith, report, showSignedOut, signOut } from './actions.js';
import { showActivity } from './activity.js';
import { call, explain } from './api.js';
import { $, notify } from './dom.js';
import { onClick, onSubmit, showError } from './forms.js';
import { showMethods } from './methods.js';
import { pageURL, showMessages } from './navigation.js';
import { showSessions } from './sessions.js';
import { withStepUp } from './stepup.js';
import { lang, t } from './texts.js';

const pollInterval = 60_000;

let user = null;
let lastUpdate = 0;

// refresh loads the account and shows it. In the background it does not extend the session.
async function refresh({ background = false } = {}) {
  const update = ++lastUpdate;
  const paths = ['/auth/me', '/auth/sessions', '/auth/activity', '/auth/identities'];
  const results = await Promise.all(paths.map((path) => call('GET', path, undefined, { background })));
  if (update !== lastUpdate) return; // a later call has newer data

  const failed = results.find(({ ok }) => !ok);
  $('loading').hidden = true;
  $('retry').hidden = !failed || user !== null;
  if (failed && (hasEnded(results.find(({ answer }) => answer?.reason) ?? failed))) return;
  if (failed) return notify(explain(failed), { failed: true, status: failed.status, code: failed.answer?.code });

  const [me, sessions, activity, methods] = results.map(({ answer }) => answer);
  showUser(me.user);
  showMethods(methods, me.user.email);
  showSessions(sessions.sessions);
  showActivity(activity);
  $('account').hidden = false;
  $('user').hidden = false;
}

function showUser(shown) {
  const isFirst = user === null;
  user = shown;
  $('account-name').textContent = user.name;
  $('account-email').textContent = user.email;
  $('current-email').textContent = user.email;
  $('change-password').elements.username.value = user.email;
  if (isFirst) $('profile').elements.name.value = user.name; // later, the user may be editing it

  $('email-state').textContent = t(user.emailVerified ? 'email.verified' : 'email.unverified');
  $('email-state').classList.toggle('open', !user.emailVerified);
  if ($('resend')) $('resend').hidden = user.emailVerified;
}

onSubmit($('profile'), check(({ name, locale }) => {
  const change = { name: name.value };
  if (user.locale !== undefined) change.locale = locale.value;
  return call('PUT', '/profile', change);
}), async (result) => {
  const option = $('profile').elements.locale.selectedOptions[0];
  if (option.value !== lang) return location.assign(option.dataset.url);
  await report(t('profile.saved'), result);
});

onClick($('resend'), check(() => call('POST', '/auth/email/resend')), (result) => report(t('verify.resent'), result));

onSubmit($('change-email'), check(({ email }) => withStepUp(() => call('POST', '/auth/email/change', { email: email.value }))), async (result) => {
  const { email } = $('change-email').elements;
  const text = t('email.requested', { email: email.value });
  email.value = '';
  await report(text, result);
});

onSubmit($('change-password'), check(({ currentPassword, newPassword }) => call('POST', '/auth/password/change', {
  currentPassword: currentPassword.value,
  newPassword: newPassword.value,
})), (result) => report(t('password.changed'), result));

onSubmit($('set-password'), check(({ newPassword }) => withStepUp(() => call('POST', '/auth/password/set', { newPassword: newPassword.value }))),
  (result) => report(t('password.wasSet'), result));

onClick($('signout'), signOut, showSignedOut);

onSubmit($('delete'), check(({ confirm }) => {
  if (confirm.value.trim().toLowerCase() !== user.email.toLowerCase()) {
    showError(confirm, t('delete.mismatch', { email: user.email }));
    confirm.focus();
    return undefined;
  }
  return withStepUp(() => call('DELETE', '/profile'));
}), () => location.replace(pageURL('signin', { ended: 'account_deleted' })));

onClick($('retry').firstElementChild, async () => ({ ok: true }), () => refresh());

// The session may end on another device or in another tab. Nothing polls while the tab is hidden, and
// polling does not extend the session.
async function poll() {
  if (document.visibilityState !== 'visible' || user === null) return;
  hasEnded(await call('GET', '/auth/session', undefined, { background: true }));
}

setInterval(poll, pollInterval);
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') refresh({ background: true });
});

refreshWith(refresh);
showMessages();
await refresh();
