// The built-in pages of servers that require an invitation or a verified email, with the keyboard alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  INVITATION, INVITED, PAGE, UNVERIFIED, assertAccessible, assertFits, emailLink, open, openEmail, password, pressEnter, rejected, shows, signedIn, signedOut, stepUpExpires,
  submit, tabTo, textsOf, type, watchForLeaks,
} from './page.mjs';
import { me } from './external.mjs';

const languages = [['en', 'en-US'], ['de', 'de-DE']];

// linkOf returns the link in the newest email to a recipient.
async function linkOf(page, to, subject, count = 1) {
  const tab = await openEmail(page, to, subject, count);
  const link = await emailLink(tab).getAttribute('href');
  await tab.close();
  return link;
}

const tokenOf = (link) => new URLSearchParams(new URL(link).hash.slice(1)).get('token');

async function check(page, name) {
  await assertAccessible(page, name);
  await assertFits(page, name);
}

for (const [lang, locale] of languages) {
  test(`an invitation is accepted, in ${lang}`, async (t) => {
    const texts = await textsOf(lang);
    const page = await open(t, `${INVITED}/register`, { locale });
    const assertNoLeak = watchForLeaks(page);
    await page.waitForSelector(`text=${texts['register.invited']}`);
    assert.equal(await page.locator('#register').count(), 0);
    await check(page, 'registration without an invitation');

    // The link was either printed, with a name, or sent by email.
    const isPrinted = lang === 'en';
    const email = isPrinted ? 'ann@example.com' : 'bob@example.com';
    const link = isPrinted ? INVITATION : await linkOf(page, email, 'Latchkey');
    assert.ok(link.startsWith(`${INVITED}/accept-invitation#`), link);
    const openLink = async () => {
      await page.goto('about:blank'); // otherwise only the fragment changes
      await page.goto(link);
      await page.waitForSelector('#accept[data-ready]:not([hidden])');
      assert.equal(await page.getAttribute('html', 'lang'), lang);
      assert.equal(await page.inputValue('#accept-email'), email);
    };

    await openLink();
    assert.equal(await page.title(), `${texts['accept.title']} · Latchkey`);
    assert.equal(await page.getAttribute('#accept-email', 'readonly'), '');
    await check(page, 'invitation');
    if (isPrinted) {
      assert.equal(await page.inputValue('#accept-name'), 'Ann & Co');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'accept-password');
    } else {
      assert.equal(await page.evaluate(() => document.activeElement.id), 'accept-name');
      await page.keyboard.type('Bob');
      await tabTo(page, '#accept-password');
    }
    await page.keyboard.type('short');
    await page.keyboard.press('Enter');
    await page.waitForFunction((text) => document.querySelector('#accept-password-error').textContent === text, texts['field.too_short']);
    await check(page, 'invitation with a short password');
    await page.keyboard.press('ControlOrMeta+A'); // the field has the focus again
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');

    await signedIn(page);
    assert.equal(page.url(), `${INVITED}/account`);
    assert.equal(await page.textContent('#email-state'), texts['email.verified']);
    const { user } = await me(page, INVITED);
    assert.deepEqual([user.email, user.name, user.emailVerified, user.locale.split('-')[0]], [email, isPrinted ? 'Ann & Co' : 'Bob', true, lang]);
    await assertNoLeak(tokenOf(link), page);
    await check(page, 'account');

    // The link works once. The page explains that, and leads to the sign-in.
    await pressEnter(page, '#signout');
    await signedOut(page);
    await openLink();
    if (!isPrinted) await page.keyboard.type('Bob');
    await type(page, '#accept-password', password);
    await page.keyboard.press('Enter');
    await rejected(page, 'invalid_token');
    await shows(page, texts['error.invalid_token.accept-invitation']);
    await check(page, 'used invitation');
    await pressEnter(page, '#signin-link');
    await signedOut(page);
    await type(page, '#signin-email', email);
    await type(page, '#signin-password', password);
    await page.keyboard.press('Enter');
    await signedIn(page);
  });

  test(`a mistyped email is corrected before it is confirmed, in ${lang}`, async (t) => {
    const texts = await textsOf(lang);
    const target = `${PAGE}/forgot-password?registered`;
    const typo = `${lang}${process.pid}@example.co`;
    const email = `${typo}m`;
    const page = await open(t, `${UNVERIFIED}/signin?return_to=${encodeURIComponent(target)}`, { locale });
    const assertNoLeak = watchForLeaks(page);
    await signedOut(page);

    // Register. The page waits for the confirmation, and so does the account.
    await pressEnter(page, '#register-link');
    await page.waitForSelector('#register[data-ready]');
    await type(page, '#register-name', 'Ann');
    await type(page, '#register-email', typo);
    await type(page, '#register-password', password);
    await page.keyboard.press('Enter');
    const waitsFor = (to) => page.waitForFunction((text) => document.querySelector('#wait:not([hidden]) #wait-text')?.textContent === text,
      texts['verify.wait'].replace('{email}', to));
    await waitsFor(typo);
    assert.equal(await page.getAttribute('html', 'lang'), lang);
    await check(page, 'waiting');
    await Promise.all([page.waitForRequest((request) => new URL(request.url()).pathname === '/verify-email'), pressEnter(page, '#account-link')]);
    await waitsFor(typo);
    await linkOf(page, typo, 'Latchkey');

    // Correct the email. It takes a step-up, which the user first cancels.
    await stepUpExpires(page);
    await pressEnter(page, '#correct summary');
    await tabTo(page, '#change-email-email');
    assert.equal(await page.inputValue('#change-email-email'), typo);
    await check(page, 'correction');
    await page.keyboard.press('End');
    await page.keyboard.type('m');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#step-up[open]');
    await check(page, 'step-up');
    await page.keyboard.press('Escape');
    await page.waitForSelector('#step-up:not([open])', { state: 'attached' });
    await waitsFor(typo);
    await tabTo(page, '#change-email button');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#step-up[open]');
    await page.keyboard.type('a wrong password'); // the field has the focus
    await page.keyboard.press('Enter');
    await rejected(page, 'wrong_password');
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await shows(page, texts['verify.resent']);
    await waitsFor(email);
    assert.equal(await page.evaluate(() => document.activeElement.parentElement.id), 'correct');
    await check(page, 'corrected');

    // A new link goes to the corrected email.
    const [resent] = await Promise.all([page.waitForRequest(`${UNVERIFIED}/auth/email/**`), pressEnter(page, '#resend')]);
    assert.deepEqual([new URL(resent.url()).pathname, resent.postDataJSON()], ['/auth/email/change', { email }]);
    await waitsFor(email);

    // Use the link in another tab. The one that waits goes where the user wanted to go.
    const link = await linkOf(page, email, 'Latchkey');
    assert.ok(link.startsWith(`${UNVERIFIED}/verify-email#token=`), link);
    const other = await page.context().newPage();
    await other.goto(link);
    await other.waitForSelector('#verify[data-ready]:not([hidden])');
    await check(other, 'link');
    await other.keyboard.press('Enter'); // the button has the focus
    await shows(other, texts['verify.done']);
    await assertNoLeak(tokenOf(link), other);
    await check(other, 'confirmed');
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))); // headless browsers do not hide tabs
    await page.waitForURL(target);
    const { user } = await me(other, UNVERIFIED);
    assert.deepEqual([user.email, user.emailVerified], [email, true]);
    await other.keyboard.press('Enter');
    await signedIn(other);

    // A page that is opened once more has nothing to wait for.
    await page.goto(`${UNVERIFIED}/verify-email?return_to=${encodeURIComponent(target)}`);
    await page.waitForURL(target);
  });
}

// waiting opens a page that waits for the confirmation of a new account. Afterwards it goes to target.
async function waiting(t, name, target) {
  const page = await open(t, `${UNVERIFIED}/register?return_to=${encodeURIComponent(target)}`);
  const email = `${name}${process.pid}@example.com`;
  await submit(page, '#register', { name: 'Ann', email, password });
  await page.waitForSelector('#wait:not([hidden])');
  return { page, email };
}

const correct = async (page, email) => {
  await page.click('#correct summary');
  await submit(page, '#change-email', { email });
};

test('an email that is confirmed on another device ends the session, which the page explains', async (t) => {
  const target = `${PAGE}/forgot-password?device`;
  const { page } = await waiting(t, 'typo', target);
  const email = `device${process.pid}@example.com`;
  await stepUpExpires(page);
  await correct(page, email);
  await page.fill('#step-up-password', password);
  await page.click('#step-up-confirm');
  await page.waitForFunction((wanted) => document.querySelector('#wait-text').textContent.includes(wanted), email);

  const phone = await open(t, await linkOf(page, email, 'Confirm your new email'));
  await phone.waitForSelector('#verify[data-ready]:not([hidden])');
  await phone.click('#verify button');
  await shows(phone, 'is confirmed');

  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await signedOut(page);
  await shows(page, 'The email address was changed.');
  await submit(page, '#signin', { email, password });
  await page.waitForURL(target);
});

test('users without a password learn how to correct their email', async (t) => {
  const { page } = await waiting(t, 'provider', `${PAGE}/forgot-password`);
  await page.route(`${UNVERIFIED}/auth/email/change`, (route) => route.fulfill({
    status: 403,
    contentType: 'application/problem+json',
    body: JSON.stringify({ status: 403, code: 'step_up_required', detail: 'Confirm your identity.', methods: ['fed'] }),
  }));
  await stepUpExpires(page);
  await correct(page, `other${process.pid}@example.com`);
  await page.waitForSelector('#step-up[open]');
  assert.ok(await page.isHidden('#step-up-form'));
  assert.match(await page.textContent('#step-up-text'), /Sign in again, then repeat/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'step-up-cancel');
  await assertAccessible(page, 'step-up without a password');
  await page.keyboard.press('Enter');
  await page.click('#signout');
  await signedOut(page);
  await shows(page, 'You’ve signed out.');
});

test('a new email must differ from the current one', async (t) => {
  const page = await open(t, `${INVITED}/signin`);
  await signedOut(page);
  await submit(page, '#signin', { email: 'ann@example.com', password });
  await signedIn(page);
  await submit(page, '#change-email', { email: 'ann@example.com' });
  await page.waitForFunction(() => document.querySelector('#change-email-email-error').textContent === 'This is already your email address.');
});
