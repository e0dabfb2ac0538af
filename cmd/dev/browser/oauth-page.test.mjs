// How the demo shows external providers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, SHORT_PAGE, assertFits, focusOn, open, password, register, screens, shows, signedIn, signedOut, submit } from './page.mjs';
import { authorize, createUser, me, signIn } from './external.mjs';

test('sign in with a provider with the keyboard only', async (t) => {
  const page = await open(t);
  const user = await createUser('acme');
  await signedOut(page);
  await page.focus('#forgot-link');
  await page.keyboard.press('Tab');
  await focusOn(page, 'Sign in with GitHub');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await authorize(page, user);
  await signedIn(page);
  assert.equal((await me(page)).user.email, user.email);
});

test('errors are explained and removed from the URL', async (t) => {
  const page = await open(t);
  const codes = ['access_denied', 'provider_error', 'provider_unavailable', 'sign_in_expired', 'link_required', 'email_missing', 'account_disabled', 'identity_taken',
    'already_linked', 'wrong_account', 'not_authenticated', 'too_many_requests', 'session_store_unavailable', 'user_store_unavailable', 'registration_closed'];
  const generic = 'Sign-in failed. Please try again.';
  for (const code of [...codes, 'constructor', '<b>no</b>']) {
    await page.goto(`${PAGE}/signin?error=${encodeURIComponent(code)}&return_to=${encodeURIComponent(`${PAGE}/account`)}`);
    await page.waitForSelector('#notice.bad:not(:empty)');
    assert.equal(await page.textContent('#notice') === generic, !codes.includes(code), code);
    assert.equal(page.url(), `${PAGE}/signin?return_to=${encodeURIComponent(`${PAGE}/account`)}`);
  }

  await register(page); // users who are signed in see it on their account
  await page.goto(`${PAGE}/?error=access_denied`);
  await signedIn(page);
  await shows(page, 'You cancelled the sign-in.');
  assert.equal(page.url(), `${PAGE}/account`);
});

test('a long URL to return to survives a sign-in with a provider', async (t) => {
  const long = `${PAGE}/account?x=${'%26'.repeat(600)}`;
  const page = await open(t, `${PAGE}/signin?return_to=${encodeURIComponent(long)}`);
  await signedOut(page);
  await signIn(page, await createUser('acme'));
  await signedIn(page);
  assert.equal(page.url(), long);
});

test('without providers, the demo does not mention them', async (t) => {
  const page = await open(t, SHORT_PAGE);
  await signedOut(page);
  assert.equal(await page.locator('#providers').count(), 0);
  await register(page);
  assert.ok(await page.isHidden('#methods'));
});

test('providers fit narrow and wide screens', async (t) => {
  for await (const { page, colorScheme, width } of screens(t)) {
    await signedOut(page);
    await assertFits(page, 'the list of providers');
    await signIn(page, await createUser('google', { email: `someone.with.a.rather.long.email.${width}.${colorScheme}@example.org` }));
    await assertFits(page, 'the list of sign-in methods');

    await page.route(`${API}/auth/password/set`, (route) => route.fulfill({
      status: 403, body: '{"code":"step_up_required","errors":[],"methods":["fed"]}', headers: { 'Access-Control-Allow-Origin': PAGE, 'Access-Control-Allow-Credentials': 'true' },
    }));
    await submit(page, '#set-password', { newPassword: password });
    await page.waitForSelector('#step-up[open]');
    await assertFits(page, 'the step-up dialog');
  }
});
