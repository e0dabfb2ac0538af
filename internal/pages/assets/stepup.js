// Step-up: sensitive actions require a recent proof of the identity. The API lists what is missing.

import { call, explain } from './api.js';
import { codeFields } from './codes.js';
import { $, element } from './dom.js';
import { clearErrors, explainField, run, showError } from './forms.js';
import { thisPage } from './navigation.js';
import { signInURL } from './providers.js';
import { t } from './texts.js';

const form = $('step-up-form');
const { username, password } = form.elements;
const codes = codeFields(form);
codes.hide();

let user = { linked: [], email: '' };

// setStepUpUser sets the email of the user and the providers with which they can sign in.
export function setStepUpUser(current) { user = current; }

// withStepUp sends a request. If the API requires a step-up, it asks for what is missing and sends the
// request again. It returns undefined if the user cancels. Users without a password have to sign in again,
// which leaves the page, and then repeat the action.
export async function withStepUp(request) {
  const result = await request();
  if (result.error?.code !== 'step_up_required') return result;

  const outcome = await confirmIdentity(result.error.methods);
  return outcome === 'confirmed' ? withStepUp(request) : outcome;
}

// confirmIdentity shows a dialog until the user has proved the methods, the user cancels, or the session
// ends. It returns 'confirmed', undefined, or the response of the API, respectively. If the account has
// changed meanwhile, so that it has other methods, it returns 'confirmed', too: the API then lists these.
export function confirmIdentity(methods) {
  const dialog = $('step-up');
  showMethods(methods);

  let outcome;
  form.onsubmit = (event) => {
    event.preventDefault();
    run($('step-up-confirm'), async () => {
      clearErrors(form);
      const result = await call('stepUp', {
        ...(methods.includes('pwd') && { password: password.value }),
        ...(methods.includes('otp') && codes.proof()),
      });

      const hasChanged = ['no_password', 'no_factor'].includes(result.error?.code);
      const sessionEnded = result.error?.code === 'not_authenticated';
      if (result.ok || hasChanged) outcome = 'confirmed';
      if (sessionEnded) outcome = result;
      if (outcome) return dialog.close();

      showFailure(result.error, methods);
    });
  };

  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      for (const input of form.elements) input.value = '';
      resolve(outcome);
    }, { once: true });
    dialog.showModal();
    focusFirst(methods);
  });
}

// showFailure shows what is wrong beside the field that it is about, or else beside the first one.
function showFailure(error, methods) {
  const wrong = error.errors.map(({ field }) => form.elements[field]).find(Boolean);
  const field = wrong ?? (methods.includes('pwd') ? password : codes.field());
  const text = wrong ? explainField(wrong.name, error.errors[0].code, error) : explain(error);

  showError(field, text, error.code);
  field.value = '';
  field.focus();
}

// showMethods shows in the dialog what the user has to prove. A sign-in with a provider asks for the second
// factor, too.
function showMethods(methods) {
  const mustSignIn = methods.includes('fed');
  const needsPassword = methods.includes('pwd');
  const needsCode = methods.includes('otp');

  clearErrors(form);
  form.hidden = mustSignIn;
  $('step-up-confirm').hidden = mustSignIn;
  $('step-up-links').hidden = !mustSignIn;
  username.value = user.email;
  password.value = '';
  password.closest('.field').hidden = !needsPassword;
  if (needsCode) codes.offer({ code: true, recoveryCode: true });
  else codes.hide();

  const text = needsPassword ? 'stepUp.password' : 'stepUp.code';
  $('step-up-text').textContent = t(mustSignIn ? 'stepUp.provider' : needsPassword && needsCode ? 'stepUp.both' : text);
  $('step-up-links').replaceChildren(...user.linked.map(({ name, title }) => element('a', {
    className: 'button',
    href: signInURL(name, thisPage(), { prompt: 'login' }),
    textContent: t('button.provider', { provider: title }),
  })));
}

function focusFirst(methods) {
  if (methods.includes('fed')) ($('step-up-links').firstChild ?? $('step-up-cancel')).focus();
  else if (methods.includes('pwd')) password.focus();
  else codes.focus();
}

$('step-up-cancel').addEventListener('click', () => $('step-up').close());
