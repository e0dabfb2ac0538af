// Attacks on signing in with external providers. Mallory, the attacker, has accounts, a page
// and a provider.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, emailLink, accepted, logIn, open, openEmail, register, rejected, sessionId, signedIn, signedOut, startAttacker } from './page.mjs';
import { assertSignedOut, authorize, callbackURL, createUser, goTo, isLinked, issuers, link, me, request, signIn, signInMethods, startURL } from './external.mjs';

// openSignedIn opens a browser in which Mallory is signed in at a provider and in the demo.
async function openSignedIn(t, provider) {
  const page = await open(t);
  await signIn(page, await createUser(provider, { name: 'Mallory' }));
  return page;
}

// assertRefused opens a URL that must not sign anyone in, and waits for the error.
async function assertRefused(page, url, code) {
  await page.goto(url);
  await rejected(page, code);
  assert.equal(page.url(), `${PAGE}/`, 'the browser was not redirected to the demo');
}

const flowCookies = async (page) => (await page.context().cookies(API)).filter(({ name }) => name.includes('oauth'));

test("the callback URL of an attacker's sign-in does not sign in a victim", async (t) => {
  const [mallory, victim, other] = [await openSignedIn(t, 'google'), await open(t), await open(t)];
  const url = await callbackURL(mallory, startURL('google'));
  await assertRefused(victim, url, 'sign_in_expired');
  await assertSignedOut(victim);

  const user = await createUser('acme');
  await signIn(other, user); // a victim who is signed in stays signed in
  const before = await sessionId(other);
  await assertRefused(other, url, 'sign_in_expired');
  await signedIn(other);
  assert.deepEqual([(await me(other)).user.email, await sessionId(other)], [user.email, before]);

  await mallory.goto(url); // still works in the attacker's own browser
  await signedIn(mallory);
  assert.equal(await mallory.textContent('#notice'), '');
});

test("an attacker's code does not work with the state of a victim", async (t) => {
  const [mallory, victim] = [await openSignedIn(t, 'google'), await openSignedIn(t, 'google')];
  await victim.click('#logout');
  await signedOut(victim);
  const attackers = new URL(await callbackURL(mallory, startURL('google')));
  const victims = new URL(await callbackURL(victim, startURL('google')));
  victims.searchParams.set('code', attackers.searchParams.get('code'));
  await assertRefused(victim, victims.href, 'provider_error');
  await assertSignedOut(victim);
});

test('a callback URL works once', async (t) => {
  const page = await openSignedIn(t, 'google');
  await page.click('#logout');
  await signedOut(page);
  const url = await callbackURL(page, startURL('google'));
  const saved = await flowCookies(page);
  assert.equal(saved.length, 1);
  assert.deepEqual([saved[0].httpOnly, saved[0].sameSite], [true, 'Lax']);
  await page.goto(url);
  await signedIn(page);
  const before = await sessionId(page);
  await assertRefused(page, url, 'sign_in_expired');
  await page.context().addCookies(saved); // even with the saved cookie
  await assertRefused(page, url, 'sign_in_expired');
  await signedIn(page);
  assert.equal(await sessionId(page), before);

  await page.click('#logout');
  await signedOut(page);
  await page.context().addCookies(saved);
  await assertRefused(page, url, 'sign_in_expired');
  await assertSignedOut(page);
});

test('the callback of one issuer rejects the code of another', async (t) => {
  const page = await openSignedIn(t, 'google');
  await page.click('#logout');
  await signIn(page, await createUser('mallory'));
  await page.click('#logout');
  await signedOut(page);
  const newCallback = async (provider) => new URL(await callbackURL(page, startURL(provider)));
  const assertURLRefused = async (url, code) => {
    await assertRefused(page, url.href, code);
    await assertSignedOut(page);
  };

  // With the state of this callback: the code or the issuer (RFC 9207) is wrong.
  const foreign = (await newCallback('mallory')).searchParams.get('code');
  for (const iss of [issuers.google, issuers.mallory, null]) {
    for (const code of [foreign, null]) {
      if (!code && iss === issuers.google) continue; // all parameters are right
      const url = await newCallback('google');
      if (code) url.searchParams.set('code', code);
      if (iss) url.searchParams.set('iss', iss);
      else url.searchParams.delete('iss');
      await assertURLRefused(url, 'provider_error');
    }
  }

  // With the state of the other callback.
  for (const [one, other] of [['google', 'mallory'], ['mallory', 'google']]) {
    for (const iss of [issuers[one], issuers[other]]) {
      const url = await newCallback(one);
      url.pathname = `/auth/${other}/callback`;
      url.searchParams.set('iss', iss);
      await assertURLRefused(url, 'sign_in_expired');
    }
  }
});

test('a malicious provider cannot use the sign-in of another provider', async (t) => {
  const victim = await openSignedIn(t, 'google'); // has given consent there
  await victim.click('#logout');
  await signedOut(victim);

  // Mallory's issuer redirects to Google with the parameters that it received.
  const malicious = new URL((await request(victim, 'GET', startURL('mallory').slice(API.length))).location);
  const honest = new URL((await request(victim, 'GET', startURL('google').slice(API.length))).location);
  assert.equal(malicious.origin, issuers.mallory);
  for (const name of ['state', 'nonce', 'code_challenge']) honest.searchParams.set(name, malicious.searchParams.get(name));
  await assertRefused(victim, honest.href, 'sign_in_expired');
  await assertSignedOut(victim);

  honest.searchParams.set('redirect_uri', malicious.searchParams.get('redirect_uri')); // or to Mallory's callback
  await victim.goto(honest.href);
  assert.equal(new URL(victim.url()).origin, issuers.google, 'Google redirected to a foreign callback');
  await assertSignedOut(victim);
});

test('the same subject at two issuers is two users', async (t) => {
  const [page, mallory] = [await open(t), await open(t)];
  const user = await createUser('google');
  await signIn(page, user);
  await signIn(mallory, await createUser('mallory', { login: user.login, email: `other.${user.email}` }));
  const [{ user: account }, { user: other }] = [await me(page), await me(mallory)];
  assert.notEqual(other.id, account.id);
  assert.deepEqual([account.email, other.email], [user.email, `other.${user.email}`]);
  await mallory.click('#logout');
  await signedOut(mallory);

  // Even if the email is the same, too.
  await createUser('mallory', { login: user.login, email: user.email, verified: false });
  const stranger = await open(t);
  const sameEmail = await createUser('mallory', { email: user.email, verified: false });
  await goTo(stranger, 'mallory');
  await authorize(stranger, sameEmail);
  await rejected(stranger, 'link_required');
  await assertSignedOut(stranger);
  await goTo(mallory, 'mallory');
  await signedIn(mallory);
  assert.equal((await me(mallory)).user.id, other.id);
});

test('return_to accepts only pages of FRONTEND_URL', async (t) => {
  const page = await open(t);
  const api = new URL(API);
  const demo = new URL(PAGE);
  const foreign = [
    'https://evil.example/', '//evil.example/', '/\\evil.example', '\\\\evil.example', `https:${PAGE.slice(5)}/`, `${PAGE}.evil.example/`, `${PAGE}@evil.example/`,
    `http://evil.example@${demo.host}/`, `${PAGE}0/`, `http://localhost:${api.port}/`, `http://127.0.0.1:${demo.port}/`, 'javascript:alert(1)', 'data:text/html,x',
    `\t${PAGE}/`, `${PAGE}\\@evil.example/`, `/\t/evil.example`, `${PAGE}/\r\nSet-Cookie: sid=x`, 'evil.example', ` ${PAGE}/`,
  ];
  for (const url of foreign) {
    const response = await request(page, 'GET', `/auth/google?return_to=${encodeURIComponent(url)}`);
    assert.deepEqual([response.status, response.location], [400, undefined], url);
  }
  const both = await request(page, 'GET', `/auth/google?return_to=${encodeURIComponent(`${PAGE}/`)}&return_to=https://evil.example/`);
  assert.deepEqual([both.status, both.location], [400, undefined]);
  assert.deepEqual(await flowCookies(page), []);
  await page.goto(`${API}/auth/google?return_to=https://evil.example/`);
  assert.ok(page.url().startsWith(API));

  await page.goto(PAGE);
  await register(page);
  for (const returnTo of foreign) {
    assert.equal((await request(page, 'POST', '/auth/identities/google', { returnTo })).status, 400, returnTo);
  }
  assert.deepEqual(await flowCookies(page), []);

  const user = await createUser('google'); // a path with a query is allowed
  await page.goto(`${API}/auth/google?return_to=${encodeURIComponent('/?from=provider#part')}`);
  await authorize(page, user);
  await signedIn(page);
  assert.equal(page.url(), `${PAGE}/?from=provider#part`);
  assert.equal((await me(page)).user.email, user.email);
});

test("an attacker's external account cannot be linked to a victim", async (t) => {
  const [mallory, victim] = [await openSignedIn(t, 'google'), await open(t)];
  const user = await createUser('acme');
  await link(mallory, user); // gives consent at Acme
  assert.equal((await request(mallory, 'DELETE', '/auth/identities/acme')).status, 204);
  const { body: { url } } = await request(mallory, 'POST', '/auth/identities/acme', { returnTo: '/' });
  const callback = await callbackURL(mallory, url, user.login);
  await register(victim);
  await assertRefused(victim, callback, 'sign_in_expired');
  assert.deepEqual(await signInMethods(victim), ['password']);
  await mallory.goto(callback);
  await isLinked(mallory, 'acme');
});

test('a pending link does not apply to the next user of the browser', async (t) => {
  const page = await open(t);
  await register(page);
  const user = await createUser('github');
  const tab = await page.context().newPage();
  await tab.goto(PAGE);
  await signedIn(tab);
  await tab.click('#link-buttons >> text="Link GitHub"');
  await tab.waitForSelector('[name=login]');
  await page.click('#logout');
  const email = await register(page);
  await authorize(tab, user);
  await rejected(tab, 'not_authenticated');
  assert.equal((await me(page)).user?.email, email, 'the next user was logged out');
  assert.deepEqual(await signInMethods(page), ['password']);
  await page.click('#logout');
  await signIn(page, user); // it is not linked to anyone
  assert.equal((await me(page)).user.email, user.email);
});

test('a password reset by the owner of the email removes providers that a squatter linked', async (t) => {
  const [squatter, owner] = [await open(t), await open(t)];
  const user = await createUser('github');
  const email = await register(squatter);
  await link(squatter, user);
  await owner.click('#forgotten summary');
  await owner.fill('#forgot [name=email]', email);
  await owner.click('#forgot button');
  await accepted(owner);
  const tab = await openEmail(owner, email, 'Reset your Latchkey password');
  await emailLink(tab).click();
  await tab.fill('#reset-form [name=password]', 'a better password');
  await tab.click('#reset-form button');
  await signedOut(tab);
  await logIn(tab, email, { withPassword: 'a better password' });
  const { user: account } = await me(tab);
  await squatter.click('#refresh');
  await signedOut(squatter);
  await goTo(squatter, 'github');
  await authorize(squatter, user);
  await signedIn(squatter);
  assert.notEqual((await me(squatter)).user.id, account.id);
});

for (const host of ['localhost', '127.0.0.1']) {
  test(`a page on ${host} cannot link, unlink or set a password`, async (t) => {
    const page = await open(t);
    await signIn(page, await createUser('google'));
    const before = await sessionId(page);
    const attack = await page.context().newPage();
    await attack.goto(await startAttacker(t, host, `
      (document.body ?? document.documentElement).insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${API}/auth/identities/acme"><input name="{" value="}"></form>');
      document.querySelector('iframe').onload = () => Promise.allSettled([
        fetch('${API}/auth/identities/acme', { method: 'POST', mode: 'no-cors', credentials: 'include' }),
        fetch('${API}/auth/identities/acme', { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then((r) => r.text()).then((text) => { window.stolen = text; }),
        fetch('${API}/auth/identities', { credentials: 'include' }).then((r) => r.text()).then((text) => { window.stolen = text; }),
        fetch('${API}/auth/identities/google', { method: 'DELETE', credentials: 'include' }),
        fetch('${API}/auth/google', { mode: 'no-cors', credentials: 'include' }), // a sign-in has to be a navigation
        new Promise((resolve) => { const image = new Image(); image.onload = image.onerror = resolve; image.src = '${API}/auth/acme'; }),
        fetch('${API}/auth/password/set', { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'Content-Type': 'text/plain' }, body: '{"newPassword":"attacker-password"}' }),
      ]).then(() => { document.title = 'done'; });
      f.submit();`));
    await attack.waitForFunction(() => document.title === 'done');
    assert.ok(!(await attack.evaluate(() => window.stolen)), 'the attacker read a response');
    assert.deepEqual(await flowCookies(page), []);
    assert.deepEqual(await signInMethods(page), ['google']);
    await page.reload();
    await signedIn(page);
    assert.equal(await sessionId(page), before);
  });
}
