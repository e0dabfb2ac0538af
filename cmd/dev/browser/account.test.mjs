// What a person does with their account, with the mails about it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, SHORT_PAGE, STRICT_PAGE, at, focusOn, link, logIn, open, openMail, passed, password, register, says, sessionId, signedIn, signedOut, told, watch } from './page.mjs';

test('a forgotten password: a mail, its link, another password', async (t) => {
  const [page, other] = [await open(t), await open(t)];
  const email = await register(other);
  await signedOut(page);
  await page.click('#forgotten summary');
  await page.fill('#forgot [name=email]', 'nobody@example.com');
  await page.click('#forgot button');
  await says(page, 'If there is an account');
  const clean = watch(page);
  await page.fill('#forgot [name=email]', email.toUpperCase());
  await page.click('#forgot button');
  await says(page, 'If there is an account');
  await focusOn(page, 'Mail me a link');

  const tab = await openMail(page, email, 'Reset your Latchkey password');
  const href = await link(tab).getAttribute('href');
  assert.ok(href.startsWith(`${PAGE}/reset-password#token=`), href);
  await link(tab).click();
  await tab.waitForSelector('#reset-form:not([hidden])');
  await at(tab, '/reset-password');
  await clean(href.split('=')[1], tab);
  await other.click('#refresh'); // it was only opened
  await signedIn(other);

  await tab.fill('#reset-form [name=password]', 'a better password');
  await tab.click('#reset-form button');
  await signedOut(tab);
  await says(tab, 'Password reset');
  await at(tab, '/');
  await clean(href.split('=')[1], tab);
  await other.click('#refresh');
  await signedOut(other);
  await says(other, 'The password was changed.');
  await tab.fill('#login [name=email]', email);
  await tab.fill('#login [name=password]', password);
  await tab.click('#login button');
  await says(tab, 'Invalid credentials');
  await logIn(tab, email, true, 'a better password');
  await (await openMail(page, email, 'password was changed')).close();

  await page.goto(href); // again
  await page.fill('#reset-form [name=password]', 'a third password');
  await page.click('#reset-form button');
  await says(page, 'The link is not valid any more');
  await page.reload(); // the token has gone
  await page.waitForSelector('#reset-empty:not([hidden])');
  await page.goto(href); // the same document: only the part after # changes
  await page.waitForSelector('#reset-form:not([hidden])');
  await at(page, '/reset-password');
});

test('an address is confirmed by a click, not by opening the link', async (t) => {
  const page = await open(t);
  const email = await register(page);
  const clean = watch(page);
  assert.equal(await page.textContent('#email-state'), 'not confirmed');
  const first = await openMail(page, email, 'Confirm your email address');
  const old = await link(first).getAttribute('href');
  await passed(first, '#mail time', 1); // one mail with a link a second
  await page.click('#resend');
  await says(page, 'on its way');
  const tab = await openMail(page, email, 'Confirm your email address', 2);
  const href = await link(tab).getAttribute('href');
  assert.notEqual(href, old);

  await first.goto(old);
  await first.click('#verify-form button');
  await says(first, 'The link is not valid any more');
  await first.goto(href);
  await first.waitForSelector('#verify-form:not([hidden])');
  await first.waitForFunction(() => document.querySelectorAll('#log li').length >= 4);
  await first.close();

  await link(tab).click();
  await tab.waitForSelector('#verify-form:not([hidden])');
  await at(tab, '/verify-email');
  await tab.keyboard.press('Enter'); // the button has the focus
  await says(tab, 'Email verified');
  await signedIn(tab);
  await at(tab, '/');
  await clean(href.split('=')[1], tab);
  assert.equal(await tab.textContent('#email-state'), 'confirmed');
  assert.ok(await tab.isHidden('#resend'));
  await tab.goto(href);
  await tab.click('#verify-form button');
  await says(tab, 'The link is not valid any more');
});

test('another password ends the sessions of other browsers', async (t) => {
  const [here, there] = [await open(t), await open(t)];
  const email = await register(here);
  await logIn(there, email);
  await here.fill('#change-password [name=currentPassword]', 'not the password');
  await here.fill('#change-password [name=newPassword]', 'a better password');
  await here.click('#change-password button');
  await says(here, 'The password is not right');
  await here.fill('#change-password [name=currentPassword]', password);
  await here.fill('#change-password [name=newPassword]', password);
  await here.click('#change-password button');
  await says(here, 'The new password is the current one.');
  await there.click('#refresh');
  await signedIn(there);

  const before = await sessionId(here);
  await here.fill('#change-password [name=newPassword]', 'a better password');
  await here.click('#change-password button');
  await says(here, 'Password changed');
  await here.waitForFunction((id) => document.querySelector('#session dd .mono').textContent !== id, before);
  assert.deepEqual(await here.$$eval('#change-password input[type=password]', (inputs) => inputs.map((input) => input.value)), ['', '']);
  await there.click('#refresh');
  await signedOut(there);
  await says(there, 'The password was changed.');
  await logIn(there, email, true, 'a better password');
});

test('a common password is refused, and the page says why', async (t) => {
  const page = await open(t, STRICT_PAGE);
  await signedOut(page);
  await page.fill('#register [name=name]', 'Ann');
  await page.fill('#register [name=email]', 'common@example.com');
  await page.fill('#register [name=password]', 'password123');
  await page.click('#register button');
  await page.waitForFunction(() => /^The password .+\.$/.test(document.querySelector('#notice.bad')?.textContent));
  await page.fill('#register [name=password]', password);
  await page.click('#register button');
  await signedIn(page);
});

test('another address, and the end of the account, take the password again', async (t) => {
  const [page, other] = [await open(t, STRICT_PAGE), await open(t, STRICT_PAGE)];
  const email = await register(page), next = `new.${email}`;
  await logIn(other, email);
  const tooOld = () => passed(page, '#session dt:nth-of-type(3) + dd time', 2.1);
  const ask = async () => {
    await page.fill('#change-email [name=email]', next);
    await page.click('#change-email button');
    await page.waitForSelector('#step-up[open]');
  };
  const focused = () => page.evaluate(() => document.activeElement.name || document.activeElement.textContent);

  await tooOld();
  await ask();
  assert.equal(await focused(), 'password');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#step-up', { state: 'hidden' });
  await focusOn(page, 'Change the address');
  assert.equal(await page.inputValue('#change-email [name=email]'), next);
  await ask();
  await page.click('#step-up-cancel');
  await focusOn(page, 'Change the address');
  await ask();
  await page.fill('#step-up [name=password]', 'not the password');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#step-up-error').textContent === 'The password is not right');
  assert.deepEqual([await focused(), await page.inputValue('#step-up [name=password]')], ['password', '']);
  await page.fill('#step-up [name=password]', password);
  await page.keyboard.press('Enter');
  await says(page, 'A link to confirm the new address');
  await focusOn(page, 'Change the address');
  assert.equal(await page.textContent('#account-email'), email, 'it has changed already');

  await (await openMail(page, email, 'is about to change')).close();
  const tab = await openMail(page, next, 'Confirm your new email address');
  await link(tab).click();
  await tab.click('#verify-form button');
  await says(tab, 'Email changed');
  await signedIn(tab);
  await tab.waitForFunction((to) => document.querySelector('#account-email').textContent === to, next);
  assert.equal(await tab.textContent('#email-state'), 'confirmed');
  await tab.goto(`${STRICT_PAGE}/mail`);
  for (const to of [email, next]) await told(tab, to, 'Your Latchkey email address was changed');
  await other.click('#refresh');
  await signedOut(other);
  await says(other, 'The email address was changed.');
  await page.click('#refresh'); // the session of the browser that brought the link goes on
  await page.waitForFunction((wanted) => document.querySelector('#account-email').textContent === wanted, next);

  await tooOld();
  await page.fill('#delete [name=confirm]', email);
  await page.click('#delete button');
  await says(page, `Type ${next}`);
  await page.fill('#delete [name=confirm]', next);
  await page.click('#delete button');
  await page.waitForSelector('#step-up[open]');
  await page.fill('#step-up [name=password]', password);
  await page.click('#step-up .primary');
  await signedOut(page);
  await says(page, 'The account is deleted.');
  await (await openMail(page, next, 'was deleted')).close();
  await page.fill('#login [name=email]', next);
  await page.fill('#login [name=password]', password);
  await page.click('#login button');
  await says(page, 'Invalid credentials');
});

test('a session that ended meanwhile is not asked for its password for ever', async (t) => {
  const [page, other] = [await open(t, STRICT_PAGE), await open(t, STRICT_PAGE)];
  const email = await register(page);
  await logIn(other, email);
  await passed(page, '#session dt:nth-of-type(3) + dd time', 2.1);
  await page.fill('#delete [name=confirm]', email);
  await page.click('#delete button');
  await page.waitForSelector('#step-up[open]');
  await other.click('#end-all');
  await signedOut(other);
  await page.fill('#step-up [name=password]', password);
  await page.click('#step-up .primary');
  await signedOut(page);
  await says(page, 'ended from another place');
});

test('the activity lists what was done, in words', async (t) => {
  const [page, other] = [await open(t), await open(t)];
  const email = await register(page);
  await signedOut(other);
  await other.fill('#login [name=email]', email);
  await other.fill('#login [name=password]', 'not the password');
  await other.click('#login button');
  await says(other, 'Invalid credentials');
  await logIn(other, email);
  await page.fill('#profile [name=name]', 'Ann B.');
  await page.click('#profile button');
  await says(page, 'Profile updated');
  const first = (wanted) => page.waitForFunction((text) => document.querySelector('#activity strong').textContent === text, wanted);
  await first('The profile was changed');
  assert.deepEqual(await page.$$eval('#activity strong', (found) => found.map((strong) => strong.textContent)),
    ['The profile was changed', 'Logged in', 'A login failed', 'Registered']);
  assert.deepEqual(await page.$$eval('#activity li:has(.badge)', (found) => found.map((item) => item.querySelector('strong').textContent)), ['Logged in']);
  assert.match(await page.textContent('#activity li'), /Chrome on Linux · 127\.0\.0\.1 · just now/);
  assert.ok(await page.isHidden('#more-activity'));

  await page.evaluate(async (api) => {
    for (let i = 0; i < 60; i++) await fetch(`${api}/auth/rotate-session`, { method: 'POST', credentials: 'include' });
  }, API);
  await page.click('#refresh');
  await first('The token of a session was renewed');
  const shown = await page.locator('#activity li').count();
  await page.click('#more-activity');
  await says(page, `${64 - shown} more.`);
  assert.equal(await page.locator('#activity li').count(), 64);
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('#activity li')].indexOf(document.activeElement)), shown);
  assert.equal(await page.textContent('#activity li:last-child strong'), 'Registered');
  assert.ok(await page.isHidden('#more-activity'));
});

test('too many attempts: the page says for how long', async (t) => {
  const page = await open(t, `${SHORT_PAGE}/verify-email#token=nothing`);
  await page.click('#verify-form button');
  await says(page, 'The link is not valid any more');
  await page.click('#verify-form button');
  await page.waitForFunction(() => /^Too many attempts; try again in [1-9]\d* seconds\.$/.test(document.querySelector('#notice').textContent));
});
