// What buttons and forms do, and what is shown of how it went.

import { call, explain } from '/api.js';
import { $, notify } from '/dom.js';

let refresh = async () => {};

// afterwards sets what shows the state of things after everything that was done.
export function afterwards(show) { refresh = show; }

// act does something that a button asks for, once, says how it went, and shows what is
// true then.
export async function act(button, what) {
  if (button.disabled) return;
  button.disabled = true; // which takes the focus from it
  const result = await what();
  button.disabled = false;
  if (result) { // else it was called off
    notify(explain(result), !result.ok);
    await refresh();
  }
  if (document.activeElement === document.body || !document.activeElement.checkVisibility()) {
    if (button.checkVisibility() && !button.disabled) return button.focus();
    $('main').focus({ preventScroll: true }); // it has gone with what it was for
    if (button.isConnected && !button.disabled) scrollTo(0, 0); // and so has all around it
  }
}

export const onClick = (id, what) => $(id).addEventListener('click', () => act($(id), what));

// onSubmit has a form make a request. Passwords do not stay in it.
export function onSubmit(form, request) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    act(form.querySelector('button'), async () => {
      const result = await request(form.elements);
      if (result?.ok) form.querySelectorAll('input[type=password]').forEach((input) => { input.value = ''; });
      return result;
    });
  });
}

// confirmed makes a request that a login of long ago is not enough for: where the API
// says so it asks for the password, and makes the request again. It returns nothing if
// the person would rather not.
export async function confirmed(request) {
  const result = await request();
  if (result.answer?.code !== 'step_up_required') return result;
  const ended = await stepUp();
  return ended === 'confirmed' ? request() : ended;
}

// stepUp asks for the password until it is right ('confirmed'), the person has enough of
// it (undefined), or the session has ended (what the API said).
function stepUp() {
  const dialog = $('step-up'), form = $('step-up-form'), { password } = form.elements;
  form.elements.username.value = $('account-email').textContent;
  $('step-up-error').textContent = '';
  password.value = '';
  let outcome;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = form.querySelector('button');
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
