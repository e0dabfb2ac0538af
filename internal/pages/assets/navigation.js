// Where the browser goes next. The server has checked the URL to return to.

import { call, explainCode, explainEnd } from './api.js';
import { notify } from './dom.js';
import { has, t } from './texts.js';

const here = new URL(document.baseURI);
const { home, return: returnTo, verifiedOnly, factorRequired } = document.documentElement.dataset;

// mustVerify reports whether users have to confirm their email before they can do anything else.
export const mustVerify = verifiedOnly !== undefined;

// goOn leaves for the URL to return to. The Back button does not lead back to the form. Users who have to
// add an authenticator app first go to their account, which then goes on.
export async function goOn() {
  const mustAdd = factorRequired !== undefined && (await call('session', { background: true })).answer?.level === 'aal1';
  location.replace(mustAdd ? pageURL('account') : home);
}

// goOnAs is like goOn for a user who has just signed in, and who may have to confirm their email first.
export const goOnAs = ({ answer: { user } }) => (mustVerify && !user.emailVerified ? location.replace(pageURL('verify-email')) : goOn());

// secondStepCode is the code in the URL of a page while a sign-in waits for the second step.
export const secondStepCode = 'second_factor_required';
export const isSecondStep = () => new URL(location).searchParams.get('error') === secondStepCode;

// pageURL returns the URL of another page. It keeps the language and the URL to return to, as the
// links of the page do.
export function pageURL(name, parameters = {}) {
  const url = new URL(name, here);
  if (here.searchParams.has('lang')) url.searchParams.set('lang', here.searchParams.get('lang'));
  if (returnTo) url.searchParams.set('return_to', returnTo);
  for (const [parameter, value] of Object.entries(parameters)) {
    if (value) url.searchParams.set(parameter, value);
  }
  return url.href;
}

// maxReturnLength is the maximum length of a URL to return to that the API accepts.
const maxReturnLength = 2048;

// afterProvider returns the URL to return to after a sign-in with a provider: the sign-in page, which
// explains failures and goes on. If the URL to go on to is too long to be part of another one, the browser
// returns there at once.
export function afterProvider() {
  const page = pageURL('signin');
  return page.length > maxReturnLength ? returnTo : page;
}

// thisPage returns the URL of this page, without the code of a failure.
export function thisPage() { return pageURL(here.pathname.split('/').at(-1)); }

// takeMessage removes a parameter from the URL and returns its value, so that a reload or a bookmark
// does not show a message again.
function takeMessage(parameter) {
  const url = new URL(location);
  const value = url.searchParams.get(parameter);
  if (value !== null) {
    url.searchParams.delete(parameter);
    history.replaceState(null, '', url);
  }
  return value;
}

// showMessages explains why a sign-in with a provider failed, or why the session ended. It reports
// whether there was a failure.
export function showMessages() {
  const reason = takeMessage('ended');
  if (reason && has(`reason.${reason}`)) notify(explainEnd(reason));

  const code = takeMessage('error');
  if (code) notify(has(`error.${code}`) ? explainCode(code) : t('error.signIn'), { failed: true, code });

  return Boolean(code);
}
