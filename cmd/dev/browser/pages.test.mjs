// The built-in pages on the origin of the API, as users without a mouse and in several languages use
// them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BUILT_IN, PAGE, assertAccessible, assertFits, emailLink, goTo, logIn, logOut, open, openEmail, password, pressEnter, register, rejected, screens, shows, signedIn, signedOut, submit, textsOf,
  type, watchForLeaks,
} from './page.mjs';
import { authorize, createUser, me } from './external.mjs';

// watchOrigins asserts that a page loads nothing from another origin.
function watchOrigins(t, page) {
  const foreign = [];
  page.on('request', (request) => { if (!request.url().startsWith(`${BUILT_IN}/`)) foreign.push(request.url()); });
  t.after(() => assert.deepEqual(foreign, []));
}

for (const [lang, locale] of [['en', 'en-US'], ['de', 'de-DE'], ['ja', 'ja-JP']]) {
  test(`everything works with the keyboard alone, in ${lang}`, async (t) => {
    const texts = await textsOf(lang);
    const page = await open(t, `${BUILT_IN}/signin`, { locale });
    const other = await open(t, `${BUILT_IN}/signin`, { locale });
    watchOrigins(t, page);
    const assertNoLeak = watchForLeaks(page);
    await signedOut(page);
    const email = `${lang}${process.pid}@example.com`;
    const signIn = async (withPassword) => {
      await signedOut(page);
      await type(page, '#signin-email', email);
      await type(page, '#signin-password', withPassword);
      await page.keyboard.press('Enter');
      await signedIn(page);
      assert.equal(await page.getAttribute('html', 'lang'), lang);
    };

    // Register, sign out and sign in.
    await pressEnter(page, '#register-link');
    await page.waitForSelector('#register[data-ready]');
    await type(page, '#register-name', 'Ann');
    await type(page, '#register-email', email);
    await type(page, '#register-password', password);
    await page.keyboard.press('Enter');
    await signedIn(page);
    await pressEnter(page, '#signout');
    await signedOut(page);
    await shows(page, texts['reason.logged_out']);
    await signIn(password);
    assert.equal((await me(page, BUILT_IN)).user.locale.split('-')[0], lang);

    // Confirm the email.
    const confirmation = await openEmail(page, email, 'Odd & Co');
    const verifyLink = await emailLink(confirmation).getAttribute('href');
    await confirmation.close();
    await page.goto(verifyLink);
    await page.waitForSelector('#verify[data-ready]:not([hidden])');
    await page.keyboard.press('Enter'); // the button has the focus
    await shows(page, texts['verify.done']);
    await assertNoLeak(verifyLink.split('=')[1], page);
    await page.keyboard.press('Enter');
    await signedIn(page);
    assert.equal(await page.textContent('#email-state'), texts['email.verified']);

    // Reset the password.
    await pressEnter(page, '#signout');
    await signedOut(page);
    await pressEnter(page, '#forgot-link');
    await page.waitForSelector('#forgot[data-ready]');
    await type(page, '#forgot-email', email);
    await page.keyboard.press('Enter');
    await shows(page, texts['forgot.done']);
    const reset = await openEmail(page, email, lang === 'en' ? 'Reset' : lang === 'de' ? 'zurück' : 'パスワード');
    const resetLink = await emailLink(reset).getAttribute('href');
    assert.ok(resetLink.startsWith(`${BUILT_IN}/reset-password#token=`), resetLink);
    await reset.close();
    await page.goto(resetLink);
    await page.waitForSelector('#reset[data-ready]:not([hidden])');
    await page.keyboard.type('a better password'); // the field has the focus
    await page.keyboard.press('Enter');
    await shows(page, texts['reset.done']);
    await assertNoLeak(resetLink.split('=')[1], page);
    await page.keyboard.press('Enter');
    await signIn('a better password');

    // Change the password, and end the session of another browser.
    await type(page, '#change-password-currentPassword', 'a better password');
    await type(page, '#change-password-newPassword', 'the best password');
    await page.keyboard.press('Enter');
    await shows(page, texts['password.changed']);
    await logIn(other, email, { withPassword: 'the best password' });
    await page.reload();
    await signedIn(page);
    await pressEnter(page, '#sessions button');
    await shows(page, texts['sessions.ended'].split('{device}').at(-1));
    await other.reload();
    await signedOut(other);
    await shows(other, texts['reason.revoked']);

    // Delete the account.
    await type(page, '#delete-confirm', email);
    await page.keyboard.press('Enter');
    await signedOut(page);
    await shows(page, texts['reason.account_deleted']);
    assert.equal((await me(page, BUILT_IN)).status, 401);
  });
}

for (const lang of ['en', 'de', 'ja']) {
  test(`the pages are accessible and fit narrow and wide screens, in ${lang}`, async (t) => {
    for await (const { page, colorScheme, width } of screens(t, `${BUILT_IN}/signin?lang=${lang}`)) {
      const check = async (name) => {
        await assertAccessible(page, `${name} on ${width} pixels in ${colorScheme} colors`);
        await assertFits(page, name);
        const small = await page.$$eval('button, .button, input:not([type=checkbox]), select, summary',
          (controls) => controls.filter((control) => control.checkVisibility() && control.getBoundingClientRect().height < 43.9).map((control) => control.outerHTML));
        assert.deepEqual(small, [], `${name}: these are too small to touch`);
        assert.equal(await page.locator('h1').count(), 1, name);
        assert.match(await page.title(), / · Odd & Co$/);
      };

      await signedOut(page);
      await check('sign-in');
      await submit(page, '#signin', { email: 'nobody@example.com', password: 'wrong' });
      await rejected(page, 'invalid_credentials');
      await check('failed sign-in');
      await page.click('footer summary');
      await check('languages');

      await goTo(page, `/register?lang=${lang}`);
      await submit(page, '#register', {});
      await page.waitForSelector('[aria-invalid]');
      await check('registration');
      for (const path of ['forgot-password', 'reset-password', 'verify-email', 'accept-invitation']) {
        for (const token of ['', '#token=something']) {
          await page.goto('about:blank'); // otherwise only the fragment changes
          await page.goto(`${BUILT_IN}/${path}?lang=${lang}${token}`);
          await page.waitForSelector('form[data-ready]:visible, #incomplete:visible');
          await check(path + token);
        }
      }

      await page.goto(`${BUILT_IN}/signin?lang=${lang}`);
      await register(page);
      await goTo(page, `/account?lang=${lang}`);
      await signedIn(page);
      await check('account');
      await page.evaluate(() => document.querySelector('#step-up').showModal());
      await check('step-up');
    }
  });
}

test('the browser returns where it came from, if that is allowed', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const target = `${PAGE}/forgot-password?x=%2F#y`;
  const withReturn = (to) => `${BUILT_IN}/signin?return_to=${encodeURIComponent(to)}`;

  await page.goto(withReturn(target)); // the links keep it
  await page.click('#register-link');
  const email = `return${process.pid}@example.com`;
  await submit(page, '#register', { name: 'Ann', email, password });
  await page.waitForURL(target);

  await page.goto(withReturn(target)); // signed in already
  await page.waitForURL(target);

  await page.goto(`${BUILT_IN}/account`);
  await signedIn(page);
  await logOut(page);
  await page.goto(withReturn(target));
  await submit(page, '#signin', { email, password });
  await page.waitForURL(target);

  for (const hostile of [
    'https://evil.example/', '//evil.example', '/\\evil.example', 'javascript:alert(1)', 'data:text/html,x', `${PAGE}@evil.example/`, `${PAGE}.evil.example/`,
    'https:evil.example', '/\t/evil.example', `${BUILT_IN}\\@evil.example`, ' https://evil.example', 'http://evil.latchkey.test/',
  ]) {
    await page.goto(withReturn(hostile));
    await signedIn(page);
    assert.equal(new URL(page.url()).origin + new URL(page.url()).pathname, `${BUILT_IN}/account`, hostile);
    assert.ok(!(await page.content()).includes('evil'), hostile);
  }
});

test('a sign-in with a provider returns there, too', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const user = await createUser('acme');
  const target = `${PAGE}/forgot-password?provider`;
  await page.goto(`${BUILT_IN}/signin?lang=de&return_to=${encodeURIComponent(target)}`);
  await page.click('#providers [data-provider=acme]:not([href="#"])');
  await page.waitForSelector('[name=login]');
  await page.click('text=Cancel');
  await shows(page, (await textsOf('de'))['error.access_denied']);
  assert.equal(page.url(), `${BUILT_IN}/signin?lang=de&return_to=${encodeURIComponent(target)}`);

  await page.click('#providers [data-provider=acme]:not([href="#"])');
  await authorize(page, user);
  await page.waitForURL(target);
  assert.equal((await me(page, BUILT_IN)).user.email, user.email);
});

test('the account leads to the sign-in and back', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const email = await register(page);
  await page.context().clearCookies();
  await page.reload();
  await signedOut(page);
  assert.match(page.url(), /return_to=/);
  await logIn(page, email);
  assert.equal(page.url(), `${BUILT_IN}/account`);
});

test('a failure of the server can be retried', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  await register(page);
  await page.route(`${BUILT_IN}/auth/me`, (route) => route.abort());
  await page.reload();
  await rejected(page, 'network_error');
  await page.unroute(`${BUILT_IN}/auth/me`);
  await page.click('#retry button');
  await signedIn(page);
});
