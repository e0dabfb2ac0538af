// The demo, which calls the API from another origin.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  PAGE, SHORT_PAGE, assertFits, logIn, open, password, register, rejected, screens, sessionCookies, sessionId, shows, signedIn, signedOut, submit,
} from './page.mjs';

test('register, reload, rename, rotate, log out and log in', async (t) => {
  const page = await open(t);
  const email = await register(page);
  assert.equal(await page.textContent('#account-email'), email);
  assert.equal(await page.evaluate(() => document.cookie), '', 'a script can read the cookie');
  const [cookie] = await sessionCookies(page);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, cookie.domain], [true, 'Lax', '/', 'localhost']);
  assert.ok(cookie.expires > Date.now() / 1000 + 86400, 'the cookie expires within a day');

  await page.reload();
  await signedIn(page);

  await submit(page, '#profile', { name: 'Ann B.' });
  await shows(page, 'Profile updated');
  await page.waitForFunction(() => document.querySelector('#account-name').textContent === 'Ann B.');

  const before = await sessionId(page);
  await page.click('#rotate');
  await shows(page, 'Session rotated');
  await page.waitForFunction((id) => document.querySelector('#session [data-field=sessionId]').textContent !== id, before);
  await page.context().addCookies([{ ...cookie }]); // the old token
  await page.reload();
  await signedOut(page);

  await logIn(page, email, { rememberMe: false });
  const [browserCookie] = await sessionCookies(page);
  assert.equal(browserCookie.expires, -1, 'the cookie outlives the browser');
  await page.click('#logout');
  await signedOut(page);
  await shows(page, 'Logout successful');
  assert.deepEqual(await sessionCookies(page), []);
  await page.context().addCookies([browserCookie]);
  await page.reload();
  await signedOut(page);
  await shows(page, 'You logged out.');
});

test('errors of the API are shown', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await page.click('#logout');
  await signedOut(page);
  await submit(page, '#login', { email, password: 'another password' });
  await rejected(page, 'invalid_credentials');
  await shows(page, 'Invalid credentials');
  await submit(page, '#register', { name: 'Ann', email, password });
  await rejected(page, 'email_taken');
});

test('one browser ends the session of another', async (t) => {
  const desktop = await open(t);
  const phone = await open(t, PAGE, {
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1',
  });
  const email = await register(desktop);
  await logIn(phone, email);
  await desktop.click('#refresh');
  await desktop.waitForFunction(() => document.querySelectorAll('#sessions li').length === 2);
  assert.match(await desktop.textContent('#sessions li:first-child'), /current session/);
  assert.match(await desktop.textContent('#sessions li:last-child'), /Safari 17 on iOS/);

  await desktop.click('#sessions button');
  await desktop.waitForFunction(() => document.querySelectorAll('#sessions li').length === 1);
  await phone.click('#refresh');
  await signedOut(phone);
  await shows(phone, 'ended on another device');

  await logIn(phone, email);
  await phone.click('#end-all');
  await signedOut(phone);
  await desktop.click('#rotate');
  await signedOut(desktop);
  await shows(desktop, 'ended on another device');
});

test('a tab notices a logout in another tab', async (t) => {
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

test('an idle session ends, and the page explains why', async (t) => {
  const page = await open(t, SHORT_PAGE);
  await register(page);
  await page.waitForTimeout(3500); // polling would keep the session alive
  await page.click('#refresh');
  await signedOut(page);
  await shows(page, 'inactive for too long');
});

test('log in with the keyboard only', async (t) => {
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

test('the demo fits narrow and wide screens', async (t) => {
  for await (const { page } of screens(t)) {
    await register(page);
    await assertFits(page, 'the demo');
  }
});
