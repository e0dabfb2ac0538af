// The pages on another origin than the API, as the demo shows them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  API, PAGE, SHORT_PAGE, assertFits, goTo, logIn, logOut, open, password, register, rejected, screens, sessionCookies, sessionId, shows, signedIn, signedOut, submit,
} from './page.mjs';

const rotate = (page) => page.evaluate((api) => fetch(`${api}/auth/rotate-session`, { method: 'POST', credentials: 'include' }), API);

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
  await shows(page, 'Your profile was saved.');
  await page.waitForFunction(() => document.querySelector('#account-name').textContent === 'Ann B.');

  const before = await sessionId(page);
  await rotate(page);
  assert.notEqual(await sessionId(page), before);
  await page.context().addCookies([{ ...cookie }]); // the old token
  await page.reload();
  await signedOut(page);

  await logIn(page, email, { rememberMe: false });
  const [browserCookie] = await sessionCookies(page);
  assert.equal(browserCookie.expires, -1, 'the cookie outlives the browser');
  await logOut(page);
  await shows(page, 'You’ve signed out.');
  assert.deepEqual(await sessionCookies(page), []);
  await page.goBack(); // the account is not in the cache of the browser
  await signedOut(page);
  assert.ok(!(await page.content()).includes(email), 'the Back button shows the account');
  await page.context().addCookies([browserCookie]);
  await page.goto(PAGE);
  await signedOut(page);
  await shows(page, 'You’ve signed out.');
});

test('errors of the API are shown', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await logOut(page);
  await submit(page, '#signin', { email, password: 'another password' });
  await rejected(page, 'invalid_credentials');
  await shows(page, 'Incorrect email or password.');
  await goTo(page, '/register');
  await submit(page, '#register', { name: 'Ann', email, password });
  await rejected(page, 'email_taken');
  await page.waitForFunction(() => document.activeElement.name === 'email' && document.activeElement.ariaInvalid === 'true');
  assert.match(await page.textContent('#register-email-error'), /already an account/);
  await submit(page, '#register', { name: ' ', email: 'no', password: 'short' });
  await page.waitForFunction(() => document.querySelectorAll('#register [aria-invalid]').length === 3);
});

test('one browser ends the session of another', async (t) => {
  const desktop = await open(t);
  const phone = await open(t, PAGE, {
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1',
  });
  const email = await register(desktop);
  await logIn(phone, email);
  await desktop.reload();
  await desktop.waitForFunction(() => document.querySelectorAll('#sessions li').length === 2);
  assert.match(await desktop.textContent('#sessions li:first-child'), /This device/);
  assert.match(await desktop.textContent('#sessions li:last-child'), /Safari 17 on iOS/);

  await desktop.click('#sessions button');
  await desktop.waitForFunction(() => document.querySelectorAll('#sessions li').length === 1);
  await phone.reload();
  await signedOut(phone);
  await shows(phone, 'ended on another device');

  await logIn(phone, email);
  await phone.click('#end-all');
  await signedOut(phone);
  await submit(desktop, '#profile', { name: 'Ann' }); // the page learns it from any action
  await signedOut(desktop);
  await shows(desktop, 'ended on another device');
  await logIn(desktop, email); // and leads back
});

test('a tab notices a logout in another tab', async (t) => {
  const page = await open(t);
  await register(page);
  const other = await page.context().newPage();
  await other.goto(PAGE);
  await signedIn(other);
  await logOut(other);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await signedOut(page);
});

test('an idle session ends although the page polls, and the page explains why', async (t) => {
  const page = await open(t, SHORT_PAGE);
  await page.clock.install();
  await register(page);
  let ended = false;
  const left = page.waitForURL(/\/signin/).then(() => { ended = true; });
  while (!ended) { // SESSION_MAX_AGE is 3 seconds
    const polled = page.waitForResponse((response) => response.url().endsWith('/auth/session'));
    await Promise.race([left, Promise.all([polled, page.clock.runFor(60_000)])]);
  }
  await signedOut(page);
  await shows(page, 'inactive for too long');
});

test('a hidden tab does not poll', async (t) => {
  const page = await open(t);
  await page.clock.install();
  await register(page);
  await page.evaluate(() => Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true }));
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.clock.runFor(3_600_000);
  assert.deepEqual(requests, []);

  await page.evaluate(() => delete document.visibilityState);
  const polled = page.waitForRequest((request) => request.url().endsWith('/auth/session'));
  await page.clock.runFor(60_000);
  assert.equal((await polled).headers()['x-session-touch'], 'no');
});

test('the demo logs the calls, and the pages do not otherwise mention it', async (t) => {
  const page = await open(t);
  await register(page);
  const calls = await page.$$eval('#log summary code', (codes) => codes.map((code) => code.textContent));
  assert.ok(calls.includes('GET /auth/me') && calls.includes('GET /auth/sessions'), calls.join(', '));
  assert.match(await page.textContent('#log'), /"email":/);
  assert.match(await page.textContent('.demo'), new RegExp(API));
  assert.equal(await page.getAttribute('#outbox-link', 'href'), 'mail');
});

test('log in with the keyboard only', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await logOut(page);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.type(email);
  await page.keyboard.press('Tab');
  await page.keyboard.type(password);
  await page.keyboard.press('Enter');
  await signedIn(page);
});

test('the demo fits narrow and wide screens', async (t) => {
  for await (const { page } of screens(t)) {
    await signedOut(page);
    await assertFits(page, 'the demo');
    await register(page);
    await assertFits(page, 'the account in the demo');
  }
});
