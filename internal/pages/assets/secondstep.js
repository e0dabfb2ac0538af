// The second step of a sign-in: a code of an authenticator app, or a recovery code. The URL shows that it
// has begun, as after a sign-in with a provider, so that a reload does not lose it.

import { call } from './api.js';
import { codeFields } from './codes.js';
import { $, notify } from './dom.js';
import { showFailure } from './failure.js';
import { onClick, onSubmit } from './forms.js';
import { goOnAs, secondStepCode } from './navigation.js';
import { t } from './texts.js';

const texts = { code: 'signin.code', recoveryCode: 'signin.recovery' };
const fields = codeFields($('factor'), (kind) => { $('factor-text').textContent = t(texts[kind]); });
const languages = [...document.querySelectorAll('.languages a')];

// mark makes the URL, and its variants in other languages, show whether the second step has begun.
function mark(hasBegun) {
  const marked = (href) => {
    const url = new URL(href);
    if (hasBegun) url.searchParams.set('error', secondStepCode);
    else url.searchParams.delete('error');
    return url.href;
  };

  history.replaceState(null, '', marked(location.href));
  for (const link of languages) link.href = marked(link.href);
}

function showStep(isSecond) {
  mark(isSecond);
  $('first-step').hidden = isSecond;
  $('second-step').hidden = !isSecond;
  if ($('new-account')) $('new-account').hidden = isSecond;
}

// showSecondStep asks for one of the factors that the API lists. If there is none, the user cannot sign in.
export function showSecondStep(factors) {
  showStep(true);
  $('factor').hidden = factors.length === 0;
  if (factors.length === 0) {
    $('factor-text').textContent = t('signin.noFactor');
    return $('factor-cancel').focus();
  }

  fields.offer({ code: factors.includes('totp'), recoveryCode: factors.includes('recovery_code') });
  fields.focus();
}

// showFirstStep shows the form for the password again.
function showFirstStep() {
  showStep(false);
  const { email, password } = $('signin').elements;
  (email.value === '' ? email : password).focus();
}

// resumeSecondStep shows the second step of a sign-in that began with a provider, or before a reload.
export async function resumeSecondStep() {
  const pending = await call('pendingLogin', { background: true });
  if (pending.ok) return showSecondStep(pending.answer.factors);

  showFirstStep();
  showFailure(pending.error);
}

onSubmit($('factor'), async ({ trustDevice }) => {
  const result = await call('completeLogin', { ...fields.proof(), trustDevice: trustDevice.checked });
  if (result.error?.code !== 'no_pending_login') return result;

  showFirstStep();
  showFailure(result.error);
  return undefined;
}, goOnAs);

onClick($('factor-cancel'), () => call('cancelLogin'), () => {
  notify('');
  showFirstStep();
});
