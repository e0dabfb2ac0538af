// The sign-in methods of an account: its password and the linked external accounts.

import { check, report } from './actions.js';
import { call } from './api.js';
import { $, element, phrase, separated } from './dom.js';
import { onClick } from './forms.js';
import { thisPage } from './navigation.js';
import { setStepUpUser, withStepUp } from './stepup.js';
import { has, t } from './texts.js';

const providers = JSON.parse($('account').dataset.providers);

// describeProof returns how a user has signed in: the level, such as aal1, and the names of the methods. The
// name of a provider may be known.
export function describeProof(level, methods) {
  const titles = methods.map(({ method, provider }) => (provider ? providerTitle(provider) : has(`method.${method}`) ? t(`method.${method}`) : method));
  return t(`level.${level}`, { methods: titles.join(t('method.separator')) });
}

// providerTitle returns the display name of a provider, or its name if it is no longer configured.
export const providerTitle = (name) => providers.find((provider) => provider.name === name)?.title ?? name;

export function showMethods({ hasPassword, identities }, email) {
  const isLinked = ({ name }) => identities.some(({ provider }) => provider === name);
  setStepUpUser({ email, linked: providers.filter(isLinked) });

  $('change-password').hidden = !hasPassword;
  $('set-password').hidden = hasPassword;
  $('set-password').elements.username.value = email;
  $('methods').hidden = providers.length === 0 && identities.length === 0;

  const password = element('p', {}, element('strong', { textContent: t('methods.password') }), element('br'),
    element('span', { className: 'muted', textContent: t(hasPassword ? 'methods.set' : 'methods.notSet') }));
  $('methods-list').replaceChildren(element('li', {}, password), ...identities.map(listItem));

  const unlinked = providers.filter((provider) => !isLinked(provider));
  $('link-buttons').replaceChildren(...unlinked.map(linkButton));
  $('link-buttons').hidden = unlinked.length === 0;
}

function listItem({ provider, email, createdAt, lastLogin }) {
  const title = providerTitle(provider);
  const details = separated([email && [email], phrase('methods.linked', createdAt), lastLogin && phrase('methods.used', lastLogin)]);

  const unlink = element('button', { type: 'button', textContent: t('button.unlink'), ariaLabel: t('methods.unlink', { provider: title }) });
  onClick(unlink, check(() => withStepUp(() => call('unlinkIdentity', { provider }))), async () => {
    await report(t('methods.unlinked', { provider: title }));
    $('methods-title').focus(); // the button is gone
  });

  return element('li', {}, element('p', {}, element('strong', { textContent: title }), element('br'),
    element('span', { className: 'muted' }, ...details)), unlink);
}

// linkButton returns a button that requests the URL of the provider from the API. Linking
// may require a step-up, so this cannot be a plain link.
function linkButton({ name, title }) {
  const button = element('button', { type: 'button', textContent: t('button.link', { provider: title }) });
  onClick(button, check(() => withStepUp(() => call('linkIdentity', { provider: name, returnTo: thisPage() }))), ({ answer }) => {
    location.assign(answer.url); // the browser leaves the page
  });
  return button;
}
