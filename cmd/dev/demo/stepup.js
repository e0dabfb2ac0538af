// Is it still you? What a login of long ago is not enough for.

import { call, explain } from '/api.js';
import { $ } from '/dom.js';
import { known, signIn } from '/elsewhere.js';

let proofs = { hasPassword: true, identities: [] };

// proveBy says by what the person can prove again who they are.
export function proveBy(ways) { proofs = ways; }

// confirmed makes a request that takes a recent proof: where the API says so it asks for
// the password, and makes the request again. It returns nothing if the person would
// rather not. Who has no password can sign in again, which leaves the page: they make the
// request themselves then.
export async function confirmed(request) {
  const result = await request();
  if (result.answer?.code !== 'step_up_required') return result;
  const ended = await stepUp();
  return ended === 'confirmed' ? request() : ended;
}

// stepUp asks for the password until it is right ('confirmed'), the person has enough of
// it (undefined), or the session has ended (what the API said).
function stepUp() {
  const dialog = $('step-up'), form = $('step-up-form'), button = $('step-up-confirm'), { password } = form.elements;
  form.hidden = button.hidden = !proofs.hasPassword;
  $('step-up-links').hidden = proofs.hasPassword;
  $('step-up-links').replaceChildren(...known().filter(({ name }) => proofs.identities.some(({ provider }) => provider === name))
    .map(({ name }) => signIn(name, 'Sign in again with', { prompt: 'login' })));
  $('step-up-why').textContent = proofs.hasPassword ? 'You logged in a while ago. Confirm your password to go on.'
    : 'You signed in a while ago, and there is no password to confirm. Sign in again, and then do this once more.';
  form.elements.username.value = $('account-email').textContent;
  $('step-up-error').textContent = '';
  password.value = '';
  let outcome;
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    const result = await call('POST', '/auth/step-up', { password: password.value });
    button.disabled = false;
    if (result.ok) outcome = 'confirmed';
    if (result.status === 401 && result.answer.code !== 'wrong_password') outcome = result;
    if (outcome) return dialog.close();
    $('step-up-error').textContent = explain(result);
    password.value = '';
    password.focus();
  };
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => { password.value = ''; resolve(outcome); }, { once: true });
    dialog.showModal();
  });
}
$('step-up-cancel').addEventListener('click', () => $('step-up').close());
