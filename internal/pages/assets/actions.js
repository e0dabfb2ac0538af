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

// leaveIfEnded leaves for the sign-in page if a result shows that the session has ended. That page
// explains why, and leads back. If the email must be confirmed first, it leaves for the page about that.
// It reports whether it leaves.
export function leaveIfEnded({ error }) {
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
  return result && leaveIfEnded(result) ? undefined : result;
};

// signOut ends the session.
export const signOut = check(() => call('logout'));
export const showSignedOut = () => location.replace(pageURL('signin', { ended: 'logged_out' }));
