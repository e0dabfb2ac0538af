// Calls the API, logs the responses on the page, and explains them.

import { $, element } from '/dom.js';

export const api = document.querySelector('meta[name="latchkey-api"]').content;

const reasons = {
  idle_timeout: 'You were inactive for too long.',
  absolute_timeout: 'It reached its maximum age.',
  logged_out: 'You logged out.',
  revoked: 'It was ended on another device.',
  password_changed: 'The password was changed.',
  email_changed: 'The email was changed.',
  account_disabled: 'The account is disabled.',
  account_deleted: 'The account was deleted.',
  too_many_sessions: 'You signed in on too many devices.',
  several_sessions: 'Your browser has the cookies of several sessions. Log in again.',
};

const labels = {
  name: 'Name',
  email: 'Email',
  password: 'Password',
  currentPassword: 'Current password',
  newPassword: 'New password',
  token: 'Link',
};

// call sends a request, logs the response and returns it. If there is no response, it
// returns the status 0 instead of throwing an error.
export async function call(method, path, body) {
  const started = performance.now();
  let status = 0;
  let answer = null;
  let retryAfter = null;

  try {
    const response = await fetch(api + path, {
      method,
      credentials: 'include', // send and store the session cookie
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    status = response.status;
    retryAfter = response.headers.get('Retry-After');
    const text = await response.text();
    answer = text === '' ? null : JSON.parse(text);
  } catch (error) {
    answer = { message: `No readable response (${error.message}). Check that the API is running at ${api} and that FRONTEND_URL contains ${location.origin}.` };
  }

  log(method, path, status, answer, performance.now() - started);
  return { ok: status >= 200 && status < 300, status, answer, retryAfter };
}

// explain returns a sentence for the user about the result of a call. A result can carry
// its own text.
export function explain({ ok, status, answer, retryAfter, text }) {
  if (text !== undefined) return text;
  if (answer?.reason) return `Your session has ended. ${reasons[answer.reason] ?? ''}`;
  if (status === 429 && retryAfter) return `Too many attempts. Try again in ${retryAfter} ${retryAfter === '1' ? 'second' : 'seconds'}.`;
  if (answer?.errors?.length) return answer.errors.map(explainField).join(' ');

  return answer?.message ?? (ok ? '' : `The API responded with status ${status}.`);
}

// explainField returns a sentence about an invalid field. Some messages begin with the
// name of the field.
function explainField({ field, message }) {
  const label = labels[field] ?? (field || 'The request');
  const rest = message.startsWith(`${field} `) ? message.slice(field.length + 1) : message;
  const sentence = /^[A-Z]/.test(rest) ? rest : `${label} ${rest}`;

  return sentence.endsWith('.') ? sentence : `${sentence}.`;
}

function log(method, path, status, answer, milliseconds) {
  const ok = status >= 200 && status < 300;
  const details = element('details', { open: true }, element('summary', {},
    element('code', { textContent: `${method} ${path}` }), ' ',
    element('span', { className: `status ${ok ? 'ok' : 'bad'}`, textContent: status || 'no response' }),
    element('span', { className: 'muted', textContent: ` ${Math.round(milliseconds)} ms` })));
  if (answer !== null) details.append(element('pre', { textContent: JSON.stringify(answer, null, 2), tabIndex: 0 }));

  for (const older of $('log').querySelectorAll('details')) older.open = false;
  $('log').prepend(element('li', {}, details));
  while ($('log').children.length > 20) $('log').lastChild.remove();
  $('log-empty').hidden = true;
}
