// Calls the API with its own client, and explains its failures in the language of the page.

import { has, inSeconds, lang, t } from './texts.js';

const { api, page } = document.documentElement.dataset;

// base is the URL of the API without a slash at its end: by default, that of the pages.
export const base = api || new URL('.', document.baseURI).href.slice(0, -1);

const { createClient, LatchkeyError } = await import(`${base}/client.js`);

const listeners = [];

// A new account gets the language that the user has chosen, instead of that of the browser.
const isChosen = new URL(document.baseURI).searchParams.has('lang');
const fetchInLanguage = (url, { headers, ...init }) => fetch(url, { ...init, headers: isChosen ? { ...headers, 'Accept-Language': lang } : headers });

export const client = createClient({
  baseURL: base,
  fetch: fetchInLanguage,
  onResponse: (exchange) => listeners.forEach((listener) => listener(exchange)),
});

// onResponse registers a function that is called after each call.
export function onResponse(listener) { listeners.push(listener); }

// call calls an operation of the client. It returns the answer or the error of the API.
export async function call(operation, args) {
  try {
    return { ok: true, answer: await client[operation](args) };
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return { ok: false, error };
  }
}

// explain returns a sentence for the user about an error of the API.
export function explain({ code, reason, status, retryAfter }) {
  if (reason) return explainEnd(reason);
  if (status === 429 && retryAfter) return t('error.tooMany', { when: inSeconds(retryAfter) });

  return explainCode(code);
}

// explainCode returns a sentence about a failure with a code of the API. A page can have its own one.
export const explainCode = (code) => t([`error.${code}.${page}`, `error.${code}`, 'error.other'].find(has));

// explainEnd returns a sentence about a session that has ended, with the reason that the API reports.
export function explainEnd(reason) {
  const text = has(`reason.${reason}`) ? t(`reason.${reason}`) : '';
  return reason === 'logged_out' ? text : t('ended', { reason: text }).trim();
}
