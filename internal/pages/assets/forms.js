// Connects forms and buttons to calls of the API, and shows what is wrong beside the fields.

import { notify } from './dom.js';
import { showFailure } from './failure.js';
import { formatTime, has, t } from './texts.js';

// run runs the action of a button, and ignores further clicks while it is running. The button keeps
// the focus, which a disabled button would lose.
export async function run(button, action) {
  if (button.ariaDisabled === 'true') return;

  button.ariaDisabled = 'true';
  try {
    await action();
  } finally {
    button.ariaDisabled = null;
  }
}

// secretFields are passwords, codes and recovery codes.
const secretFields = 'input:is([autocomplete$=password], [name=code], [name=recoveryCode])';

// onSubmit makes a form send a request. After a success it clears the passwords and codes and calls succeed
// with the result. The request returns undefined if the user cancels.
export function onSubmit(form, request, succeed) {
  if (!form) return; // not available

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const button = event.submitter ?? form.querySelector('button:not([type=button])');

    run(button, async () => {
      clearErrors(form);
      notify('');

      const result = await request(form.elements);
      if (!result) return;
      if (!result.ok) return showErrors(form, result.error);

      for (const input of form.querySelectorAll(secretFields)) input.value = '';
      await succeed(result);
    });
  });
  form.dataset.ready = ''; // for tests
}

// onClick makes a button send a request.
export function onClick(button, request, succeed) {
  button?.addEventListener('click', () => run(button, async () => {
    notify('');
    const result = await request();
    if (!result) return;
    if (!result.ok) return showFailure(result.error);

    await succeed(result);
  }));
}

export function clearErrors(form) {
  for (const input of form.querySelectorAll('[aria-invalid]')) {
    input.removeAttribute('aria-invalid');
    input.form.querySelector(`#${input.id}-error`).textContent = '';
  }
}

// showErrors shows a failure beside the fields that it is about, or else at the top of the page.
function showErrors(form, error) {
  const problems = error.errors.map(({ field, code }) => [form.elements[field], explainField(field, code, error)]);

  const shown = problems.filter(([input]) => input);
  if (shown.length === 0) return showFailure(error);

  for (const [input, text] of shown) showError(input, text, error.code);
  shown[0][0].focus();
  if (shown[0][0].autocomplete === 'one-time-code') shown[0][0].select(); // the user types another one
}

// maxClockError is how wrong a clock may be in milliseconds without a hint.
const maxClockError = 60_000;

// explainField returns what is wrong with a field. The reason why a code is wrong may be a wrong clock.
export function explainField(field, code, { serverTime }) {
  const text = t([`field.${code}.${field}`, `field.${code}`, 'field.invalid'].find(has));
  const hasWrongClock = serverTime && (code === 'wrong_clock' || Math.abs(Date.now() - new Date(serverTime)) > maxClockError);

  return hasWrongClock ? `${text} ${t('code.clock', { time: formatTime(serverTime) })}` : text;
}

// showError marks a field as invalid.
export function showError(input, text, code = '') {
  const error = document.getElementById(`${input.id}-error`);
  error.textContent = text;
  error.dataset.code = code;
  input.setAttribute('aria-invalid', 'true');
}

// The buttons that show a password. They hide it before it is sent, so that browsers do not
// remember it as a text.
for (const button of document.querySelectorAll('.show')) {
  const input = document.getElementById(button.getAttribute('aria-controls'));
  const show = (shown) => {
    input.type = shown ? 'text' : 'password';
    button.ariaPressed = String(shown);
    button.lastChild.textContent = t(shown ? 'button.hide' : 'button.show');
  };
  button.addEventListener('click', () => show(input.type === 'password'));
  input.form.addEventListener('submit', () => show(false), { capture: true });
}
