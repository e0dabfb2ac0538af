// What the tests of signing in with an account elsewhere have in common: people with
// accounts at the providers of providers.mjs, and what they do there.
import assert from 'node:assert/strict';
import { API, PAGE, signedIn, signedOut } from './page.mjs';

const { OIDC_GOOGLE_ISSUER, OIDC_ACME_ISSUER, OIDC_MALLORY_ISSUER, GITHUB_URL } = process.env;
export const at = { google: OIDC_GOOGLE_ISSUER, acme: OIDC_ACME_ISSUER, mallory: OIDC_MALLORY_ISSUER, github: GITHUB_URL };
export const titles = { google: 'Google', acme: 'Acme', mallory: 'Mallory', github: 'GitHub' };
let people = 0;

// person makes an account at a provider. At an issuer the login is the subject.
export async function person(provider, { login, email, verified = true, name = 'Bea Elsewhere' } = {}) {
  const number = process.pid * 1000 + ++people;
  login ??= `bea-${number}`;
  email ??= `${login}@example.org`;
  const picture = `https://pictures.example/${login}.png`;
  const claims = provider === 'github'
    ? { id: number, name, avatar_url: picture, emails: [{ email: `old.${email}`, primary: false, verified: true }, { email, primary: true, verified }] }
    : { email, email_verified: verified, name, picture };
  const answer = await fetch(`${at[provider]}/accounts/${login}`, { method: 'PUT', body: JSON.stringify(claims) });
  assert.equal(answer.status, 204);
  return { provider, login, email, name, picture };
}

// prove does what a provider asks of who is not signed in there and has not agreed yet.
export async function prove(page, { provider, login }) {
  await page.fill('[name=login]', login);
  if (provider === 'github') return page.click('text=Authorize');
  await page.click('text=Sign in');
  await page.click('text=Allow');
}

// go leaves for a provider; whoever is signed in there, and has agreed, is back at once.
export const go = (page, provider) => page.click(`#elsewhere-links >> text="Sign in with ${titles[provider]}"`);

export async function signIn(page, who) {
  await signedOut(page);
  await go(page, who.provider);
  await prove(page, who);
  await signedIn(page);
}

// ask makes a request with the cookies of a browser, and no page.
export async function ask(page, method, path, data) {
  const answer = await page.request.fetch(API + path, { method, data, maxRedirects: 0 });
  const text = await answer.text();
  return { status: answer.status(), location: answer.headers().location, body: text && JSON.parse(text) };
}

// me tells who is signed in by a browser: the effect that counts.
export async function me(page) {
  const { status, body } = await ask(page, 'GET', '/auth/me');
  return { status, user: body.user };
}

export async function nobody(page) {
  assert.equal((await me(page)).status, 401);
}

export async function linked(page) {
  const { status, body: { identities, hasPassword } } = await ask(page, 'GET', '/auth/identities');
  assert.equal(status, 200);
  return [...identities.map(({ provider }) => provider), ...(hasPassword ? ['password'] : [])];
}

export const start = (provider) => `${API}/auth/${provider}?return_to=${encodeURIComponent(`${PAGE}/`)}`;

// callback goes the way of a sign-in to its end, of who has agreed at the provider, and
// returns the address of the callback without opening it. login is for a provider that
// asks who it is, although they are signed in there.
export async function callback(page, from, login = '') {
  let address = from;
  while (!(address.startsWith(API) && new URL(address).pathname.endsWith('/callback'))) {
    let answer = await page.request.get(address, { maxRedirects: 0 });
    if (!answer.headers().location && login) answer = await page.request.post(address, { form: { login }, maxRedirects: 0 });
    assert.ok(answer.headers().location, `${answer.status()} at ${address}: ${await answer.text()}`);
    address = new URL(answer.headers().location, address).href;
  }
  return address;
}

// link links an account elsewhere to that of who is signed in.
export async function link(page, who) {
  await page.click(`#ways-more >> text="Link ${titles[who.provider]}"`);
  await prove(page, who);
  await listed(page, who.provider);
}

export const listed = (page, provider) => page.waitForSelector(`#ways-list li:has-text("${titles[provider]}")`);
export const unlink = (page, provider) => page.click(`#ways-list [aria-label="Unlink ${titles[provider]}"]`);
