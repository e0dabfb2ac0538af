// The account: its name, its address, its password, its end.

import { call } from '/api.js';
import { onClick, onSubmit } from '/act.js';
import { $ } from '/dom.js';
import { confirmed } from '/stepup.js';

let email = '';

export function showAccount(user) {
  email = user.email;
  $('account-name').textContent = user.name;
  $('account-email').textContent = $('email-now').textContent = user.email;
  $('profile').elements.name.value = user.name;
  $('change-password').elements.username.value = user.email;
  $('email-state').textContent = user.emailVerified ? 'confirmed' : 'not confirmed';
  $('email-state').classList.toggle('open', !user.emailVerified);
  $('resend').hidden = user.emailVerified;
}

onSubmit($('profile'), ({ name }) => call('PUT', '/profile', { name: name.value }));
onClick('resend', () => call('POST', '/auth/email/resend'));

onSubmit($('change-password'), ({ currentPassword, newPassword }) => call('POST', '/auth/password/change', { currentPassword: currentPassword.value, newPassword: newPassword.value }));

onSubmit($('change-email'), async ({ email: other }) => {
  const result = await confirmed(() => call('POST', '/auth/email/change', { email: other.value }));
  if (result?.ok) other.value = '';
  return result;
});

onSubmit($('delete'), async ({ confirm }) => {
  if (confirm.value.trim().toLowerCase() !== email.toLowerCase()) return { ok: false, says: `Type ${email} to delete the account.` };
  const result = await confirmed(() => call('DELETE', '/profile'));
  if (!result?.ok) return result;
  confirm.value = '';
  return { ...result, says: 'The account is deleted.' };
});
