// Helpers for the tests of external providers. They create accounts at the providers of
// providers.mjs and sign in, link and unlink as their users do.
import assert from 'node:assert/strict';
import { API, PAGE, describeFailure, signedIn, signedOut } from './page.mjs';

const { OIDC_GOOGLE_ISSUER, OIDC_ACME_ISSUER, GITHUB_URL } = process.env;
const issuers = { google: OIDC_GOOGLE_ISSUER, acme: OIDC_ACME_ISSUER, github: GITHUB_URL };
export const titles = { google: 'Google', acme: 'Acme', github: 'GitHub' };

let users = 0;

// createUser creates an account at a provider. With OpenID Connect, the login is the subject.
export async function createUser(provider, { email } = {}) {
  const number = process.pid * 1000 + ++users;
  const name = 'Bea External';
  const login = `bea-${number}`;
  email ??= `${login}@example.org`;
  const picture = `https://pictures.example/${login}.png`;
  const claims = provider === 'github'
    ? { id: number, name, avatar_url: picture, emails: [{ email: `old.${email}`, primary: false, verified: true }, { email, primary: true, verified: true }] }
    : { email, email_verified: true, name, picture };

  const response = await fetch(`${issuers[provider]}/accounts/${login}`, { method: 'PUT', body: JSON.stringify(claims) });
  assert.equal(response.status, 204);
  return { provider, login, email, name, picture };
}

// authorize signs in at the provider and gives consent.
export const authorize = (page, user) => describeFailure(page, giveConsent(page, user));

async function giveConsent(page, { provider, login }) {
  await page.fill('[name=login]', login);
  if (provider === 'github') return page.click('text=Authorize');
  await page.click('text=Sign in');
  await page.click('text=Allow');
}

// goTo goes to a provider, which redirects back at once if the user has given consent before.
export const goTo = (page, provider) => page.click(`#providers [data-provider=${provider}]:not([href="#"])`);

export async function signIn(page, user) {
  await signedOut(page);
  await goTo(page, user.provider);
  await authorize(page, user);
  await signedIn(page);
}

// request sends a request with the cookies of a browser.
export async function request(page, method, path, data, api = API) {
  const response = await page.request.fetch(api + path, { method, data, maxRedirects: 0 });
  const text = await response.text();
  return { status: response.status(), location: response.headers().location, body: text && JSON.parse(text) };
}

// me returns the user that a browser is signed in as.
export async function me(page, api = API) {
  const { status, body } = await request(page, 'GET', '/auth/me', undefined, api);
  return { status, user: body.user };
}

export async function assertSignedOut(page) {
  assert.equal((await me(page)).status, 401);
}

// signInMethods returns the linked providers, and 'password' if the user has one.
export async function signInMethods(page) {
  const { status, body: { identities, hasPassword } } = await request(page, 'GET', '/auth/identities');
  assert.equal(status, 200);
  return [...identities.map(({ provider }) => provider), ...(hasPassword ? ['password'] : [])];
}

// callbackURL follows the redirects of a sign-in up to the callback, which it returns without
// opening it. The user must have given consent before.
export async function callbackURL(page, provider) {
  let url = `${API}/auth/${provider}?return_to=${encodeURIComponent(`${PAGE}/`)}`;
  while (!(url.startsWith(API) && new URL(url).pathname.endsWith('/callback'))) {
    const response = await page.request.get(url, { maxRedirects: 0 });
    assert.ok(response.headers().location, `${response.status()} at ${url}: ${await response.text()}`);
    url = new URL(response.headers().location, url).href;
  }
  return url;
}

// link links an external account to the user who is signed in.
export async function link(page, user) {
  await page.click(`#link-buttons >> text="Link ${titles[user.provider]}"`);
  await authorize(page, user);
  await isLinked(page, user.provider);
}

export const isLinked = (page, provider) => page.waitForSelector(`#methods-list li:has-text("${titles[provider]}")`);
export const unlink = (page, provider) => page.click(`#methods-list [aria-label="Unlink ${titles[provider]}"]`);
