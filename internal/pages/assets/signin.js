// The page on which users sign in.

import { call, explainEnd } from './api.js';
import { $, notify } from './dom.js';
import { onSubmit } from './forms.js';
import { goOn, goOnAs, isSecondStep, mustVerify, pageURL, showMessages } from './navigation.js';
import './providers.js';
import { resumeSecondStep, showSecondStep } from './secondstep.js';

onSubmit($('signin'), ({ email, password, rememberMe }) => call('login', {
  email: email.value,
  password: password.value,
  rememberMe: rememberMe.checked,
}), (result) => (result.answer.factorRequired ? showSecondStep(result.answer.factors) : goOnAs(result)));

// begin explains failures. Users who are signed in already go straight on.
async function begin() {
  const code = new URL(location).searchParams.get('error');
  showMessages();
  const session = await call(mustVerify ? 'me' : 'session', { background: true });
  if (session.error?.code === 'email_not_verified') location.replace(pageURL('verify-email'));
  else if (session.ok && code) location.replace(pageURL('account', { error: code }));
  else if (session.ok) goOn();
  else if (session.error.reason && !code) notify(explainEnd(session.error.reason)); // the API gives the reason only once
}

await (isSecondStep() ? resumeSecondStep() : begin());
