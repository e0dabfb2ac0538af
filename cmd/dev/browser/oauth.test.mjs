// Signing in with the external providers of providers.mjs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  API, PAGE, STRICT_PAGE, focusOn, isOld, logIn, logOut, open, password, register, rejected, sessionCookies, shows, signedIn, signedOut,
  stepUpExpires, submit,
} from './page.mjs';
import { assertSignedOut, authorize, createUser, goTo, isLinked, link, me, request, signIn, signInMethods, titles, unlink } from './external.mjs';

for (const provider of ['google', 'acme', 'github']) {
  test(`sign in with ${titles[provider]}, twice`, async (t) => {
    const page = await open(t);
    const user = await createUser(provider);
    await signIn(page, user);
    assert.equal(page.url(), `${PAGE}/account`);
    assert.ok(!/code=|state=/.test(await page.evaluate(() => document.referrer)), 'the page can read the code');

    const { user: account } = await me(page);
    assert.deepEqual([account.name, account.email, account.emailVerified, account.picture], [user.name, user.email, true, user.picture]);
    assert.equal(await page.textContent('#account-email'), user.email);
    assert.deepEqual((await request(page, 'GET', '/auth/session')).body.methods.map((method) => method.provider), [provider]);
    assert.deepEqual(await signInMethods(page), [provider]);
    assert.match(await page.textContent('#methods-list'), new RegExp(titles[provider]));

    const [cookie] = await sessionCookies(page);
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Lax', '/']);
    const flowCookies = (await page.context().cookies(API)).filter(({ name }) => name.includes('oauth'));
    assert.deepEqual(flowCookies, [], 'the cookie of the sign-in is still there');

    await logOut(page);
    await assertSignedOut(page);
    await goTo(page, provider);
    if (provider === 'github') await authorize(page, user); // the other providers have a session
    await signedIn(page);
    assert.equal((await me(page)).user.id, account.id);
  });
}

test('cancelling at the provider signs nobody in', async (t) => {
  const page = await open(t);
  const user = await createUser('google');
  const cancel = async (provider) => {
    await goTo(page, provider);
    await page.waitForSelector('[name=login]');
    if (provider === 'google') { // cancel on the consent page
      await page.fill('[name=login]', user.login);
      await page.click('text=Sign in');
      await page.waitForSelector('text=Allow');
    }
    await page.click('text=Cancel');
    await shows(page, 'You cancelled the sign-in.');
    assert.equal(page.url(), `${PAGE}/signin`);
    await signedOut(page);
    await assertSignedOut(page);
  };
  for (const provider of ['google', 'acme', 'github']) await cancel(provider);

  await page.reload();
  await signedOut(page);
  assert.equal(await page.textContent('#notice'), '');
  await goTo(page, 'google'); // the next attempt succeeds
  await page.click('text=Allow');
  await signedIn(page);
  assert.equal((await me(page)).user.email, user.email);
});

test('a linked provider signs in to the same account until it is unlinked', async (t) => {
  const page = await open(t);
  await register(page);
  const user = await createUser('acme');
  const { user: account } = await me(page);
  assert.deepEqual(await signInMethods(page), ['password']);
  await link(page, user);
  assert.deepEqual(await signInMethods(page), ['acme', 'password']);
  assert.equal((await me(page)).user.id, account.id);
  await page.waitForFunction(() => document.querySelector('#activity strong').textContent === 'External account linked');

  await logOut(page);
  await goTo(page, 'acme');
  await signedIn(page);
  const sameUser = (await me(page)).user;
  assert.deepEqual([sameUser.id, sameUser.email, sameUser.name], [account.id, account.email, account.name]);
  assert.deepEqual((await request(page, 'GET', '/auth/session')).body.methods.map((method) => method.provider), ['acme']);

  await unlink(page, 'acme');
  await shows(page, 'Acme is no longer linked.');
  assert.deepEqual(await signInMethods(page), ['password']);
  await logOut(page);
  await goTo(page, 'acme');
  await signedIn(page);
  const other = await me(page);
  assert.notEqual(other.user.id, account.id);
  assert.equal(other.user.email, user.email);
});

test('the last sign-in method cannot be removed', async (t) => {
  const page = await open(t);
  const user = await createUser('google');
  await signIn(page, user);
  const { user: account } = await me(page);
  assert.ok(await page.isHidden('#change-password'));
  assert.match(await page.textContent('#methods-list'), /Not set/);
  await unlink(page, 'google');
  await rejected(page, 'last_login_method');
  assert.deepEqual(await signInMethods(page), ['google']);

  await submit(page, '#set-password', { newPassword: password });
  await page.waitForSelector('#change-password:not([hidden])');
  assert.ok(await page.isHidden('#set-password'));
  assert.deepEqual(await signInMethods(page), ['google', 'password']);
  await unlink(page, 'google');
  await shows(page, 'Google is no longer linked.');
  assert.deepEqual(await signInMethods(page), ['password']);
  await logOut(page);
  await logIn(page, user.email);
  assert.equal((await me(page)).user.id, account.id);
});

test('users without a password step up by signing in again', async (t) => {
  const page = await open(t, STRICT_PAGE);
  const user = await createUser('github');
  await signIn(page, user);
  await stepUpExpires(page);
  const api = await page.getAttribute('html', 'data-api');
  const linked = async () => (await (await page.request.get(`${api}/auth/identities`)).json()).identities.map(({ provider }) => provider);
  await page.click('#link-buttons >> text="Link Acme"');
  await page.waitForSelector('#step-up[open]');
  await focusOn(page, 'Sign in with GitHub');
  await page.keyboard.press('Escape');
  await focusOn(page, 'Link Acme');
  await page.waitForSelector('#link-buttons [aria-disabled=true]', { state: 'detached' });
  await page.keyboard.press('Enter');
  await focusOn(page, 'Sign in with GitHub');
  assert.ok(await page.isHidden('#step-up [type=password]'));
  await page.keyboard.press('Enter');
  await authorize(page, user);
  await signedIn(page);
  assert.deepEqual(await linked(), ['github']);
  await page.click('#link-buttons >> text="Link Acme"');
  await authorize(page, await createUser('acme'));
  await isLinked(page, 'acme');
  assert.deepEqual(await linked(), ['github', 'acme']);
});

test('prompt=login makes the provider authenticate the user again', async (t) => {
  const page = await open(t);
  const user = await createUser('google');
  await signIn(page, user);
  const { body: before } = await request(page, 'GET', '/auth/session');
  await isOld(page, 1.1);
  await page.goto(`${API}/auth/google?prompt=login&return_to=${PAGE}/account`);
  await page.fill('[name=login]', user.login);
  await page.click('text=Sign in');
  await signedIn(page);
  const { body: after } = await request(page, 'GET', '/auth/session');
  assert.equal(after.userId, before.userId);
  assert.notEqual(after.sessionId, before.sessionId);
  assert.ok(Date.parse(after.authenticatedAt) > Date.parse(before.authenticatedAt), `${after.authenticatedAt} is not after ${before.authenticatedAt}`);
});
