// Calls the API, and explains its responses in the language of the page.

import { has, inSeconds, t } from './texts.js';

const { api } = document.documentElement.dataset;

// base is the URL of the API without a slash at its end: by default, that of the pages.
export const base = api || new URL('.', document.baseURI).href.slice(0, -1);

const listeners = [];

// onResponse registers a function that is called after each call.
export function onResponse(listener) { listeners.push(listener); }

// call sends a request and returns its result. If there is no response, the status is 0. In the
// background, which is for reads that the user has not caused, it does not extend the session.
export async function call(method, path, body, { background = false } = {}) {
  const started = performance.now();
  let status = 0;
  let answer = null;
  let retryAfter = null;

  const headers = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (background) headers['X-Session-Touch'] = 'no';

  try {
    const response = await fetch(base + path, {
      method,
      credentials: 'include', // send and store the session cookie
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    status = response.status;
    retryAfter = response.headers.get('Retry-After');
    const text = await response.text();
    answer = text === '' ? null : JSON.parse(text);
  } catch {
    status = 0;
  }

  for (const listener of listeners) listener({ method, path, status, answer, milliseconds: performance.now() - started });
  return { ok: status >= 200 && status < 300, status, answer, retryAfter };
}

// explain returns a sentence for the user about a call that failed.
export function explain({ status, answer, retryAfter }) {
  if (answer?.reason) return explainEnd(answer.reason);
  if (status === 0) return t('error.network');
  if (status === 429 && retryAfter) return t('error.tooMany', { when: inSeconds(Number(retryAfter)) });

  return explainCode(answer?.code);
}

// explainCode returns a sentence about a failure with a code of the API.
export const explainCode = (code) => t(has(`error.${code}`) ? `error.${code}` : 'error.other');

// explainEnd returns a sentence about a session that has ended, with the reason that the API reports.
export function explainEnd(reason) {
  const text = has(`reason.${reason}`) ? t(`reason.${reason}`) : '';
  return reason === 'logged_out' ? text : t('ended', { reason: text }).trim();
}
