// Step-up: sensitive actions require a recent login or a confirmation of the password.

import { call, explain } from '/api.js';
import { $ } from '/dom.js';
import { providers, signInLink } from '/providers.js';

let methods = { hasPassword: true, identities: [] };

// setStepUpMethods sets how the user can confirm their identity.
export function setStepUpMethods(available) { methods = available; }

// withStepUp sends a request. If the API requires a step-up, it asks for the password and
// sends the request again. It returns undefined if the user cancels. Users without a
// password have to sign in again, which leaves the page, and then repeat the action.
export async function withStepUp(request) {
  const result = await request();
  if (result.answer?.code !== 'step_up_required') return result;

  const outcome = await confirmIdentity();
  return outcome === 'confirmed' ? request() : outcome;
}

// confirmIdentity shows a dialog until the password is correct, the user cancels, or the
// session ends. It returns 'confirmed', undefined, or the response of the API, respectively.
function confirmIdentity() {
  const dialog = $('step-up');
  const form = $('step-up-form');
  const button = $('step-up-confirm');
  const { password } = form.elements;

  form.hidden = !methods.hasPassword;
  button.hidden = !methods.hasPassword;
  form.elements.username.value = $('account-email').textContent;
  password.value = '';
  $('step-up-error').textContent = '';
  $('step-up-text').textContent = methods.hasPassword
    ? 'You logged in a while ago. Enter your password to continue.'
    : 'You signed in a while ago, and your account has no password. Sign in again, then repeat what you were doing.';

  const linked = providers().filter(({ name }) => methods.identities.some(({ provider }) => provider === name));
  $('step-up-links').hidden = methods.hasPassword;
  $('step-up-links').replaceChildren(...linked.map(({ name }) => signInLink(name, 'Sign in again with', { prompt: 'login' })));

  let outcome;
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (button.disabled) return;

    button.disabled = true;
    const result = await call('POST', '/auth/step-up', { password: password.value });
    button.disabled = false;

    const sessionEnded = result.status === 401 && result.answer.code !== 'wrong_password';
    if (result.ok) outcome = 'confirmed';
    if (sessionEnded) outcome = result;
    if (outcome) return dialog.close();

    $('step-up-error').textContent = explain(result);
    password.value = '';
    password.focus();
  };

  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      password.value = '';
      resolve(outcome);
    }, { once: true });
    dialog.showModal();
  });
}

$('step-up-cancel').addEventListener('click', () => $('step-up').close());
