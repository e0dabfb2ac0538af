// What users do with their accounts, and the emails that result.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  API, PAGE, SHORT_PAGE, STRICT_PAGE, emailLink, focusOn, goTo, hasEmail, hasPassed, isAt, logIn, logOut, open, openEmail, password, register, rejected,
  sessionId, shows, signedIn, signedOut, stepUpExpires, submit, watchForLeaks,
} from './page.mjs';

test('reset a forgotten password with the link in an email', async (t) => {
  const [page, other] = [await open(t), await open(t)];
  const email = await register(other);
  await signedOut(page);
  await page.click('#forgot-link');
  await submit(page, '#forgot', { email: 'unknown@example.com' });
  await shows(page, 'a link is on its way');
  const text = await page.textContent('#notice');
  const assertNoLeak = watchForLeaks(page);
  await submit(page, '#forgot', { email: email.toUpperCase() });
  await shows(page, text); // the same for both

  const tab = await openEmail(page, email, 'Reset your Latchkey password');
  const href = await emailLink(tab).getAttribute('href');
  assert.ok(href.startsWith(`${PAGE}/reset-password#token=`), href);
  await emailLink(tab).click();
  await tab.waitForSelector('#reset:not([hidden])');
  await isAt(tab, '/reset-password');
  await assertNoLeak(href.split('=')[1], tab);
  await other.reload(); // opening the link changes nothing
  await signedIn(other);

  await submit(tab, '#reset', { password: 'a better password' });
  await shows(tab, 'Your password was changed');
  await assertNoLeak(href.split('=')[1], tab);
  await tab.keyboard.press('Enter'); // the link to the sign-in page has the focus
  await signedOut(tab);
  await other.reload();
  await signedOut(other);
  await shows(other, 'The password was changed.');
  await submit(tab, '#signin', { email, password });
  await rejected(tab, 'invalid_credentials');
  await logIn(tab, email, { withPassword: 'a better password' });
  await (await openEmail(page, email, 'password was changed')).close();

  await page.goto(href); // a second time
  await submit(page, '#reset', { password: 'a third password' });
  await rejected(page, 'invalid_token');
  await page.reload(); // the token is gone
  await page.waitForSelector('#incomplete:not([hidden])');
  await page.goto(href); // the same document, since only the fragment changes
  await page.waitForSelector('#reset:not([hidden])');
  await isAt(page, '/reset-password');
});

test('a click confirms the email, opening the link does not', async (t) => {
  const page = await open(t);
  const email = await register(page);
  const assertNoLeak = watchForLeaks(page);
  assert.equal(await page.textContent('#email-state'), 'Not confirmed');
  const first = await openEmail(page, email, 'Confirm your email address');
  const oldLink = await emailLink(first).getAttribute('href');
  await hasPassed(first, '#email time', 1); // the limit is one link per second
  await page.click('#resend');
  await shows(page, 'We sent you a new link.');
  const tab = await openEmail(page, email, 'Confirm your email address', 2);
  const href = await emailLink(tab).getAttribute('href');
  assert.notEqual(href, oldLink);

  await first.goto(oldLink);
  await submit(first, '#verify', {});
  await rejected(first, 'invalid_token');
  await first.goto(href);
  await first.waitForSelector('#verify:not([hidden])');
  await first.close();

  await emailLink(tab).click();
  await tab.waitForSelector('#verify:not([hidden])');
  await isAt(tab, '/verify-email');
  await tab.keyboard.press('Enter'); // the button has the focus
  await shows(tab, 'Your email address is confirmed.');
  await assertNoLeak(href.split('=')[1], tab);
  await tab.keyboard.press('Enter'); // the link to the account has the focus
  await signedIn(tab);
  assert.equal(await tab.textContent('#email-state'), 'Confirmed');
  assert.ok(await tab.isHidden('#resend'));
  await tab.goto(href);
  await submit(tab, '#verify', {});
  await rejected(tab, 'invalid_token');
});

test('another language keeps the token of a link', async (t) => {
  const page = await open(t);
  const email = await register(page);
  const tab = await openEmail(page, email, 'Confirm your email address');
  await emailLink(tab).click();
  await tab.click('footer summary');
  await tab.click('footer [hreflang=de]');
  await tab.waitForSelector('html[lang=de] #verify:not([hidden])');
  assert.ok(!tab.url().includes('token'), tab.url());
  await submit(tab, '#verify', {});
  await tab.waitForSelector('#done:not([hidden])');
  await tab.click('#done a');
  await signedIn(tab);
  assert.equal(await tab.getAttribute('html', 'lang'), 'de');
});

test('a password change ends the sessions of other browsers', async (t) => {
  const [page, other] = [await open(t), await open(t)];
  const email = await register(page);
  await logIn(other, email);
  await submit(page, '#change-password', { currentPassword: 'not the password', newPassword: 'a better password' });
  await rejected(page, 'wrong_password');
  await page.waitForFunction(() => document.activeElement.name === 'currentPassword' && document.activeElement.ariaInvalid === 'true');
  await submit(page, '#change-password', { currentPassword: password, newPassword: password });
  await rejected(page, 'weak_password');
  await other.reload();
  await signedIn(other);

  const before = await sessionId(page);
  await submit(page, '#change-password', { newPassword: 'a better password' });
  await shows(page, 'Your password was changed.');
  assert.notEqual(await sessionId(page), before);
  assert.deepEqual(await page.$$eval('#change-password input[autocomplete$=password]', (inputs) => inputs.map((input) => input.value)), ['', '']);
  await focusOn(page, 'Change password');
  await other.reload();
  await signedOut(other);
  await shows(other, 'The password was changed.');
  await logIn(other, email, { withPassword: 'a better password' });
});

test('a common password is rejected with an explanation', async (t) => {
  const page = await open(t, `${STRICT_PAGE}/register`);
  await submit(page, '#register', { name: 'Ann', email: 'common@example.com', password: 'password123' });
  await rejected(page, 'weak_password');
  assert.match(await page.textContent('#register-password-error'), /too common/);
  await submit(page, '#register', { password });
  await signedIn(page);
});

test('changing the email and deleting the account require a step-up', async (t) => {
  const [page, other] = [await open(t, STRICT_PAGE), await open(t, STRICT_PAGE)];
  const email = await register(page);
  const next = `new.${email}`;
  await logIn(other, email);
  const requestChange = async () => {
    await submit(page, '#change-email', { email: next });
    await page.waitForSelector('#step-up[open]');
  };
  const focusedField = () => page.evaluate(() => document.activeElement.name);

  await stepUpExpires(page);
  await requestChange();
  assert.equal(await focusedField(), 'password');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#step-up', { state: 'hidden' });
  await focusOn(page, 'Change email');
  assert.equal(await page.inputValue('#change-email [name=email]'), next);
  await requestChange();
  await page.click('#step-up-cancel');
  await focusOn(page, 'Change email');
  await requestChange();
  await page.fill('#step-up [name=password]', 'not the password');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#step-up-password-error:not(:empty)');
  await page.waitForFunction(() => document.activeElement.name === 'password' && document.activeElement.value === '');
  await page.fill('#step-up [name=password]', password);
  await page.keyboard.press('Enter');
  await shows(page, `We sent a link to ${next}.`);
  await focusOn(page, 'Change email');
  assert.equal(await page.textContent('#account-email'), email, 'the email has already changed');

  await (await openEmail(page, email, 'is about to change')).close();
  const tab = await openEmail(page, next, 'Confirm your new email address');
  await emailLink(tab).click();
  await submit(tab, '#verify', {});
  await shows(tab, 'Your email address is confirmed.');
  await tab.click('#done a');
  await signedIn(tab);
  assert.equal(await tab.textContent('#account-email'), next);
  assert.equal(await tab.textContent('#email-state'), 'Confirmed');
  await goTo(tab, '/mail');
  for (const to of [email, next]) await hasEmail(tab, to, 'Your Latchkey email address was changed');
  await other.reload();
  await signedOut(other);
  await shows(other, 'The email address was changed.');
  await page.reload(); // the session of the browser that used the link continues
  await signedIn(page);
  assert.equal(await page.textContent('#account-email'), next);

  await stepUpExpires(page);
  await submit(page, '#delete', { confirm: email });
  await page.waitForFunction((wanted) => document.querySelector('#delete-confirm-error').textContent.includes(wanted), next);
  await submit(page, '#delete', { confirm: next });
  await page.waitForSelector('#step-up[open]');
  await page.fill('#step-up [name=password]', password);
  await page.click('#step-up .primary');
  await signedOut(page);
  await shows(page, 'The account was deleted.');
  await (await openEmail(page, next, 'was deleted')).close();
  await submit(page, '#signin', { email: next, password });
  await rejected(page, 'invalid_credentials');
});

test('the step-up dialog closes if the session has ended', async (t) => {
  const [page, other] = [await open(t, STRICT_PAGE), await open(t, STRICT_PAGE)];
  const email = await register(page);
  await logIn(other, email);
  await stepUpExpires(page);
  await submit(page, '#delete', { confirm: email });
  await page.waitForSelector('#step-up[open]');
  await other.click('#end-all');
  await signedOut(other);
  await page.fill('#step-up [name=password]', password);
  await page.click('#step-up .primary');
  await signedOut(page);
  await shows(page, 'ended on another device');
});

test('the activity lists the events of the account', async (t) => {
  const [page, other] = [await open(t), await open(t)];
  const email = await register(page);
  await submit(other, '#signin', { email, password: 'not the password' });
  await rejected(other, 'invalid_credentials');
  await logIn(other, email);
  await submit(page, '#profile', { name: 'Ann B.' });
  await shows(page, 'Your profile was saved.');

  const firstIs = (wanted) => page.waitForFunction((text) => document.querySelector('#activity strong').textContent === text, wanted);
  await firstIs('Profile updated');
  assert.deepEqual(await page.$$eval('#activity strong', (names) => names.map((name) => name.textContent)),
    ['Profile updated', 'Signed in', 'Failed sign-in', 'Account created']);
  assert.deepEqual(await page.$$eval('#activity li:has(.badge)', (items) => items.map((item) => item.querySelector('strong').textContent)), ['Signed in']);
  assert.match(await page.textContent('#activity li'), /Chrome \d+ on Linux · 127\.0\.0\.1 · just now/);
  assert.ok(await page.isHidden('#more-activity'));

  await page.evaluate(async (api) => {
    for (let i = 0; i < 60; i++) await fetch(`${api}/auth/rotate-session`, { method: 'POST', credentials: 'include' });
  }, API);
  await page.reload();
  await signedIn(page);
  await firstIs('Session renewed');
  const shown = await page.locator('#activity li').count();
  await page.click('#more-activity');
  await page.waitForFunction((count) => document.querySelectorAll('#activity li').length > count, shown);
  assert.equal(await page.locator('#activity li').count(), 64);
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('#activity li')].indexOf(document.activeElement)), shown);
  assert.equal(await page.textContent('#activity li:last-child strong'), 'Account created');
  assert.ok(await page.isHidden('#more-activity'));
});

test('a rate limit is explained with the time to wait', async (t) => {
  const page = await open(t, `${SHORT_PAGE}/verify-email#token=unknown`);
  await submit(page, '#verify', {});
  await rejected(page, 'invalid_token');
  await submit(page, '#verify', {});
  await page.waitForFunction(() => /^Too many attempts\. Please try again in [1-9]\d* seconds\.$/.test(document.querySelector('#notice').textContent));
});

test('the language of the account is that of the page', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await page.selectOption('#profile-locale', 'ja');
  await submit(page, '#profile', {});
  await page.waitForSelector('html[lang=ja] #account:not([hidden])');
  await logOut(page);
  assert.equal(await page.getAttribute('html', 'lang'), 'ja');
  await page.click('#forgot-link');
  await submit(page, '#forgot', { email });
  await page.waitForSelector('#notice:not(:empty)');
  await page.goto(`${PAGE}/mail`);
  await page.locator('#emails a', { hasText: 'パスワード' }).first().waitFor();
});
