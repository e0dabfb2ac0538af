// The one-time token of a link in an email. A link is only used when the user clicks a button: mail
// scanners open links, and may even run their scripts.

import { $ } from './dom.js';

let token = '';

export const currentToken = () => token;
export function forgetToken() { token = ''; }

// takeToken takes the token from the fragment, which browsers send to no server. It removes the token
// from the location and the history before any request is sent, and calls show.
export function takeToken(show) {
  const take = () => {
    const given = new URLSearchParams(location.hash.slice(1)).get('token');
    if (given) {
      token = given;
      history.replaceState(null, '', location.pathname + location.search);
    }
    show(token !== '');
  };

  window.addEventListener('hashchange', take); // a link that was pasted into this tab
  take();

  // Another language must not lose the token.
  document.querySelector('.languages').addEventListener('click', (event) => {
    const link = event.target.closest('a');
    if (!link || token === '') return;

    event.preventDefault();
    location.assign(`${link.href}#token=${encodeURIComponent(token)}`);
  });
}

// showOnly shows one of the elements with these IDs, and hides the others.
export function showOnly(shown, ...ids) {
  for (const id of ids) $(id).hidden = id !== shown;
}
