// Signing in with an account elsewhere: where a browser goes for it, and what is said of
// one that came back in vain.

import { api, call } from '/api.js';
import { $, element, notify } from '/dom.js';

const errors = {
  access_denied: 'You were not signed in: it was called off there.',
  provider_error: 'The other side gave an answer that cannot be trusted. Nobody was signed in.',
  provider_unavailable: 'The other side does not answer. Try again in a moment.',
  sign_in_expired: 'This sign-in was begun in another browser, took too long, or was used already. Begin again.',
  link_required: 'There is an account with this address already. Log in to it, and link the other one there.',
  email_missing: 'The other side did not tell an email address, and an account needs one.',
  account_disabled: 'The account is disabled.',
  identity_taken: 'It was not linked: it belongs to another account here.',
  already_linked: 'It was not linked: another account of the same provider is. Unlink that one first.',
  wrong_account: 'That is another account than the one that you are signed in with. Nothing has changed.',
  not_authenticated: 'It was not linked: your session has ended meanwhile. Log in and try again.',
  too_many_requests: 'Too many attempts; try again later.',
  session_store_unavailable: 'Sessions are out of reach. Try again in a moment.',
  user_store_unavailable: 'Accounts are out of reach. Try again in a moment.',
};

let providers;

// askProviders asks, once, whose accounts may be used here, and offers them to who is
// signed out.
export async function askProviders() {
  if (providers) return;
  const result = await call('GET', '/auth/providers');
  if (!result.ok || providers) return;
  providers = result.answer.providers;
  $('elsewhere').hidden = providers.length === 0;
  $('elsewhere-links').replaceChildren(...providers.map(({ name }) => signIn(name, 'Sign in with')));
}

export const known = () => providers ?? [];

// title is how people call a provider. One that is not in the settings any more has only
// its name.
export const title = (name) => known().find((provider) => provider.name === name)?.title ?? name;

export const home = `${location.origin}/`;

// signIn makes a link to sign in with a provider. It is no request of a script: the
// browser leaves.
export function signIn(name, words, more = {}) {
  return element('a', {
    className: 'button', textContent: `${words} ${title(name)}`,
    href: `${api}/auth/${name}?${new URLSearchParams({ return_to: home, ...more })}`,
  });
}

// cameBack tells why a browser came back in vain, and takes that out of the address bar:
// a reload, or a bookmark, is not to tell it again.
export function cameBack() {
  const address = new URL(location);
  const code = address.searchParams.get('error');
  if (code === null) return;
  address.searchParams.delete('error');
  history.replaceState(null, '', address);
  notify(Object.hasOwn(errors, code) ? errors[code] : 'Signing in did not work.', true);
}
