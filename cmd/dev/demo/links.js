// The pages that the links in mails lead to. What a link can do takes a click of a
// person: programs that open the links of a mail, scripts and all, must not spend it.

import { call } from '/api.js';
import { $ } from '/dom.js';
import { onSubmit } from '/act.js';

const pages = { '/reset-password': 'reset', '/verify-email': 'verify' };
let token = '';

// followLink shows the page of a link and takes the token out of the address bar, the
// history and whatever reads along there, before anything is asked of the API.
function followLink() {
  const page = pages[location.pathname];
  if (!page) return;
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    token = given;
    history.replaceState(null, '', location.pathname);
  }
  open(page);
}

function open(page) {
  for (const id of Object.values(pages)) $(id).hidden = id !== page;
  $('home').hidden = page !== null;
  if (!page) return;
  const form = $(`${page}-form`);
  form.hidden = token === '';
  $(`${page}-empty`).hidden = token !== '';
  (form.hidden ? $(`${page}-title`) : form.querySelector('input, button')).focus();
}

// done goes on to the rest of the page. The token is good for nothing any more.
function done(result) {
  if (result.ok) {
    token = '';
    history.replaceState(null, '', '/');
    open(null);
  }
  return result;
}

onSubmit($('reset-form'), async ({ password }) => done(await call('POST', '/auth/password/reset', { token, password: password.value })));
onSubmit($('verify-form'), async () => done(await call('POST', '/auth/email/verify', { token })));
window.addEventListener('hashchange', followLink); // a link pasted over the address of another
followLink();
