// Calls of the API, what it said to them, and how that is told to a person.

import { $, element } from '/dom.js';

export const api = document.querySelector('meta[name="latchkey-api"]').content;

const reasons = {
  idle_timeout: 'You were away for too long.',
  absolute_timeout: 'It has lasted as long as a session may.',
  logged_out: 'You logged out.',
  revoked: 'It was ended from another place.',
  password_changed: 'The password was changed.',
  email_changed: 'The email address was changed.',
  account_disabled: 'The account is disabled.',
  account_deleted: 'The account was deleted.',
  too_many_sessions: 'You logged in at too many places.',
};

const fields = {
  name: 'The name', email: 'The email address', password: 'The password',
  currentPassword: 'The current password', newPassword: 'The new password', token: 'The link',
};

// call sends a request, shows what came back, and returns it. It does not throw: what
// goes wrong on the way is shown as well.
export async function call(method, path, body) {
  const started = performance.now();
  let status = 0, answer = null, retryAfter = null;
  try {
    const response = await fetch(api + path, {
      method,
      credentials: 'include', // send the cookie, and keep what comes back
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    status = response.status;
    retryAfter = response.headers.get('Retry-After');
    const text = await response.text();
    answer = text === '' ? null : JSON.parse(text);
  } catch (error) {
    answer = { message: `No answer that this page may read: ${error.message}. Is the API at ${api}, and is ${location.origin} in FRONTEND_URL?` };
  }
  log(method, path, status, answer, performance.now() - started);
  return { ok: status >= 200 && status < 300, status, answer, retryAfter };
}

// explain says in a sentence how a call went.
export function explain({ ok, status, answer, retryAfter, says }) {
  if (says !== undefined) return says;
  if (answer?.reason) return `Your session has ended. ${reasons[answer.reason] ?? ''}`;
  if (status === 429 && retryAfter) return `Too many attempts; try again in ${retryAfter} ${retryAfter === '1' ? 'second' : 'seconds'}.`;
  if (answer?.errors?.length) {
    return answer.errors.map((error) => `${fields[error.field] ?? (error.field || 'The request')} ${error.message}.`).join(' ');
  }
  return answer?.message ?? (ok ? '' : `The API answers ${status}.`);
}

function log(method, path, status, answer, took) {
  const code = element('span', { className: `status ${status >= 200 && status < 300 ? 'ok' : 'bad'}`, textContent: status || 'no answer' });
  const details = element('details', { open: true }, element('summary', {},
    element('code', { textContent: `${method} ${path}` }), ' ', code,
    element('span', { className: 'muted', textContent: ` in ${Math.round(took)} ms` })));
  if (answer !== null) details.append(element('pre', { textContent: JSON.stringify(answer, null, 2), tabIndex: 0 }));
  for (const older of $('log').querySelectorAll('details')) older.open = false;
  $('log').prepend(element('li', {}, details));
  while ($('log').children.length > 20) $('log').lastChild.remove();
  $('log-empty').hidden = true;
}
