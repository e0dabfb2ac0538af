// Step-up: sensitive actions require a recent sign-in or a confirmation of the password.

import { call, explain } from './api.js';
import { $, element } from './dom.js';
import { run, showError } from './forms.js';
import { thisPage } from './navigation.js';
import { signInURL } from './providers.js';
import { t } from './texts.js';

let methods = { hasPassword: true, linked: [], email: '' };

// setStepUpMethods sets how the user can confirm their identity: with a password, or with one of the
// linked providers. A page that does not know whether there is a password assumes it.
export function setStepUpMethods(available) { methods = available; }

// withStepUp sends a request. If the API requires a step-up, it asks for the password and
// sends the request again. It returns undefined if the user cancels. Users without a
// password have to sign in again, which leaves the page, and then repeat the action.
export async function withStepUp(request) {
  const result = await request();
  if (result.error?.code !== 'step_up_required') return result;

  const outcome = await confirmIdentity();
  return outcome === 'confirmed' ? request() : outcome;
}

// confirmIdentity shows a dialog until the password is correct, the user cancels, or the
// session ends. It returns 'confirmed', undefined, or the response of the API, respectively.
function confirmIdentity() {
  const dialog = $('step-up');
  const form = $('step-up-form');
  const { password } = form.elements;

  showMethods();
  form.elements.username.value = methods.email;
  password.value = '';
  password.removeAttribute('aria-invalid');
  $('step-up-password-error').textContent = '';

  let outcome;
  form.onsubmit = (event) => {
    event.preventDefault();
    run($('step-up-confirm'), async () => {
      const result = await call('stepUp', { password: password.value });

      const sessionEnded = result.error?.code === 'not_authenticated';
      if (result.ok) outcome = 'confirmed';
      if (sessionEnded) outcome = result;
      if (outcome) return dialog.close();

      if (result.error.code === 'no_password') {
        setStepUpMethods({ ...methods, hasPassword: false });
        showMethods();
        return focusMethod();
      }

      showError(password, explain(result.error), result.error.code);
      password.value = '';
      password.focus();
    });
  };

  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      password.value = '';
      resolve(outcome);
    }, { once: true });
    dialog.showModal();
    focusMethod();
  });
}

// showMethods shows in the dialog how the user can confirm their identity.
function showMethods() {
  $('step-up-form').hidden = !methods.hasPassword;
  $('step-up-confirm').hidden = !methods.hasPassword;
  $('step-up-links').hidden = methods.hasPassword;
  $('step-up-text').textContent = t(methods.hasPassword ? 'stepUp.password' : 'stepUp.provider');
  $('step-up-links').replaceChildren(...methods.linked.map(({ name, title }) => element('a', {
    className: 'button',
    href: signInURL(name, thisPage(), { prompt: 'login' }),
    textContent: t('button.provider', { provider: title }),
  })));
}

function focusMethod() {
  (methods.hasPassword ? $('step-up-form').elements.password : $('step-up-links').firstChild ?? $('step-up-cancel')).focus();
}

$('step-up-cancel').addEventListener('click', () => $('step-up').close());
