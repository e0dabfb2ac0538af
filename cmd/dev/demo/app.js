// The demo uses the API like any single-page application: from another origin, with a
// session cookie that its scripts can neither read nor set. This is the entry point.
// api.js sends the requests, and actions.js connects buttons and forms to them.

import { showAccount } from '/account.js';
import { onClick, onSubmit, refreshWith, run } from '/actions.js';
import { showActivity, showMoreActivity } from '/activity.js';
import { api, call, explain } from '/api.js';
import { $, describe, element, notify, time } from '/dom.js';
import '/email-links.js';
import { showMethods } from '/methods.js';
import { loadProviders, showSignInError, title } from '/providers.js';

let lastUpdate = 0;

// show loads the session and the account, and updates the page. It runs after every action
// and when the user returns to this tab.
async function show() {
  const update = ++lastUpdate;
  const isOutdated = () => update !== lastUpdate; // a later call has newer data

  const [session] = await Promise.all([call('GET', '/auth/session'), loadProviders()]);
  if (session.answer?.reason) notify(explain(session), { failed: true }); // the API gives the reason only once
  if (isOutdated()) return;

  if (!session.ok) {
    $('signed-in').hidden = true;
    $('account').hidden = true;
    $('signed-out').hidden = session.status !== 401;
    if (session.status !== 401) notify(explain(session), { failed: true });
    return;
  }

  const paths = ['/auth/me', '/auth/sessions', '/auth/activity', '/auth/identities'];
  const results = await Promise.all(paths.map((path) => call('GET', path)));
  if (isOutdated()) return;

  const failed = results.find((result) => !result.ok);
  if (failed?.answer?.reason) notify(explain(failed), { failed: true });
  if (failed?.status === 401) return show();
  if (failed) return notify(explain(failed), { failed: true });

  const [me, sessions, activity, methods] = results.map(({ answer }) => answer);
  showAccount(me.user);
  showMethods(methods, me.user.email);
  showSession(session.answer);
  showSessions(sessions.sessions);
  showActivity(activity);
  $('signed-out').hidden = true;
  $('signed-in').hidden = false;
  $('account').hidden = false;
}

function showSession(session) {
  describe($('session'), [
    ['sessionId', 'ID', element('span', { className: 'mono', textContent: session.sessionId })],
    ['createdAt', 'Started', time(session.createdAt)],
    ['authenticatedAt', 'Authenticated', time(session.authenticatedAt)],
    ['methods', 'Signed in with', session.methods.map((method) => (method === 'password' ? 'Password' : title(method))).join(', ')],
    ['lastSeenAt', 'Last active', time(session.lastSeenAt)],
    ['idleExpiresAt', 'Idle expiry', time(session.idleExpiresAt)],
    ['expiresAt', 'Absolute expiry', time(session.expiresAt)],
  ]);
}

// showSessions lists the sessions of the user, the current one first.
function showSessions(sessions) {
  const sorted = sessions.toSorted((a, b) => b.current - a.current);
  $('sessions').replaceChildren(...sorted.map(listItem));
  $('end-others').disabled = sessions.length < 2;
}

function listItem(session) {
  const text = element('p', {}, element('strong', { textContent: session.device }));
  if (session.current) text.append(element('span', { className: 'badge', textContent: 'current session' }));
  text.append(element('span', { className: 'muted' },
    element('br'), `${session.ip} · started `, time(session.createdAt), ' · last active ', time(session.lastSeenAt)));

  const item = element('li', {}, text);
  if (!session.current) {
    const end = element('button', { type: 'button', textContent: 'End', ariaLabel: `End the session on ${session.device}` });
    end.addEventListener('click', () => run(end, async () => {
      const result = await call('DELETE', `/auth/sessions/${session.id}`);
      return result.ok ? { ...result, text: `Ended the session on ${session.device}.` } : result;
    }));
    item.append(end);
  }
  return item;
}

onSubmit($('login'), ({ email, password, rememberMe }) => call('POST', '/auth/login', {
  email: email.value,
  password: password.value,
  rememberMe: rememberMe.checked,
}));
onSubmit($('register'), ({ name, email, password }) => call('POST', '/auth/register', {
  name: name.value,
  email: email.value,
  password: password.value,
}));
onSubmit($('forgot'), ({ email }) => call('POST', '/auth/password/forgot', { email: email.value }));
onClick('logout', () => call('POST', '/auth/logout'));
onClick('rotate', () => call('POST', '/auth/rotate-session'));
onClick('refresh', async () => ({ ok: true, text: '' }));
onClick('more-activity', showMoreActivity);
onClick('end-others', async () => {
  const result = await call('DELETE', '/auth/sessions');
  if (!result.ok) return result;

  const { revoked } = result.answer;
  return { ...result, text: `Ended ${revoked} other ${revoked === 1 ? 'session' : 'sessions'}.` };
});
onClick('end-all', async () => {
  const result = await call('DELETE', '/auth/sessions?scope=all');
  return result.ok ? { ...result, text: 'Ended all sessions, including this one.' } : result;
});

// The user may have logged out in another tab.
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') show(); });

refreshWith(show);
$('api').textContent = api;
await show();
showSignInError();
