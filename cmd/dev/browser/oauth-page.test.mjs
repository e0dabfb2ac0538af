// How the page shows accounts elsewhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, SCREENSHOTS, SHORT_PAGE, focusOn, open, password, register, says, signedIn, signedOut } from './page.mjs';
import { me, person, prove, signIn } from './elsewhere.mjs';

test('by keyboard alone, with an account elsewhere', async (t) => {
  const page = await open(t);
  const who = await person('acme');
  await signedOut(page);
  await page.focus('#forgotten summary');
  await page.keyboard.press('Tab');
  await focusOn(page, 'Sign in with GitHub');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await prove(page, who);
  await signedIn(page);
  assert.equal((await me(page)).user.email, who.email);
});

test('what went wrong is said in words, and stays out of the address', async (t) => {
  const page = await open(t);
  const codes = ['access_denied', 'provider_error', 'provider_unavailable', 'sign_in_expired', 'link_required', 'email_missing', 'account_disabled', 'identity_taken',
    'already_linked', 'wrong_account', 'not_authenticated', 'too_many_requests', 'session_store_unavailable', 'user_store_unavailable'];
  await page.goto(`${PAGE}/?error=access_denied&from=elsewhere`);
  await says(page, 'called off');
  assert.equal(page.url(), `${PAGE}/?from=elsewhere`);
  const told = await page.evaluate(async (all) => {
    const { cameBack } = await import('/elsewhere.js');
    return all.map((code) => {
      history.replaceState(null, '', `/?error=${encodeURIComponent(code)}`);
      cameBack();
      return document.querySelector('#notice.bad').textContent;
    });
  }, [...codes, 'constructor', '<b>no</b>']);
  assert.equal(page.url(), `${PAGE}/`);
  assert.deepEqual(told.slice(-2), Array(2).fill('Signing in did not work.'));
  assert.equal(new Set(told).size, codes.length + 1, 'some have the same words, or none');
});

test('where there are no providers the page has nothing about them', async (t) => {
  const page = await open(t, SHORT_PAGE);
  await signedOut(page);
  assert.ok(await page.isHidden('#elsewhere'));
  await register(page);
  assert.ok(await page.isHidden('#ways'));
});

test('nothing about accounts elsewhere is cut off on a phone', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [320, 1200]) {
      const page = await open(t, PAGE, { colorScheme, viewport: { width, height: 800 } });
      const fits = async (name) => {
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `at ${width} ${name} scrolls sideways`);
        if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}-${colorScheme}-${width}.png`, fullPage: name !== 'step-up-elsewhere' });
      };
      await page.waitForSelector('#elsewhere:not([hidden])');
      await fits('elsewhere');
      await signIn(page, await person('google', { email: `a.rather.long.address.of.somebody.${width}.${colorScheme}@example.org` }));
      await fits('ways');
      await page.route(`${API}/auth/password/set`, (route) => route.fulfill({
        status: 403, body: '{"code":"step_up_required"}', headers: { 'Access-Control-Allow-Origin': PAGE, 'Access-Control-Allow-Credentials': 'true' },
      }));
      await page.fill('#set-password [name=newPassword]', password);
      await page.click('#set-password button');
      await page.waitForSelector('#step-up[open]');
      await fits('step-up-elsewhere');
    }
  }
});
