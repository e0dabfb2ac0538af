// Attacks on sign-ins with external providers, as far as they depend on the browser. The other
// attacks are in internal/httpapi/callback_test.go and linking_test.go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, open, rejected, sessionId, signedIn, startAttacker } from './page.mjs';
import { assertSignedOut, callbackURL, createUser, me, signIn, signInMethods } from './external.mjs';

// assertRefused opens a URL that must not sign anyone in, and waits for the error.
async function assertRefused(page, url) {
  await page.goto(url);
  await rejected(page, 'sign_in_expired');
  assert.ok(page.url().startsWith(`${PAGE}/`), `the browser was redirected to ${page.url()}`);
}

test("the callback URL of an attacker's sign-in does not sign in a victim", async (t) => {
  const [mallory, victim, other] = [await open(t), await open(t), await open(t)];
  await signIn(mallory, await createUser('google')); // and gives consent
  const url = await callbackURL(mallory, 'google');
  await assertRefused(victim, url);
  await assertSignedOut(victim);

  const user = await createUser('acme');
  await signIn(other, user); // a victim who is signed in stays signed in
  const before = await sessionId(other);
  await assertRefused(other, url);
  await signedIn(other);
  assert.deepEqual([(await me(other)).user.email, await sessionId(other)], [user.email, before]);

  await mallory.goto(url); // still works in the attacker's own browser
  await signedIn(mallory);
  assert.equal(await mallory.textContent('#notice'), '');
});

for (const host of ['evil.localhost', 'evil.latchkey.test']) {
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
    assert.ok(!(await page.context().cookies(API)).some(({ name }) => name.includes('oauth')), 'the attacker started a sign-in');
    assert.deepEqual(await signInMethods(page), ['google']);
    await page.reload();
    await signedIn(page);
    assert.equal(await sessionId(page), before);
  });
}
