// The pages that the links in emails open. A link is only used when the user clicks a
// button: mail scanners open links, and may even run their scripts.

import { onSubmit } from '/actions.js';
import { call } from '/api.js';
import { $ } from '/dom.js';

const sections = { '/reset-password': 'reset', '/verify-email': 'verify' };
let token = '';

// followLink shows the section for the current URL. It removes the token from the
// location and the history before it sends any request.
function followLink() {
  const section = sections[location.pathname];
  if (!section) return;

  const fromURL = new URLSearchParams(location.hash.slice(1)).get('token');
  if (fromURL) {
    token = fromURL;
    history.replaceState(null, '', location.pathname);
  }
  open(section);
}

// open shows a section, or the home page for null.
function open(section) {
  for (const id of Object.values(sections)) $(id).hidden = id !== section;
  $('home').hidden = section !== null;
  if (section === null) return;

  const form = $(`${section}-form`);
  form.hidden = token === '';
  $(`${section}-empty`).hidden = token !== '';

  const focused = form.hidden ? $(`${section}-title`) : form.querySelector('input, button');
  focused.focus();
}

// finish shows the home page after a success, since the token is used up.
function finish(result) {
  if (result.ok) {
    token = '';
    history.replaceState(null, '', '/');
    open(null);
  }
  return result;
}

onSubmit($('reset-form'), async ({ password }) => finish(await call('POST', '/auth/password/reset', { token, password: password.value })));
onSubmit($('verify-form'), async () => finish(await call('POST', '/auth/email/verify', { token })));
window.addEventListener('hashchange', followLink); // a link that was pasted into this tab
followLink();
