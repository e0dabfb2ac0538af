// Signing in with an external provider, such as Google or GitHub.

import { client } from './api.js';
import { afterProvider } from './navigation.js';

// signInURL returns a URL that starts a sign-in. A script cannot fetch it, because the browser itself
// has to go to the provider. Afterwards the browser returns to a page of this site, which explains
// failures.
export function signInURL(provider, returnTo, parameters = {}) {
  return client.startSignInURL({ provider, return_to: returnTo, ...parameters });
}

// The links of a page. The sign-in page goes on to the URL to return to.
for (const link of document.querySelectorAll('[data-provider]')) {
  link.href = signInURL(link.dataset.provider, afterProvider());
}
