// Signing in with an external provider, such as Google or GitHub.

import { api, call } from '/api.js';
import { $, element, notify } from '/dom.js';

// The API redirects back with one of these codes if a sign-in fails.
const errors = {
  access_denied: 'Sign-in was cancelled.',
  provider_error: 'The provider sent an invalid response, so you were not signed in.',
  provider_unavailable: 'The provider is not responding. Try again in a moment.',
  sign_in_expired: 'This sign-in has expired, was already used, or was started in another browser. Please start again.',
  link_required: 'An account with this email already exists. Log in to it first, then link this provider.',
  email_missing: 'The provider did not share your email, which an account needs.',
  account_disabled: 'This account is disabled.',
  identity_taken: 'Not linked: this external account is already linked to another user.',
  already_linked: 'Not linked: another account of this provider is already linked. Unlink it first.',
  wrong_account: 'You chose a different account than the one you are signed in with. Nothing was changed.',
  not_authenticated: 'Not linked: your session ended in the meantime. Log in and try again.',
  too_many_requests: 'Too many attempts. Try again later.',
  session_store_unavailable: 'Sessions are temporarily unavailable. Try again in a moment.',
  user_store_unavailable: 'Accounts are temporarily unavailable. Try again in a moment.',
};

let loaded;

// loadProviders loads the configured providers once, and shows their buttons.
export async function loadProviders() {
  if (loaded) return;
  const result = await call('GET', '/auth/providers');
  if (!result.ok || loaded) return;

  loaded = result.answer.providers;
  $('providers').hidden = loaded.length === 0;
  $('provider-links').replaceChildren(...loaded.map(({ name }) => signInLink(name, 'Sign in with')));
}

export const providers = () => loaded ?? [];

// title returns the display name of a provider, or its name if it is no longer configured.
export const title = (name) => providers().find((provider) => provider.name === name)?.title ?? name;

export const home = `${location.origin}/`;

// signInLink returns a link that starts a sign-in. A script cannot send this request,
// because the browser itself has to go to the provider.
export function signInLink(name, label, parameters = {}) {
  return element('a', {
    className: 'button',
    textContent: `${label} ${title(name)}`,
    href: `${api}/auth/${name}?${new URLSearchParams({ return_to: home, ...parameters })}`,
  });
}

// showSignInError explains why a sign-in failed. It removes the code from the URL, so that
// a reload or a bookmark does not show the message again.
export function showSignInError() {
  const url = new URL(location);
  const code = url.searchParams.get('error');
  if (code === null) return;

  url.searchParams.delete('error');
  history.replaceState(null, '', url);
  notify(Object.hasOwn(errors, code) ? errors[code] : 'Sign-in failed.', { failed: true, code });
}
