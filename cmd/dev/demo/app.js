// The demo calls the API as a single-page application does: from another origin, with
// the session cookie, which it can neither read nor set.

const api = document.querySelector('meta[name="latchkey-api"]').content;
const $ = (id) => document.getElementById(id);

const reasons = {
  idle_timeout: 'You were away for too long.',
  absolute_timeout: 'It has lasted as long as a session may.',
  logged_out: 'You logged out.',
  revoked: 'It was ended from another place.',
  password_changed: 'The password was changed.',
  account_disabled: 'The account is disabled.',
  account_deleted: 'The account was deleted.',
  too_many_sessions: 'You logged in at too many places.',
};

// call sends a request, shows what came back, and returns it. It does not throw: what
// goes wrong on the way is shown as well.
async function call(method, path, body) {
  const started = performance.now();
  let status = 0, answer = null;
  try {
    const response = await fetch(api + path, {
      method,
      credentials: 'include', // send the cookie, and keep what comes back
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    status = response.status;
    const text = await response.text();
    answer = text === '' ? null : JSON.parse(text);
  } catch (error) {
    answer = { message: `No answer that this page may read: ${error.message}. Is the API at ${api}, and is ${location.origin} in FRONTEND_URL?` };
  }
  log(method, path, status, answer, performance.now() - started);
  return { ok: status >= 200 && status < 300, status, answer };
}

function log(method, path, status, answer, took) {
  const entry = document.createElement('li');
  const details = Object.assign(document.createElement('details'), { open: true });
  const head = document.createElement('summary');
  const code = Object.assign(document.createElement('span'), { className: `status ${status >= 200 && status < 300 ? 'ok' : 'bad'}`, textContent: status || 'no answer' });
  head.append(Object.assign(document.createElement('code'), { textContent: `${method} ${path}` }), ' ', code,
    Object.assign(document.createElement('span'), { className: 'muted', textContent: ` in ${Math.round(took)} ms` }));
  details.append(head);
  if (answer !== null) {
    details.append(Object.assign(document.createElement('pre'), { textContent: JSON.stringify(answer, null, 2), tabIndex: 0 }));
  }
  entry.append(details);
  for (const older of $('log').querySelectorAll('details')) older.open = false;
  $('log').prepend(entry);
  while ($('log').children.length > 20) $('log').lastChild.remove();
  $('log-empty').hidden = true;
}

function notify(text, bad = false) {
  $('notice').textContent = text;
  $('notice').classList.toggle('bad', bad);
}

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

function ago(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return seconds < 0 ? 'just now' : 'in less than a minute';
}

function time(text) {
  return Object.assign(document.createElement('time'), { dateTime: text, textContent: ago(text), title: when.format(new Date(text)) });
}

function describe(list, entries) {
  list.replaceChildren(...entries.flatMap(([term, value]) => {
    const description = document.createElement('dd');
    description.append(value);
    return [Object.assign(document.createElement('dt'), { textContent: term }), description];
  }));
}

// show asks who is signed in, and shows that. It is called after everything that may
// have changed it, also by another tab or another device.
async function show() {
  const session = await call('GET', '/auth/session');
  if (!session.ok) {
    if (session.answer?.reason) notify(`Your session has ended. ${reasons[session.answer.reason] ?? ''}`, true);
    $('signed-in').hidden = $('account').hidden = true;
    $('signed-out').hidden = session.status !== 401;
    if (session.status !== 401) notify(session.answer?.message ?? `The API answers ${session.status}.`, true);
    return session;
  }
  const [me, sessions] = await Promise.all([call('GET', '/auth/me'), call('GET', '/auth/sessions')]);
  if (!me.ok || !sessions.ok) {
    const failed = me.ok ? sessions : me;
    if (failed.status === 401) return show();
    notify(failed.answer?.message ?? `The API answers ${failed.status}.`, true);
    return failed;
  }
  const { user } = me.answer;
  $('account-name').textContent = user.name;
  $('account-email').textContent = user.email;
  $('profile').elements.name.value = user.name;
  const s = session.answer;
  const id = Object.assign(document.createElement('span'), { className: 'mono', textContent: s.sessionId });
  describe($('session'), [['Id', id], ['Logged in', time(s.createdAt)], ['Last seen', time(s.lastSeenAt)],
    ['Ends unused', time(s.idleExpiresAt)], ['Ends anyway', time(s.expiresAt)]]);
  $('sessions').replaceChildren(...sessions.answer.sessions.map(listed));
  $('end-others').disabled = sessions.answer.sessions.length < 2;
  $('signed-out').hidden = true;
  $('signed-in').hidden = $('account').hidden = false;
  return session;
}

function listed(s) {
  const item = document.createElement('li');
  const text = document.createElement('p');
  text.append(Object.assign(document.createElement('strong'), { textContent: s.device }));
  if (s.current) text.append(Object.assign(document.createElement('span'), { className: 'badge', textContent: 'this one' }));
  const line = Object.assign(document.createElement('span'), { className: 'muted' });
  line.append(document.createElement('br'), `${s.ip} · last seen `, time(s.lastSeenAt), ' · logged in ', time(s.createdAt));
  text.append(line);
  item.append(text);
  if (!s.current) {
    const end = Object.assign(document.createElement('button'), { type: 'button', textContent: 'End', ariaLabel: `End the session of ${s.device}` });
    end.addEventListener('click', () => act(end, async () => {
      const result = await call('DELETE', `/auth/sessions/${s.id}`);
      return result.ok ? { ...result, says: `The session of ${s.device} has ended.` } : result;
    }));
    item.append(end);
  }
  return item;
}

// act does something that a button asks for, once, says how it went, and shows what is
// true then.
async function act(button, what) {
  button.disabled = true;
  const result = await what();
  const fields = (result.answer?.errors ?? []).map((e) => e.message).join('; ');
  const reason = result.answer?.reason;
  notify(reason ? `Your session has ended. ${reasons[reason] ?? ''}` : fields || (result.says ?? result.answer?.message ?? ''), !result.ok);
  await show();
  button.disabled = false;
}

function onSubmit(form, request) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    act(form.querySelector('button'), async () => {
      const result = await request(form.elements);
      if (result.ok) form.querySelectorAll('input[type=password]').forEach((input) => { input.value = ''; });
      return result;
    });
  });
}

const onClick = (id, what) => $(id).addEventListener('click', () => act($(id), what));

onSubmit($('login'), ({ email, password, rememberMe }) => call('POST', '/auth/login', { email: email.value, password: password.value, rememberMe: rememberMe.checked }));
onSubmit($('register'), ({ name, email, password }) => call('POST', '/auth/register', { name: name.value, email: email.value, password: password.value }));
onSubmit($('profile'), ({ name }) => call('PUT', '/profile', { name: name.value }));
onClick('logout', () => call('POST', '/auth/logout'));
onClick('rotate', () => call('POST', '/auth/rotate-session'));
onClick('refresh', async () => ({ ok: true, says: '' }));
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

$('api').textContent = api;
await show();
