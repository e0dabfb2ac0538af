// The demo calls the API as a single-page application does: from another origin, with
// the session cookie, which it can neither read nor set. It begins here; api.js makes the
// calls, act.js is what buttons do.

import { showAccount } from '/account.js';
import { act, afterwards, onClick, onSubmit } from '/act.js';
import { moreActivity, showActivity } from '/activity.js';
import { api, call, explain } from '/api.js';
import { $, describe, element, notify, time } from '/dom.js';
import { askProviders, cameBack, title } from '/elsewhere.js';
import '/links.js';
import { showWays } from '/ways.js';

let turns = 0;

// show asks who is signed in, and shows that. It is called after everything that may
// have changed it, also by another tab or another device.
async function show() {
  const turn = ++turns;
  const [session] = await Promise.all([call('GET', '/auth/session'), askProviders()]);
  if (session.answer?.reason) notify(explain(session), true); // it is told once
  if (turn !== turns) return; // a later one knows better
  if (!session.ok) {
    $('signed-in').hidden = $('account').hidden = true;
    $('signed-out').hidden = session.status !== 401;
    if (session.status !== 401) notify(explain(session), true);
    return;
  }
  const answers = await Promise.all(['/auth/me', '/auth/sessions', '/auth/activity', '/auth/identities'].map((path) => call('GET', path)));
  if (turn !== turns) return;
  const failed = answers.find((answer) => !answer.ok);
  if (failed?.answer?.reason) notify(explain(failed), true);
  if (failed?.status === 401) return show();
  if (failed) return notify(explain(failed), true);
  const [me, sessions, activity, ways] = answers.map(({ answer }) => answer);
  showAccount(me.user);
  showWays(ways, me.user.email);
  showSession(session.answer);
  $('sessions').replaceChildren(...sessions.sessions.map(listed));
  $('end-others').disabled = sessions.sessions.length < 2;
  showActivity(activity);
  $('signed-out').hidden = true;
  $('signed-in').hidden = $('account').hidden = false;
}

function showSession(s) {
  describe($('session'), [
    ['Id', element('span', { className: 'mono', textContent: s.sessionId })],
    ['Logged in', time(s.createdAt)], ['Proof given', time(s.authenticatedAt)], ['Last seen', time(s.lastSeenAt)],
    ['Ends unused', time(s.idleExpiresAt)], ['Ends anyway', time(s.expiresAt)],
    ['Signed in by', s.methods.map(title).join(', ')],
  ]);
}

function listed(s) {
  const text = element('p', {}, element('strong', { textContent: s.device }));
  if (s.current) text.append(element('span', { className: 'badge', textContent: 'this one' }));
  text.append(element('span', { className: 'muted' },
    element('br'), `${s.ip} · last seen `, time(s.lastSeenAt), ' · logged in ', time(s.createdAt)));
  const item = element('li', {}, text);
  if (!s.current) {
    const end = element('button', { type: 'button', textContent: 'End', ariaLabel: `End the session of ${s.device}` });
    end.addEventListener('click', () => act(end, async () => {
      const result = await call('DELETE', `/auth/sessions/${s.id}`);
      return result.ok ? { ...result, says: `The session of ${s.device} has ended.` } : result;
    }));
    item.append(end);
  }
  return item;
}

onSubmit($('login'), ({ email, password, rememberMe }) => call('POST', '/auth/login', { email: email.value, password: password.value, rememberMe: rememberMe.checked }));
onSubmit($('register'), ({ name, email, password }) => call('POST', '/auth/register', { name: name.value, email: email.value, password: password.value }));
onSubmit($('forgot'), ({ email }) => call('POST', '/auth/password/forgot', { email: email.value }));
onClick('logout', () => call('POST', '/auth/logout'));
onClick('rotate', () => call('POST', '/auth/rotate-session'));
onClick('refresh', async () => ({ ok: true, says: '' }));
onClick('more-activity', moreActivity);
onClick('end-others', async () => {
  const result = await call('DELETE', '/auth/sessions');
  return result.ok ? { ...result, says: `${result.answer.revoked} ended.` } : result;
});
onClick('end-all', async () => {
  const result = await call('DELETE', '/auth/sessions?scope=all');
  return result.ok ? { ...result, says: 'All sessions have ended, this one as well.' } : result;
});

// Back in this tab: another one may have logged out.
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') show(); });

afterwards(show);
$('api').textContent = api;
await show();
cameBack();
