// What buttons and forms do, and what is shown of how it went.

import { explain } from '/api.js';
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
