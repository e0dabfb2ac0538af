// The ways to sign in to an account: its password and the accounts elsewhere that are
// linked to it.

import { call } from '/api.js';
import { act, onSubmit } from '/act.js';
import { $, element, time } from '/dom.js';
import { home, known, title } from '/elsewhere.js';
import { confirmed, proveBy } from '/stepup.js';

export function showWays({ hasPassword, identities }, email) {
  proveBy({ hasPassword, identities });
  $('change-password').hidden = !hasPassword;
  $('set-password').hidden = hasPassword;
  $('set-password').elements.username.value = email;
  $('ways').hidden = known().length === 0 && identities.length === 0;
  const password = element('p', {}, element('strong', { textContent: 'Password' }),
    element('span', { className: 'muted' }, element('br'), hasPassword ? 'of this account' : 'no password yet'));
  $('ways-list').replaceChildren(element('li', {}, password), ...identities.map(listed));
  const unlinked = known().filter(({ name }) => !identities.some(({ provider }) => provider === name));
  $('ways-more').replaceChildren(...unlinked.map(linker));
  $('ways-more').hidden = unlinked.length === 0;
}

function listed({ provider, email, createdAt, lastLogin }) {
  const about = element('span', { className: 'muted' }, element('br'));
  if (email) about.append(`${email} · `);
  about.append('linked ', time(createdAt));
  if (lastLogin) about.append(' · last used ', time(lastLogin));
  const unlink = element('button', { type: 'button', textContent: 'Unlink', ariaLabel: `Unlink ${title(provider)}` });
  unlink.addEventListener('click', () => act(unlink, async () => {
    const result = await confirmed(() => call('DELETE', `/auth/identities/${provider}`));
    return result?.ok ? { ...result, says: `${title(provider)} is not linked any more.` } : result;
  }));
  return element('li', {}, element('p', {}, element('strong', { textContent: title(provider) }), about), unlink);
}

// linker makes a button that asks the API for the address to go to: to link takes a
// recent proof, which a link could not ask for.
function linker({ name, title: label }) {
  const button = element('button', { type: 'button', textContent: `Link ${label}` });
  button.addEventListener('click', () => act(button, async () => {
    const result = await confirmed(() => call('POST', `/auth/identities/${name}`, { returnTo: home }));
    if (!result?.ok) return result;
    location.assign(result.answer.url); // nothing is left to be shown here
  }));
  return button;
}

onSubmit($('set-password'), ({ newPassword }) => confirmed(() => call('POST', '/auth/password/set', { newPassword: newPassword.value })));
