// The account: name, email, password and deletion.

import { call } from '/api.js';
import { onClick, onSubmit } from '/actions.js';
import { $ } from '/dom.js';
import { withStepUp } from '/stepup.js';

let email = '';

export function showAccount(user) {
  email = user.email;
  $('account-name').textContent = user.name;
  $('account-email').textContent = user.email;
  $('current-email').textContent = user.email;
  $('profile').elements.name.value = user.name;
  $('change-password').elements.username.value = user.email;

  $('email-state').textContent = user.emailVerified ? 'confirmed' : 'not confirmed';
  $('email-state').classList.toggle('open', !user.emailVerified);
  $('resend').hidden = user.emailVerified;
}

onSubmit($('profile'), ({ name }) => call('PUT', '/profile', { name: name.value }));
onClick('resend', () => call('POST', '/auth/email/resend'));

onSubmit($('change-password'), ({ currentPassword, newPassword }) => call('POST', '/auth/password/change', {
  currentPassword: currentPassword.value,
  newPassword: newPassword.value,
}));

onSubmit($('change-email'), async ({ email: input }) => {
  const result = await withStepUp(() => call('POST', '/auth/email/change', { email: input.value }));
  if (result?.ok) input.value = '';
  return result;
});

onSubmit($('delete'), async ({ confirm }) => {
  if (confirm.value.trim().toLowerCase() !== email.toLowerCase()) {
    return { ok: false, text: `To delete the account, type ${email}.` };
  }

  const result = await withStepUp(() => call('DELETE', '/profile'));
  if (!result?.ok) return result;

  confirm.value = '';
  return { ...result, text: 'Your account was deleted.' };
});
