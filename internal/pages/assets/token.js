// The one-time token of a link in an email. A link is only used when the user clicks a button: mail
// scanners open links, and may even run their scripts.

import { $ } from './dom.js';

let link = new URLSearchParams();

export const currentToken = () => link.get('token') ?? '';
export function forgetToken() { link = new URLSearchParams(); }

// takeToken takes the token from the fragment, which browsers send to no server. It removes the token
// from the location and the history before any request is sent. Then it calls show with what the link
// contains, or with undefined if it has no token.
export function takeToken(show) {
  const take = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    if (given.get('token')) {
      link = given;
      history.replaceState(null, '', location.pathname + location.search);
    }
    show(currentToken() === '' ? undefined : link);
  };

  window.addEventListener('hashchange', take); // a link that was pasted into this tab
  take();

  // Another language must not lose the token.
  document.querySelector('.languages').addEventListener('click', (event) => {
    const target = event.target.closest('a');
    if (!target || currentToken() === '') return;

    event.preventDefault();
    location.assign(`${target.href}#${link}`);
  });
}

// showOnly shows one of the elements with these IDs, and hides the others.
export function showOnly(shown, ...ids) {
  for (const id of ids) $(id).hidden = id !== shown;
}
