// The sign-in methods of an account: its password and the linked external accounts.

import { run, onSubmit } from '/actions.js';
import { call } from '/api.js';
import { $, element, time } from '/dom.js';
import { home, providers, title } from '/providers.js';
import { setStepUpMethods, withStepUp } from '/stepup.js';

export function showMethods({ hasPassword, identities }, email) {
  setStepUpMethods({ hasPassword, identities });
  $('change-password').hidden = !hasPassword;
  $('set-password').hidden = hasPassword;
  $('set-password').elements.username.value = email;
  $('methods').hidden = providers().length === 0 && identities.length === 0;

  const password = element('p', {}, element('strong', { textContent: 'Password' }),
    element('span', { className: 'muted' }, element('br'), hasPassword ? 'Set' : 'Not set'));
  $('methods-list').replaceChildren(element('li', {}, password), ...identities.map(listItem));

  const unlinked = providers().filter(({ name }) => !identities.some(({ provider }) => provider === name));
  $('link-buttons').replaceChildren(...unlinked.map(linkButton));
  $('link-buttons').hidden = unlinked.length === 0;
}

function listItem({ provider, email, createdAt, lastLogin }) {
  const details = element('span', { className: 'muted' }, element('br'));
  if (email) details.append(`${email} · `);
  details.append('linked ', time(createdAt));
  if (lastLogin) details.append(' · last used ', time(lastLogin));

  const unlink = element('button', { type: 'button', textContent: 'Unlink', ariaLabel: `Unlink ${title(provider)}` });
  unlink.addEventListener('click', () => run(unlink, async () => {
    const result = await withStepUp(() => call('DELETE', `/auth/identities/${provider}`));
    return result?.ok ? { ...result, text: `${title(provider)} is no longer linked.` } : result;
  }));

  return element('li', {}, element('p', {}, element('strong', { textContent: title(provider) }), details), unlink);
}

// linkButton returns a button that requests the URL of the provider from the API. Linking
// may require a step-up, so this cannot be a plain link.
function linkButton({ name, title: label }) {
  const button = element('button', { type: 'button', textContent: `Link ${label}` });
  button.addEventListener('click', () => run(button, async () => {
    const result = await withStepUp(() => call('POST', `/auth/identities/${name}`, { returnTo: home }));
    if (!result?.ok) return result;
    location.assign(result.answer.url); // the browser leaves the page
  }));
  return button;
}

onSubmit($('set-password'), ({ newPassword }) => withStepUp(() => call('POST', '/auth/password/set', { newPassword: newPassword.value })));
