// Attacks on signing in with accounts elsewhere: by somebody with accounts of their own,
// with a page of their own, and with a provider of their own, which is Mallory's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, attacker, link as letterLink, logIn, open, openMail, register, says, sessionId, signedIn, signedOut } from './page.mjs';
import { ask, at, callback, go, link, linked, listed, me, nobody, person, prove, signIn, start } from './elsewhere.mjs';

// attackerAt is a browser of somebody who is signed in at a provider and here.
async function attackerAt(t, provider) {
  const page = await open(t);
  await signIn(page, await person(provider, { name: 'Mallory' }));
  return page;
}

// refused opens an address that must not sign anybody in, and waits until the page has
// said why.
async function refused(page, address, why) {
  await page.goto(address);
  await says(page, why);
  assert.equal(page.url(), `${PAGE}/`, 'it was not taken back to the page');
}

const flowCookies = async (page) => (await page.context().cookies(API)).filter(({ name }) => name.includes('oauth'));

test("the callback of an attacker's sign-in signs in nobody else", async (t) => {
  const [mallory, victim, other] = [await attackerAt(t, 'google'), await open(t), await open(t)];
  const address = await callback(mallory, start('google'));
  await refused(victim, address, 'begun in another browser');
  await nobody(victim);

  const who = await person('acme');
  await signIn(other, who); // who is signed in stays who they are
  const before = await sessionId(other);
  await refused(other, address, 'begun in another browser');
  await signedIn(other);
  assert.deepEqual([(await me(other)).user.email, await sessionId(other)], [who.email, before]);

  await mallory.goto(address); // nor has anybody used it up
  await signedIn(mallory);
  assert.equal(await mallory.textContent('#notice'), '');
});

test("an attacker's code is of no use with the state of another", async (t) => {
  const [mallory, victim] = [await attackerAt(t, 'google'), await attackerAt(t, 'google')];
  await victim.click('#logout');
  await signedOut(victim);
  const [theirs, own] = [new URL(await callback(mallory, start('google'))), new URL(await callback(victim, start('google')))];
  own.searchParams.set('code', theirs.searchParams.get('code'));
  await refused(victim, own.href, 'cannot be trusted');
  await nobody(victim);
});

test('a callback that is opened twice is refused', async (t) => {
  const page = await attackerAt(t, 'google');
  await page.click('#logout');
  await signedOut(page);
  const address = await callback(page, start('google'));
  const kept = await flowCookies(page);
  assert.equal(kept.length, 1);
  assert.deepEqual([kept[0].httpOnly, kept[0].sameSite], [true, 'Lax']);
  await page.goto(address);
  await signedIn(page);
  const before = await sessionId(page);
  await refused(page, address, 'used already');
  await page.context().addCookies(kept); // also by who has kept the cookie
  await refused(page, address, 'used already');
  await signedIn(page);
  assert.equal(await sessionId(page), before);

  await page.click('#logout');
  await signedOut(page);
  await page.context().addCookies(kept);
  await refused(page, address, 'used already');
  await nobody(page);
});

test('a code of one issuer is nothing to the callback of another', async (t) => {
  const page = await attackerAt(t, 'google');
  await page.click('#logout');
  await signIn(page, await person('mallory'));
  await page.click('#logout');
  await signedOut(page);
  const from = async (provider) => new URL(await callback(page, start(provider)));
  const refusedFor = async (address, why) => {
    await refused(page, address.href, why);
    await nobody(page);
  };
  const foreign = (await from('mallory')).searchParams.get('code');
  for (const iss of [at.google, at.mallory, null]) { // the state is that of the callback
    for (const code of [foreign, null]) { // and its own code is no good from another issuer, or from nobody (RFC 9207)
      if (!code && iss === at.google) continue;
      const address = await from('google');
      if (code) address.searchParams.set('code', code);
      if (iss) address.searchParams.set('iss', iss);
      else address.searchParams.delete('iss');
      await refusedFor(address, 'cannot be trusted');
    }
  }
  for (const [one, other] of [['google', 'mallory'], ['mallory', 'google']]) { // and with its own state
    for (const iss of [at[one], at[other]]) {
      const address = await from(one);
      address.pathname = `/auth/${other}/callback`;
      address.searchParams.set('iss', iss);
      await refusedFor(address, 'begun in another browser');
    }
  }
});

test('a provider that sends browsers on to another one gains nothing by it', async (t) => {
  const victim = await attackerAt(t, 'google'); // is signed in there, and has agreed
  await victim.click('#logout');
  await signedOut(victim);
  // What Mallory's issuer could answer: go to Google, with the rest of what you brought.
  const asked = new URL((await ask(victim, 'GET', start('mallory').slice(API.length))).location);
  const honest = new URL((await ask(victim, 'GET', start('google').slice(API.length))).location);
  assert.equal(asked.origin, at.mallory);
  for (const name of ['state', 'nonce', 'code_challenge']) honest.searchParams.set(name, asked.searchParams.get(name));
  await refused(victim, honest.href, 'begun in another browser');
  await nobody(victim);
  honest.searchParams.set('redirect_uri', asked.searchParams.get('redirect_uri')); // or to Mallory's callback
  await victim.goto(honest.href);
  assert.equal(new URL(victim.url()).origin, at.google, 'Google sends its code elsewhere');
  await nobody(victim);
});

test('the same subject at two issuers is two users', async (t) => {
  const [page, mallory] = [await open(t), await open(t)];
  const who = await person('google');
  await signIn(page, who);
  await signIn(mallory, await person('mallory', { login: who.login, email: `other.${who.email}` }));
  const [{ user }, { user: other }] = [await me(page), await me(mallory)];
  assert.notEqual(other.id, user.id);
  assert.deepEqual([user.email, other.email], [who.email, `other.${who.email}`]);
  await mallory.click('#logout');
  await signedOut(mallory);

  await person('mallory', { login: who.login, email: who.email, verified: false }); // with the address as well
  const stranger = await open(t);
  const again = await person('mallory', { email: who.email, verified: false });
  await go(stranger, 'mallory');
  await prove(stranger, again);
  await says(stranger, 'There is an account with this address already.');
  await nobody(stranger);
  await go(mallory, 'mallory');
  await signedIn(mallory);
  assert.equal((await me(mallory)).user.id, other.id);
});

test('the end of the way is a page of ours, or there is none', async (t) => {
  const page = await open(t);
  const api = new URL(API), origin = new URL(PAGE);
  const foreign = [
    'https://evil.example/', '//evil.example/', '/\\evil.example', '\\\\evil.example', `https:${PAGE.slice(5)}/`, `${PAGE}.evil.example/`, `${PAGE}@evil.example/`,
    `http://evil.example@${origin.host}/`, `${PAGE}0/`, `http://localhost:${api.port}/`, `http://127.0.0.1:${origin.port}/`, 'javascript:alert(1)', 'data:text/html,x',
    `\t${PAGE}/`, `${PAGE}\\@evil.example/`, `/\t/evil.example`, `${PAGE}/\r\nSet-Cookie: sid=x`, 'evil.example', ` ${PAGE}/`,
  ];
  for (const address of foreign) {
    const answer = await ask(page, 'GET', `/auth/google?return_to=${encodeURIComponent(address)}`);
    assert.deepEqual([answer.status, answer.location], [400, undefined], address);
  }
  const both = await ask(page, 'GET', `/auth/google?return_to=${encodeURIComponent(`${PAGE}/`)}&return_to=https://evil.example/`);
  assert.deepEqual([both.status, both.location], [400, undefined]);
  assert.deepEqual(await flowCookies(page), []);
  await page.goto(`${API}/auth/google?return_to=https://evil.example/`);
  assert.ok(page.url().startsWith(API));
  await page.goto(PAGE);
  await register(page);
  for (const returnTo of foreign) {
    assert.equal((await ask(page, 'POST', '/auth/identities/google', { returnTo })).status, 400, returnTo);
  }
  assert.deepEqual(await flowCookies(page), []);

  const who = await person('google'); // a path, and a page with a query, are fine
  await page.goto(`${API}/auth/google?return_to=${encodeURIComponent('/?from=elsewhere#part')}`);
  await prove(page, who);
  await signedIn(page);
  assert.equal(page.url(), `${PAGE}/?from=elsewhere#part`);
  assert.equal((await me(page)).user.email, who.email);
});

test("an attacker's account elsewhere is linked to nobody else's", async (t) => {
  const [mallory, victim] = [await attackerAt(t, 'google'), await open(t)];
  const who = await person('acme');
  await link(mallory, who); // so that Acme knows who it is, and has consent
  assert.equal((await ask(mallory, 'DELETE', '/auth/identities/acme')).status, 204);
  const { body: { url } } = await ask(mallory, 'POST', '/auth/identities/acme', { returnTo: '/' });
  const address = await callback(mallory, url, who.login);
  await register(victim);
  await refused(victim, address, 'begun in another browser');
  assert.deepEqual(await linked(victim), ['password']);
  await mallory.goto(address);
  await listed(mallory, 'acme');
});

test('a link that somebody asked for is not carried out for who signed in after them', async (t) => {
  const page = await open(t);
  await register(page);
  const who = await person('github');
  const tab = await page.context().newPage();
  await tab.goto(PAGE);
  await signedIn(tab);
  await tab.click('#ways-more >> text="Link GitHub"');
  await tab.waitForSelector('[name=login]');
  await page.click('#logout');
  const email = await register(page);
  await prove(tab, who);
  await says(tab, 'your session has ended meanwhile');
  assert.equal((await me(page)).user?.email, email, 'who is signed in by now is not any more');
  assert.deepEqual(await linked(page), ['password']);
  await page.click('#logout');
  await signIn(page, who); // it belongs to nobody
  assert.equal((await me(page)).user.email, who.email);
});

test('who takes an account over by a letter leaves no door to who made it', async (t) => {
  const [early, owner] = [await open(t), await open(t)];
  const who = await person('github');
  const email = await register(early);
  await link(early, who);
  await owner.click('#forgotten summary');
  await owner.fill('#forgot [name=email]', email);
  await owner.click('#forgot button');
  await says(owner, 'If there is an account');
  const tab = await openMail(owner, email, 'Reset your Latchkey password');
  await letterLink(tab).click();
  await tab.fill('#reset-form [name=password]', 'a better password');
  await tab.click('#reset-form button');
  await signedOut(tab);
  await logIn(tab, email, true, 'a better password');
  const { user } = await me(tab);
  await early.click('#refresh');
  await signedOut(early);
  await go(early, 'github');
  await prove(early, who);
  await signedIn(early);
  assert.notEqual((await me(early)).user.id, user.id);
});

for (const host of ['localhost', '127.0.0.1']) {
  test(`a page at ${host} neither links nor unlinks, nor sets a password`, async (t) => {
    const page = await open(t);
    await signIn(page, await person('google'));
    const before = await sessionId(page);
    const evil = await page.context().newPage();
    await evil.goto(await attacker(t, host, `
      (document.body ?? document.documentElement).insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${API}/auth/identities/acme"><input name="{" value="}"></form>');
      document.querySelector('iframe').onload = () => Promise.allSettled([
        fetch('${API}/auth/identities/acme', { method: 'POST', mode: 'no-cors', credentials: 'include' }),
        fetch('${API}/auth/identities/acme', { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then((r) => r.text()).then((text) => { window.stolen = text; }),
        fetch('${API}/auth/identities', { credentials: 'include' }).then((r) => r.text()).then((text) => { window.stolen = text; }),
        fetch('${API}/auth/identities/google', { method: 'DELETE', credentials: 'include' }),
        fetch('${API}/auth/google', { mode: 'no-cors', credentials: 'include' }), // nor begins a way, without a person who goes it
        new Promise((resolve) => { const image = new Image(); image.onload = image.onerror = resolve; image.src = '${API}/auth/acme'; }),
        fetch('${API}/auth/password/set', { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'Content-Type': 'text/plain' }, body: '{"newPassword":"of the attacker"}' }),
      ]).then(() => { document.title = 'done'; });
      f.submit();`));
    await evil.waitForFunction(() => document.title === 'done');
    assert.ok(!(await evil.evaluate(() => window.stolen)), 'the page could read');
    assert.deepEqual(await flowCookies(page), []);
    assert.deepEqual(await linked(page), ['google']);
    await page.reload();
    await signedIn(page);
    assert.equal(await sessionId(page), before);
  });
}
