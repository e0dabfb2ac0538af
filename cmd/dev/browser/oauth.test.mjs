// Signing in with accounts elsewhere, at providers that are real: see providers.mjs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, STRICT_PAGE, focusOn, logIn, open, password, passed, register, says, sessionCookies, signedIn, signedOut } from './page.mjs';
import { ask, go, link, linked, listed, me, nobody, person, prove, signIn, titles, unlink } from './elsewhere.mjs';

for (const provider of ['google', 'acme', 'github']) {
  test(`with ${titles[provider]}: the way there and back, and another time`, async (t) => {
    const page = await open(t);
    const who = await person(provider);
    await signIn(page, who);
    assert.equal(page.url(), `${PAGE}/`);
    assert.ok(!/code=|state=/.test(await page.evaluate(() => document.referrer)), 'the page learns the code');
    const { user } = await me(page);
    assert.deepEqual([user.name, user.email, user.emailVerified, user.picture], [who.name, who.email, true, who.picture]);
    assert.equal(await page.textContent('#account-email'), who.email);
    assert.deepEqual((await ask(page, 'GET', '/auth/session')).body.methods, [provider]);
    assert.deepEqual(await linked(page), [provider]);
    assert.match(await page.textContent('#session'), new RegExp(`Signed in by${titles[provider]}`));
    const [cookie] = await sessionCookies(page);
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Lax', '/']);
    assert.deepEqual((await page.context().cookies(API)).filter(({ name }) => name.includes('oauth')), [], 'the cookie of the way stays');

    await page.click('#logout');
    await signedOut(page);
    await nobody(page);
    await go(page, provider);
    if (provider === 'github') await prove(page, who); // the others know who it is
    await signedIn(page);
    assert.equal((await me(page)).user.id, user.id);
  });
}

test('calling it off: the page says so, once, and nobody is signed in', async (t) => {
  const page = await open(t);
  const who = await person('google');
  const cancel = async (provider) => {
    await go(page, provider);
    await page.waitForSelector('[name=login]');
    if (provider === 'google') { // not on its first page, but where it asks for consent
      await page.fill('[name=login]', who.login);
      await page.click('text=Sign in');
      await page.waitForSelector('text=Allow');
    }
    await page.click('text=Cancel');
    await says(page, 'called off');
    assert.equal(page.url(), `${PAGE}/`);
    await signedOut(page);
    await nobody(page);
  };
  for (const provider of ['google', 'acme', 'github']) await cancel(provider);
  await page.reload();
  await signedOut(page);
  assert.equal(await page.textContent('#notice'), '');
  await go(page, 'google'); // no harm done
  await page.click('text=Allow');
  await signedIn(page);
  assert.equal((await me(page)).user.email, who.email);
});

test('two tabs at once both succeed', async (t) => {
  const page = await open(t);
  const who = await person('acme');
  const other = await page.context().newPage();
  await other.goto(PAGE);
  for (const tab of [page, other]) {
    await go(tab, 'acme');
    await tab.waitForSelector('[name=login]');
  }
  for (const tab of [page, other]) {
    await tab.fill('[name=login]', who.login);
    await tab.click('text=Sign in');
    if (tab === page) await tab.click('text=Allow'); // once is enough
    await signedIn(tab);
    assert.equal(await tab.textContent('#notice'), '');
    assert.equal((await me(tab)).user.email, who.email);
  }
  assert.equal((await ask(page, 'GET', '/auth/sessions')).body.sessions.length, 1);
});

test('linked from inside: it signs in to the same account, until it is unlinked', async (t) => {
  const page = await open(t);
  await register(page);
  const who = await person('acme');
  const { user } = await me(page);
  assert.deepEqual(await linked(page), ['password']);
  await link(page, who);
  assert.deepEqual(await linked(page), ['acme', 'password']);
  assert.equal((await me(page)).user.id, user.id);
  await page.waitForFunction(() => document.querySelector('#activity strong').textContent === 'An account elsewhere was linked');

  await page.click('#logout');
  await signedOut(page);
  await go(page, 'acme');
  await signedIn(page);
  const again = (await me(page)).user;
  assert.deepEqual([again.id, again.email, again.name], [user.id, user.email, user.name]);
  assert.deepEqual((await ask(page, 'GET', '/auth/session')).body.methods, ['acme']);

  await unlink(page, 'acme');
  await says(page, 'Acme is not linked any more.');
  assert.deepEqual(await linked(page), ['password']);
  await page.click('#logout');
  await signedOut(page);
  await go(page, 'acme');
  await signedIn(page);
  const other = await me(page);
  assert.notEqual(other.user.id, user.id);
  assert.equal(other.user.email, who.email);
});

test('the last way to sign in stays; with a password it may go', async (t) => {
  const page = await open(t);
  const who = await person('google');
  await signIn(page, who);
  const { user } = await me(page);
  assert.ok(await page.isHidden('#change-password'));
  assert.match(await page.textContent('#ways-list'), /no password yet/);
  await unlink(page, 'google');
  await page.waitForSelector('#notice.bad:not(:empty)');
  assert.deepEqual(await linked(page), ['google']);

  await page.fill('#set-password [name=newPassword]', password);
  await page.click('#set-password button');
  await page.waitForSelector('#change-password:not([hidden])');
  assert.ok(await page.isHidden('#set-password'));
  assert.deepEqual(await linked(page), ['google', 'password']);
  await unlink(page, 'google');
  await says(page, 'Google is not linked any more.');
  assert.deepEqual(await linked(page), ['password']);
  await page.click('#logout');
  await logIn(page, who.email);
  assert.equal((await me(page)).user.id, user.id);
});

test('an account that somebody made with the address of another is not inherited', async (t) => {
  const [early, owner] = [await open(t), await open(t)];
  const who = await person('google', { email: `owner${process.pid}@example.org` });
  await signedOut(early);
  await early.fill('#register [name=name]', 'Early Bird');
  await early.fill('#register [name=email]', who.email);
  await early.fill('#register [name=password]', password);
  await early.click('#register button');
  await signedIn(early);
  const theirs = await person('github');
  await link(early, theirs); // another door, to be kept open
  await signIn(owner, who);

  const { user } = await me(owner);
  assert.deepEqual([user.email, user.emailVerified, user.name], [who.email, true, who.name]);
  assert.deepEqual(await linked(owner), ['google']);
  await nobody(early);
  await early.click('#refresh');
  await signedOut(early);
  await early.fill('#login [name=email]', who.email);
  await early.fill('#login [name=password]', password);
  await early.click('#login button');
  await says(early, 'Invalid credentials');
  await nobody(early);
  await go(early, 'github');
  await prove(early, theirs);
  await signedIn(early);
  assert.notEqual((await me(early)).user.id, user.id, 'the account linked before leads in');
  assert.equal((await me(owner)).user.id, user.id);
});

test('an address that the provider has not verified opens no account', async (t) => {
  const [owner, page] = [await open(t), await open(t)];
  const email = await register(owner);
  await go(page, 'github');
  await prove(page, await person('github', { email, verified: false }));
  await says(page, 'There is an account with this address already.');
  await signedOut(page);
  await nobody(page);
  assert.deepEqual(await linked(owner), ['password']);
  await owner.click('#refresh');
  await signedIn(owner);
});

test('an account elsewhere belongs to one account here, which has one of each provider', async (t) => {
  const [first, second] = [await open(t), await open(t)];
  const who = await person('github');
  await register(first);
  await link(first, who);
  await register(second);
  const another = await second.context().newPage();
  await another.goto(PAGE);
  await signedIn(another);
  for (const tab of [second, another]) { // two ways at once, while nothing is linked
    await tab.click('#ways-more >> text="Link GitHub"');
    await tab.waitForSelector('[name=login]');
  }
  await prove(second, who);
  await says(second, 'it belongs to another account here');
  assert.deepEqual(await linked(second), ['password']);
  await second.click('#ways-more >> text="Link GitHub"');
  await prove(second, await person('github'));
  await listed(second, 'github');
  await prove(another, await person('github'));
  await says(another, 'another account of the same provider is');
  assert.deepEqual([await linked(first), await linked(second)], [['github', 'password'], ['github', 'password']]);
});

test('who has no password proves who they are by signing in again', async (t) => {
  const page = await open(t, STRICT_PAGE);
  const who = await person('github');
  await signIn(page, who);
  await passed(page, '#session dt:nth-of-type(3) + dd time', 2.1);
  const api = await page.getAttribute('meta[name=latchkey-api]', 'content');
  const ways = async () => (await (await page.request.get(`${api}/auth/identities`)).json()).identities.map(({ provider }) => provider);
  await page.click('#ways-more >> text="Link Acme"');
  await page.waitForSelector('#step-up[open]');
  await focusOn(page, 'Sign in again with GitHub');
  await page.keyboard.press('Escape');
  await focusOn(page, 'Link Acme');
  await page.keyboard.press('Enter');
  await focusOn(page, 'Sign in again with GitHub');
  assert.ok(await page.isHidden('#step-up [type=password]'));
  await page.keyboard.press('Enter');
  await prove(page, who);
  await signedIn(page);
  assert.deepEqual(await ways(), ['github']);
  await page.click('#ways-more >> text="Link Acme"');
  await prove(page, await person('acme'));
  await listed(page, 'acme');
  assert.deepEqual(await ways(), ['github', 'acme']);
});

test('a provider asks again for its proof where that is wanted', async (t) => {
  const page = await open(t);
  const who = await person('google');
  await signIn(page, who);
  const { body: before } = await ask(page, 'GET', '/auth/session');
  await passed(page, '#session dt:nth-of-type(3) + dd time', 1.1);
  await page.goto(`${API}/auth/google?prompt=login&return_to=${PAGE}/`);
  await page.fill('[name=login]', who.login);
  await page.click('text=Sign in');
  await signedIn(page);
  const { body: after } = await ask(page, 'GET', '/auth/session');
  assert.equal(after.userId, before.userId);
  assert.notEqual(after.sessionId, before.sessionId);
  assert.ok(Date.parse(after.authenticatedAt) > Date.parse(before.authenticatedAt), `${after.authenticatedAt} is not after ${before.authenticatedAt}`);

  await page.goto(`${API}/auth/github?prompt=login&return_to=${PAGE}/`); // it is no way to another account
  await prove(page, await person('github'));
  await says(page, 'another account than the one that you are signed in with');
  await signedIn(page);
  assert.equal((await ask(page, 'GET', '/auth/session')).body.sessionId, after.sessionId);
});
