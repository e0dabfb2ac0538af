// The page on which users manage their account. The sections that change by themselves are in
// sessions.js, activity.js, methods.js and factors.js.

import { check, leaveIfEnded, refreshWith, report, showSignedOut, signOut } from './actions.js';
import { showActivity } from './activity.js';
import { call } from './api.js';
import { $, notify } from './dom.js';
import { showFactors } from './factors.js';
import { showFailure } from './failure.js';
import { onClick, onSubmit, showError } from './forms.js';
import { showMethods } from './methods.js';
import { isSecondStep, pageURL, secondStepCode, showMessages, thisPage } from './navigation.js';
import { showSessions } from './sessions.js';
import { withStepUp } from './stepup.js';
import { lang, t } from './texts.js';

const pollInterval = 60_000;

let user = null;
let lastUpdate = 0;

// refresh loads the account and shows it. In the background it does not extend the session.
async function refresh({ background = false } = {}) {
  const update = ++lastUpdate;
  const operations = ['me', 'listFactors', 'listSessions', 'listActivity', 'listIdentities', 'listDevices'];
  const results = await Promise.all(operations.map((operation) => call(operation, { background })));
  if (update !== lastUpdate) return; // a later call has newer data

  // A session that needs a second factor can do nothing but add one.
  const isRestricted = results.some(isRefused);
  const failed = results.find((result) => !result.ok && !isRefused(result));
  $('loading').hidden = true;
  $('retry').hidden = !failed || user !== null;
  if (failed && leaveIfEnded(results.find(({ error }) => error?.reason) ?? failed)) return;
  if (failed) return showFailure(failed.error);

  const [me, factors, sessions, activity, methods, devices] = results.map(({ answer }) => answer);
  showUser(me.user);
  showFactors(factors, devices?.devices ?? [], isRestricted);
  if (!isRestricted) {
    showMethods(methods, me.user.email);
    showSessions(sessions.sessions);
    showActivity(activity);
  }
  $('account').hidden = false;
  $('user').hidden = false;
}

const isRefused = ({ error }) => error?.code === 'second_factor_required';

// showProfile fills in the form. An account without a locale gets that of the page.
function showProfile() {
  const { name, locale } = $('profile').elements;
  name.value = user.name;

  const stored = [...locale.options].find(({ value }) => user.locale === value || user.locale?.startsWith(`${value}-`));
  if (stored) stored.selected = true;
}

function showUser(shown) {
  const isFirst = user === null;
  user = shown;
  $('account-name').textContent = user.name;
  $('account-email').textContent = user.email;
  $('current-email').textContent = user.email;
  $('change-password').elements.username.value = user.email;
  if (isFirst) showProfile(); // later, the user may be editing it

  $('email-state').textContent = t(user.emailVerified ? 'email.verified' : 'email.unverified');
  $('email-state').classList.toggle('open', !user.emailVerified);
  if ($('resend')) $('resend').hidden = user.emailVerified;
}

// A locale such as pt-BR stays, unless the user chooses another language.
onSubmit($('profile'), check(({ name, locale }) => call('updateProfile', {
  name: name.value,
  locale: user.locale?.startsWith(`${locale.value}-`) ? user.locale : locale.value,
})), async () => {
  const option = $('profile').elements.locale.selectedOptions[0];
  if (option.value !== lang) return location.assign(option.dataset.url);
  await report(t('profile.saved'));
});

onClick($('resend'), check(() => call('resendVerification')), () => report(t('verify.resent')));

onSubmit($('change-email'), check(({ email }) => withStepUp(() => call('changeEmail', { email: email.value }))), async () => {
  const { email } = $('change-email').elements;
  const text = t('email.requested', { email: email.value });
  email.value = '';
  await report(text);
});

onSubmit($('change-password'), check(({ currentPassword, newPassword }) => withStepUp(() => call('changePassword', {
  currentPassword: currentPassword.value,
  newPassword: newPassword.value,
}))), () => report(t('password.changed')));

onSubmit($('set-password'), check(({ newPassword }) => withStepUp(() => call('setPassword', { newPassword: newPassword.value }))),
  () => report(t('password.wasSet')));

onClick($('signout'), signOut, showSignedOut);

onSubmit($('delete'), check(({ confirm }) => {
  if (confirm.value.trim().toLowerCase() !== user.email.toLowerCase()) {
    showError(confirm, t('delete.mismatch', { email: user.email }));
    confirm.focus();
    return undefined;
  }
  return withStepUp(() => call('deleteProfile'));
}), () => location.replace(pageURL('signin', { ended: 'account_deleted' })));

onClick($('retry').firstElementChild, async () => ({ ok: true }), () => refresh());

// The session may end on another device or in another tab. Nothing polls while the tab is hidden, and
// polling does not extend the session.
async function poll() {
  if (document.visibilityState !== 'visible' || user === null) return;
  leaveIfEnded(await call('session', { background: true }));
}

setInterval(poll, pollInterval);
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') refresh({ background: true });
});

// A message about a success covers a part of the page, so it disappears when the user goes on typing.
document.addEventListener('input', () => {
  if (!$('notice').classList.contains('bad')) notify('');
});

// A provider with which the user confirms their identity leads back here before the second step.
if (isSecondStep()) {
  location.replace(pageURL('signin', { error: secondStepCode, return_to: thisPage() }));
} else {
  refreshWith(refresh);
  showMessages();
  await refresh();
}
