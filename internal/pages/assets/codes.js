// The fields for a second factor: a code of an authenticator app or, after a click on a button, a recovery
// code.

import { clearErrors } from './forms.js';
import { t } from './texts.js';

const buttons = { code: 'button.useRecoveryCode', recoveryCode: 'button.useCode' };

// codeFields returns the fields of a form. onChange is called with the name of the field that is shown.
export function codeFields(form, onChange = () => {}) {
  const { code, recoveryCode } = form.elements;
  const button = form.querySelector('.link');
  let shown = code;

  const show = (field) => {
    shown = field;
    for (const input of [code, recoveryCode]) {
      input.closest('.field').hidden = input !== field;
      input.value = '';
    }
    button.textContent = t(buttons[field.name]);
    onChange(field.name);
  };

  button.addEventListener('click', () => {
    clearErrors(form);
    show(shown === code ? recoveryCode : code);
    shown.focus();
  });
  recoveryCode.autocapitalize = 'characters';
  recoveryCode.spellcheck = false;

  return {
    // offer shows a field for what is available.
    offer(available) {
      show(available.code ? code : recoveryCode);
      button.hidden = !available.code || !available.recoveryCode;
    },
    hide() {
      for (const input of [code, recoveryCode]) input.closest('.field').hidden = true;
      button.hidden = true;
    },
    focus: () => shown.focus(),
    field: () => shown,
    // proof returns the entered code as the API takes it.
    proof: () => ({ [shown.name]: shown.value }),
  };
}
