// Two-step verification: authenticator apps, recovery codes and trusted devices.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  BUILT_IN, REQUIRED, REQUIRED_PAGE, STRICT_PAGE, assertAccessible, assertFits, logOut, open, password, pressEnter, register, rejected, screens, session, shows, signedIn, signedOut,
  stepUpExpires, submit, tabTo, textsOf, type, watchForLeaks,
} from './page.mjs';
import { Authenticator, scan } from './authenticator.mjs';
import { authorize, createUser } from './external.mjs';

const asked = (page) => page.waitForSelector('#second-step:not([hidden]) #factor[data-ready]');
const shownCodes = (page) => page.$$eval('#codes-list li', (items) => items.map((item) => item.textContent));
const lines = (page, list) => page.$$eval(`${list} li`, (items) => items.map((item) => item.textContent));

// focused waits until an element has the focus. After an action, it gets it when the page shows the result.
const focused = (page, id) => page.waitForFunction((wanted) => document.activeElement.id === wanted, id);

// enrol adds an authenticator app to the account, and returns it with the recovery codes. These remain on
// the page.
async function enrol(page, name = 'Phone') {
  await page.click('#add-factor');
  await page.waitForSelector('#enrol:not([hidden])');
  const app = new Authenticator(await scan(page));
  await submit(page, '#confirm-factor', { code: app.next(), name });
  await page.waitForSelector('#factors-list li');
  return { app, codes: await shownCodes(page) };
}

// answer replaces the answer of the API to requests of a path.
const answer = (page, path, body, status = 200) => page.route(`**${path}`, (route) => route.fulfill({
  status,
  contentType: 'application/json',
  body: JSON.stringify(body),
}));

// saveCodes hides the recovery codes.
async function saveCodes(page) {
  await page.click('#codes-saved');
  await focused(page, 'factors-title');
}

// enterPassword begins a login that needs a second factor.
async function enterPassword(page, email) {
  await signedOut(page);
  await submit(page, '#signin', { email, password });
  await asked(page);
}

for (const [lang, locale] of [['en', 'en-US'], ['de', 'de-DE'], ['ja', 'ja-JP']]) {
  test(`two-step verification works with the keyboard alone, in ${lang}`, async (t) => {
    const texts = await textsOf(lang);
    const page = await open(t, `${BUILT_IN}/signin`, { locale });
    const assertNoLeak = watchForLeaks(page);
    const email = await register(page);

    // Add an app. The code is read from the screen.
    await pressEnter(page, '#add-factor');
    await focused(page, 'enrol-title');
    const uri = await scan(page);
    const app = new Authenticator(uri);
    assert.equal(await page.getAttribute('#enrol-link', 'href'), uri);
    assert.ok(uri.startsWith(`otpauth://totp/Odd%20%26%20Co:${encodeURIComponent(email)}?`), uri);
    assert.match(await page.textContent('#enrol-secret'), /^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$/);
    assert.equal((await page.textContent('#enrol-secret')).replaceAll(' ', ''), app.secret);
    await type(page, '#confirm-factor-code', app.wrong());
    await page.keyboard.press('Enter');
    await rejected(page, 'wrong_code');
    const code = app.next();
    await page.keyboard.type(`${code.slice(0, 3)} ${code.slice(3)}`); // the field has the focus, and the wrong code is selected
    await tabTo(page, '#confirm-factor-name');
    assert.equal(await page.inputValue('#confirm-factor-name'), texts['factors.name']);
    await page.keyboard.type('Phone & Co'); // the field is selected
    await page.keyboard.press('Enter');
    await shows(page, texts['factors.wasAdded'].replace('{name}', 'Phone & Co'));
    const codes = await shownCodes(page);
    assert.equal(new Set(codes).size, 10);
    assert.match(codes[0], /^([0-9A-Z]{5}-){4}[0-9A-Z]{5}$/);
    await assertNoLeak(app.secret, page);

    // Save the recovery codes.
    const downloads = page.waitForEvent('download');
    await pressEnter(page, '#codes-download');
    const file = readFileSync(await (await downloads).path(), 'utf8');
    assert.ok(file.includes(email) && codes.every((recoveryCode) => file.includes(recoveryCode)), file);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await pressEnter(page, '#codes-copy');
    await shows(page, texts['codes.copied']);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), file);
    await pressEnter(page, '#codes-saved');
    await focused(page, 'factors-title');
    assert.equal(await page.textContent('#codes-left'), texts['codes.left'].replace('{count}', 10));
    for (const recoveryCode of codes) await assertNoLeak(recoveryCode, page);

    // Log in with a code, after a wrong one.
    await pressEnter(page, '#signout');
    await signedOut(page);
    await type(page, '#signin-email', email);
    await type(page, '#signin-password', password);
    await page.keyboard.press('Enter');
    await asked(page);
    await page.keyboard.type(app.wrong()); // the field has the focus
    await page.keyboard.press('Enter');
    await rejected(page, 'wrong_code');
    await page.keyboard.type(app.next());
    await page.keyboard.press('Enter');
    await signedIn(page);
    assert.equal((await session(page)).level, 'aal2');
    assert.ok((await lines(page, '#sessions'))[0].includes(
      texts['level.aal2'].replace('{methods}', `${texts['method.pwd']} + ${texts['method.otp']}`)), await lines(page, '#sessions'));

    // Rename the app, and remove it.
    await pressEnter(page, '#factors-list button');
    await page.waitForSelector('#rename[open]');
    await page.keyboard.type('Tablet'); // the name is selected
    await page.keyboard.press('Enter');
    await shows(page, texts['factors.renamed']);
    await focused(page, 'factors-title');
    await tabTo(page, '#factors-list button');
    await pressEnter(page, '#factors-list button');
    await shows(page, texts['factors.removed'].replace('{name}', 'Tablet'));
    await focused(page, 'factors-title');
    assert.equal(await page.locator('#factors-list li').count(), 0);
    await pressEnter(page, '#signout');
    await signedOut(page);
    await submit(page, '#signin', { email, password });
    await signedIn(page);
  });
}

test('two-step verification is accessible and fits narrow and wide screens', async (t) => {
  for await (const { page, colorScheme, width } of screens(t, `${BUILT_IN}/signin`)) {
    const check = async (name, at = page) => {
      await assertAccessible(at, `${name} on ${width} pixels in ${colorScheme} colors`);
      await assertFits(at, name);
    };

    const email = await register(page);
    await page.locator('#factors').scrollIntoViewIfNeeded();
    await check('account without an app');
    await page.click('#add-factor');
    await page.waitForSelector('#enrol:not([hidden])');
    await check('QR code');
    const app = new Authenticator(await scan(page));
    await submit(page, '#confirm-factor', { code: app.wrong() });
    await rejected(page, 'wrong_code');
    await check('wrong code of a new app');
    await submit(page, '#confirm-factor', { code: app.next(), name: 'A phone with quite a long name, which does not fit in one line' });
    await page.waitForSelector('#codes:not([hidden])');
    const codes = await shownCodes(page);
    await check('recovery codes');
    await saveCodes(page);
    await page.click('#factors-list button');
    await check('rename');
    await page.click('#rename-cancel');

    await logOut(page);
    await enterPassword(page, email);
    await check('second step');
    await submit(page, '#factor', { code: app.wrong() });
    await rejected(page, 'wrong_code');
    await check('wrong code');
    await page.click('#factor-switch');
    await page.check('#factor [name=trustDevice]');
    await check('recovery code');
    await submit(page, '#factor', { recoveryCode: codes[0] });
    await signedIn(page);
    await page.waitForSelector('#devices-list li');
    await check('account with an app and a trusted device');

    // What is rare: an app that is disabled after 100 wrong codes, and an account without a factor that works.
    await answer(page, '/auth/factors', { factors: [{ id: 'x', type: 'totp', name: 'Phone', createdAt: new Date(), disabled: true }], recoveryCodes: 0 });
    await page.reload();
    await page.waitForSelector('#factors-list .badge.open');
    await check('account with a disabled app');
    await answer(page, '/auth/login/factor', { factors: [], expiresAt: new Date() });
    await page.goto(`${BUILT_IN}/signin?error=second_factor_required`);
    await focused(page, 'factor-cancel');
    assert.ok(await page.isHidden('#factor'));
    await check('second step without a factor');
  }
});

test('the dialog that confirms the identity is accessible in all variants', async (t) => {
  for await (const { page, colorScheme, width } of screens(t, STRICT_PAGE)) {
    const check = async (name) => {
      await assertAccessible(page, `${name} on ${width} pixels in ${colorScheme} colors`);
      await assertFits(page, name);
    };

    await register(page);
    const { codes } = await enrol(page);
    await saveCodes(page);
    await stepUpExpires(page);
    await page.click('#new-codes');
    await page.waitForSelector('#step-up[open]');
    await check('step-up with a password and a code');
    await page.click('#step-up-switch');
    await check('step-up with a password and a recovery code');
    await page.fill('#step-up [name=password]', password);
    await page.fill('#step-up [name=recoveryCode]', 'wrong');
    await page.click('#step-up-confirm');
    await rejected(page, 'wrong_code');
    await check('step-up with a wrong recovery code');
    await page.fill('#step-up [name=recoveryCode]', codes[1].toLowerCase().replaceAll('-', ' '));
    await page.click('#step-up-confirm');
    await page.waitForSelector('#codes:not([hidden])');
    assert.equal((await shownCodes(page)).filter((code) => codes.includes(code)).length, 0);
  }
});

test('a trusted device needs no code, and a recovery code works once', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const email = await register(page);
  const { app, codes } = await enrol(page);
  await saveCodes(page);
  await logOut(page);

  // The device is trusted.
  await enterPassword(page, email);
  await page.check('#factor [name=trustDevice]');
  await submit(page, '#factor', { code: app.next() });
  await signedIn(page);
  await page.waitForSelector('#devices-list .badge');
  await logOut(page);
  await submit(page, '#signin', { email, password });
  await signedIn(page);
  assert.match((await lines(page, '#sessions'))[0], /two steps: password \+ trusted device/);
  assert.match((await lines(page, '#activity')).find((line) => line.startsWith('Signed in')), /two steps: password \+ trusted device/);

  // It is not trusted any more.
  await page.click('#devices-list button');
  await shows(page, 'is no longer trusted');
  await focused(page, 'factors-title');
  assert.ok(await page.isHidden('#devices'));
  await logOut(page);
  await enterPassword(page, email);
  assert.ok(await page.isHidden('#factor-recoveryCode'));
  await page.click('#factor-switch');
  assert.ok(await page.isHidden('#factor-code'));
  await submit(page, '#factor', { recoveryCode: codes[0].toLowerCase() });
  await signedIn(page);
  assert.equal(await page.textContent('#codes-left'), 'Recovery codes left: 9');
  await logOut(page);
  await enterPassword(page, email);
  await page.click('#factor-switch');
  await submit(page, '#factor', { recoveryCode: codes[0] });
  await rejected(page, 'wrong_code');

  // New codes replace the others.
  await submit(page, '#factor', { recoveryCode: codes[1] });
  await signedIn(page);
  await page.click('#new-codes');
  await page.waitForSelector('#codes:not([hidden])');
  const [fresh] = await shownCodes(page);
  await saveCodes(page);
  assert.equal(await page.textContent('#codes-left'), 'Recovery codes left: 10');
  await logOut(page);
  await enterPassword(page, email);
  await page.click('#factor-switch');
  await submit(page, '#factor', { recoveryCode: codes[2] });
  await rejected(page, 'wrong_code');
  await submit(page, '#factor', { recoveryCode: fresh });
  await signedIn(page);
});

test('the second step can be reloaded, translated and cancelled, and ends after five wrong codes', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const email = await register(page);
  const { app } = await enrol(page);
  await saveCodes(page);
  await logOut(page);

  await enterPassword(page, email);
  await page.reload();
  await asked(page);
  await page.click('footer summary');
  await page.click('footer [hreflang=de]');
  await page.waitForSelector('html[lang=de] #second-step:not([hidden])');
  await page.click('#factor-cancel');
  await page.waitForSelector('#first-step:not([hidden])');
  assert.equal(page.url(), `${BUILT_IN}/signin?lang=de`);
  await page.reload();
  await signedOut(page);
  assert.ok(await page.isVisible('#first-step'));

  await page.goto(`${BUILT_IN}/signin?error=second_factor_required`); // without a login
  await rejected(page, 'no_pending_login');
  assert.ok(await page.isVisible('#first-step'));

  await enterPassword(page, email);
  for (let i = 0; i < 4; i++) {
    await submit(page, '#factor', { code: app.wrong() });
    await rejected(page, 'wrong_code');
    await focused(page, 'factor-code');
  }
  await submit(page, '#factor', { code: app.wrong() });
  await page.waitForSelector('.error[data-code=wrong_code]:not(:empty), #notice[data-code=no_pending_login]');
  if (await page.isVisible('#factor')) await submit(page, '#factor', { code: app.next() });
  await rejected(page, 'no_pending_login');
  assert.ok(await page.isVisible('#first-step'));
  await focused(page, 'signin-password');
  assert.equal((await session(page)).code, 'not_authenticated');
});

test('a wrong clock is explained', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const email = await register(page);
  await page.click('#add-factor');
  await page.waitForSelector('#enrol:not([hidden])');
  const app = new Authenticator(await scan(page));
  await submit(page, '#confirm-factor', { code: app.codeAt(Date.now() + 3_600_000) });
  await page.waitForFunction(() => document.querySelector('#confirm-factor-code-error').textContent.includes('The server’s time is'));
  await submit(page, '#confirm-factor', { code: app.next() });
  await saveCodes(page);
  await logOut(page);

  await enterPassword(page, email);
  await submit(page, '#factor', { code: app.wrong() });
  await rejected(page, 'wrong_code');
  assert.ok(!(await page.textContent('#factor-code-error')).includes('The server’s time is'));
  await page.clock.setFixedTime(Date.now() + 300_000);
  await submit(page, '#factor', { code: app.wrong() });
  await page.waitForFunction(() => document.querySelector('#factor-code-error').textContent.includes('The server’s time is'));
});

test('a step-up asks for what is missing', async (t) => {
  const page = await open(t, STRICT_PAGE);
  const email = await register(page);
  const { app, codes } = await enrol(page);
  await saveCodes(page);
  await logOut(page);
  await enterPassword(page, email);
  await page.check('#factor [name=trustDevice]');
  await submit(page, '#factor', { code: app.next() });
  await signedIn(page);
  await logOut(page);
  await submit(page, '#signin', { email, password });
  await signedIn(page);

  // On a trusted device, only the code is missing.
  await page.click('#factors-list button:last-child');
  await page.waitForSelector('#step-up[open]');
  assert.ok(await page.isHidden('#step-up [name=password]'));
  await focused(page, 'step-up-code');
  await page.keyboard.type(app.wrong());
  await page.keyboard.press('Enter');
  await rejected(page, 'wrong_code');
  await page.click('#step-up-switch');
  await page.keyboard.type(codes[0]);
  await page.keyboard.press('Enter');
  await shows(page, 'Phone was removed.');
  await focused(page, 'factors-title');
  assert.equal(await page.locator('#factors-list li').count(), 0);
  assert.ok(await page.isHidden('#recovery'));

  // Without an app, a password is enough.
  await stepUpExpires(page);
  await page.click('#add-factor');
  await page.waitForSelector('#step-up[open]');
  assert.ok(await page.isHidden('#step-up [name=code]'));
  await page.fill('#step-up [name=password]', password);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#enrol:not([hidden])');
  await page.click('#enrol-cancel');
  assert.equal(await page.textContent('#enrol-secret'), '');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'add-factor');
});

test('a sign-in with a provider asks for a code', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  const user = await createUser('acme');
  await page.click('#providers [data-provider=acme]:not([href="#"])');
  await authorize(page, user);
  await signedIn(page);
  const { app } = await enrol(page);
  await saveCodes(page);
  await logOut(page);

  await page.click('#providers [data-provider=acme]:not([href="#"])');
  await page.waitForURL(/error=second_factor_required/);
  await asked(page);
  await submit(page, '#factor', { code: app.next() });
  await signedIn(page);
  assert.match((await lines(page, '#sessions'))[0], /two steps: Acme \+ authenticator app/);
});

test('a server that requires two-step verification lets users only add an app', async (t) => {
  const target = `${REQUIRED_PAGE}/forgot-password?x`;
  const page = await open(t, `${REQUIRED}/register?return_to=${encodeURIComponent(target)}`);
  const email = `required${process.pid}@example.com`;
  await submit(page, '#register', { name: 'Ann', email, password });
  await signedIn(page);
  const visible = () => page.$$eval('#account section', (sections) => sections.filter((section) => section.checkVisibility()).map(({ id }) => id));
  assert.deepEqual(await visible(), ['factors']);
  await assertAccessible(page, 'restricted account');
  await page.goto(`${REQUIRED}/signin?return_to=${encodeURIComponent(target)}`); // signed in, but not with two factors
  await signedIn(page);
  assert.deepEqual(await visible(), ['factors']);

  const { app } = await enrol(page);
  assert.deepEqual(await visible(), ['factors']);
  await page.click('#codes-saved');
  await page.waitForURL(target);

  await page.goto(`${REQUIRED}/account`);
  await signedIn(page);
  assert.ok((await visible()).length > 5);
  await logOut(page);
  await enterPassword(page, email);
  await submit(page, '#factor', { code: app.next() });
  await signedIn(page);
});

test('a session with one factor continues after a code, if two are required', async (t) => {
  const page = await open(t, `${BUILT_IN}/signin`);
  await register(page);
  const { app } = await enrol(page);
  await saveCodes(page);

  // As after REQUIRE_MFA was set to all: the session is older than the setting.
  for (const path of ['sessions', 'activity', 'identities', 'devices']) await answer(page, `/auth/${path}`, { code: 'second_factor_required' }, 403);
  await page.reload();
  await signedIn(page);
  assert.ok(await page.isHidden('#add-factor'));
  await assertAccessible(page, 'restricted account with an app');
  await page.unrouteAll();
  await page.click('#confirm-level');
  await page.fill('#step-up [name=code]', app.next());
  await page.keyboard.press('Enter');
  await page.waitForSelector('#account:not([hidden]):not(.restricted)');
});
