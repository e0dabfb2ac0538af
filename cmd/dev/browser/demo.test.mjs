// The demo page in a real browser, from another origin than the API.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, SCREENSHOTS, SHORT_PAGE, logIn, open, password, register, says, sessionCookies, sessionId, signedIn, signedOut } from './page.mjs';

test('the whole way: register, reload, rename, rotate, log out, log in', async (t) => {
  const page = await open(t);
  const email = await register(page);
  assert.equal(await page.textContent('#account-email'), email);
  assert.equal(await page.evaluate(() => document.cookie), '', 'a script can read the cookie');
  const [cookie] = await sessionCookies(page);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, cookie.domain], [true, 'Lax', '/', 'localhost']);
  assert.ok(cookie.expires > Date.now() / 1000 + 86400, 'the cookie does not last');

  await page.reload();
  await signedIn(page);

  await page.fill('#profile [name=name]', 'Ann B.');
  await page.click('#profile button');
  await says(page, 'Profile updated');
  await page.waitForFunction(() => document.querySelector('#account-name').textContent === 'Ann B.');

  const before = await sessionId(page);
  await page.click('#rotate');
  await says(page, 'Session rotated');
  await page.waitForFunction((id) => document.querySelector('#session dd .mono').textContent !== id, before);
  await page.context().addCookies([{ ...cookie }]); // the token of before
  await page.reload();
  await signedOut(page);

  await logIn(page, email, false);
  const [short] = await sessionCookies(page);
  assert.equal(short.expires, -1, 'the cookie outlives the browser');
  await page.click('#logout');
  await signedOut(page);
  await says(page, 'Logout successful');
  assert.deepEqual(await sessionCookies(page), []);
  await page.context().addCookies([short]);
  await page.reload();
  await signedOut(page);
  await says(page, 'You logged out.');
});

test('what the API refuses is shown as it says it', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await page.click('#logout');
  await signedOut(page);
  await page.fill('#login [name=email]', email);
  await page.fill('#login [name=password]', 'another password');
  await page.click('#login button');
  await says(page, 'Invalid credentials');
  await page.fill('#register [name=name]', 'Ann');
  await page.fill('#register [name=email]', email);
  await page.fill('#register [name=password]', password);
  await page.click('#register button');
  await says(page, 'Email already registered');
});

test('one browser ends the session of another', async (t) => {
  const [here, there] = [await open(t), await open(t, PAGE, {
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1',
  })];
  const email = await register(here);
  await logIn(there, email);
  await here.click('#refresh');
  await here.waitForFunction(() => document.querySelectorAll('#sessions li').length === 2);
  assert.match(await here.textContent('#sessions'), /Safari on iOS/);
  await here.click('#sessions button');
  await here.waitForFunction(() => document.querySelectorAll('#sessions li').length === 1);
  await there.click('#refresh');
  await signedOut(there);
  await says(there, 'ended from another place');
  await logIn(there, email);
  await there.click('#end-all');
  await signedOut(there);
  await here.click('#rotate');
  await signedOut(here);
  await says(here, 'ended from another place');
});

test('a tab learns that another one has logged out', async (t) => {
  const page = await open(t);
  await register(page);
  const other = await page.context().newPage();
  await other.goto(PAGE);
  await signedIn(other);
  await other.click('#logout');
  await signedOut(other);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await signedOut(page);
});

test('a session that is not used ends, and the page says why', async (t) => {
  const page = await open(t, SHORT_PAGE);
  await register(page);
  await page.waitForTimeout(3500); // any request would be a use: there is nothing else to wait for
  await page.click('#refresh');
  await signedOut(page);
  await says(page, 'away for too long');
});

test('by keyboard alone', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await page.click('#logout');
  await signedOut(page);
  await page.reload();
  await signedOut(page);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  for (const text of [email, password]) {
    await page.keyboard.type(text);
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await signedIn(page);
});

test('nothing is cut off on a phone', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [320, 1200]) {
      const page = await open(t, PAGE, { colorScheme, viewport: { width, height: 800 } });
      await register(page);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `at ${width} the page scrolls sideways`);
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/demo-${colorScheme}-${width}.png`, fullPage: true });
    }
  }
});
