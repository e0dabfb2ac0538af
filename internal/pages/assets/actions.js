// What the actions of the account page have in common: they notice if the session has ended, and
// afterwards the page shows what they changed.

import { call } from './api.js';
import { notify } from './dom.js';
import { pageURL, thisPage } from './navigation.js';

let refresh = async () => {};

// refreshWith sets the function that updates the page.
export function refreshWith(show) { refresh = show; }

// report shows the success of an action, and what it changed.
export async function report(text) {
  notify(text);
  await refresh();
}

// hasEnded leaves the page if a result shows that the session has ended: for the sign-in page, which
// explains why and leads back. It also leaves if the account must not be used yet.
export function hasEnded({ error }) {
  if (error?.code === 'email_not_verified') {
    location.replace(pageURL('verify-email'));
    return true;
  }
  if (error?.code !== 'not_authenticated') return false;

  location.replace(pageURL('signin', { ended: error.reason, return_to: thisPage() }));
  return true;
}

// check wraps a request of an action. If the session has ended, it leaves the page.
export const check = (request) => async (...args) => {
  const result = await request(...args);
  return result && hasEnded(result) ? undefined : result;
};

// signOut ends the session.
export const signOut = check(() => call('logout'));
export const showSignedOut = () => location.replace(pageURL('signin', { ended: 'logged_out' }));
