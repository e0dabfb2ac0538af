// Connects buttons and forms to API calls, and shows the results.

import { explain } from '/api.js';
import { $, notify } from '/dom.js';

let refresh = async () => {};

// refreshWith sets the function that updates the page after each action.
export function refreshWith(show) { refresh = show; }

// run runs the action of a button, shows its result, and updates the page. It ignores
// further clicks while the action is running.
export async function run(button, action) {
  if (button.disabled) return;

  button.disabled = true; // the button loses the focus
  const result = await action();
  button.disabled = false;

  if (result) { // it is undefined if the user cancelled
    notify(explain(result), { failed: !result.ok, status: result.status, code: result.answer?.code });
    await refresh();
  }
  restoreFocus(button);
}

// restoreFocus moves the focus back to the button, or to the top of the page if the button
// is gone.
function restoreFocus(button) {
  const active = document.activeElement;
  if (active !== document.body && active.checkVisibility()) return;

  const usable = button.isConnected && !button.disabled;
  if (usable && button.checkVisibility()) return button.focus();

  $('main').focus({ preventScroll: true });
  if (usable) scrollTo(0, 0); // the section of the button is hidden now
}

export const onClick = (id, action) => $(id).addEventListener('click', () => run($(id), action));

// onSubmit makes a form send a request. It clears the passwords after a success.
export function onSubmit(form, request) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    run(form.querySelector('button'), async () => {
      const result = await request(form.elements);
      if (result?.ok) form.querySelectorAll('input[type=password]').forEach((input) => { input.value = ''; });
      return result;
    });
  });
}
