// The outbox, and the pages that emails link to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE, assertFits, emailLink, logOut, open, openEmail, register, screens, shows, startAttacker, submit } from './page.mjs';

test('the outbox updates itself, and emails cannot run scripts', async (t) => {
  const page = await open(t);
  const recipient = await register(page);
  const tab = await openEmail(page, recipient, 'Confirm your email address');
  assert.equal(await tab.getAttribute('iframe', 'sandbox'), 'allow-same-origin allow-top-navigation-by-user-activation');
  const href = await emailLink(tab).getAttribute('href');
  await tab.click('#email summary');
  assert.ok((await tab.textContent('#text')).includes(href), 'the plain text has a different link');
  const email = await tab.context().newPage();
  const response = await email.goto(`${PAGE}${await tab.getAttribute('iframe', 'src')}`);
  assert.match(response.headers()['content-security-policy'], /^default-src 'none'; style-src 'unsafe-inline';.* sandbox allow-same-origin allow-top-navigation-by-user-activation$/);
  await email.close();

  await logOut(page);
  await page.click('#forgot-link');
  await submit(page, '#forgot', { email: recipient });
  await shows(page, 'a link is on its way');
  await tab.waitForFunction(() => document.querySelector('#status').textContent === 'New email: Reset your Latchkey password');
  assert.match(await tab.textContent('#subject'), /Confirm/, 'the new email was opened');
  await tab.focus('#main'); // the first link after it is the newest email
  await tab.keyboard.press('Tab');
  await tab.keyboard.press('Enter');
  await tab.waitForFunction(() => document.querySelector('#subject').textContent.startsWith('Reset'));

  const attack = await page.context().newPage();
  await attack.goto(await startAttacker(t, 'localhost', `
    fetch('${PAGE}/mail.json').then((r) => r.text()).then((text) => { window.stolen = text; }).finally(() => { document.title = 'done'; });`));
  await attack.waitForFunction(() => document.title === 'done');
  assert.ok(!(await attack.evaluate(() => window.stolen)), 'the attacker read the emails');
});

test('the outbox and the linked pages fit narrow and wide screens', async (t) => {
  for await (const { page, colorScheme } of screens(t)) {
    const recipient = await register(page);
    await page.evaluate(() => document.querySelector('#step-up').showModal());
    await assertFits(page, 'the step-up dialog');
    for (const path of ['reset-password', 'verify-email']) {
      await page.goto(`${PAGE}/${path}#token=something`);
      await page.waitForSelector('form:not([hidden]) .primary');
      await assertFits(page, path);
    }

    const tab = await openEmail(page, recipient, 'Confirm your email address');
    await emailLink(tab).waitFor();
    await tab.click('#email summary');
    await assertFits(tab, 'the outbox');

    const [email] = tab.frames().filter((frame) => frame !== tab.mainFrame());
    const { fits, isDark, background, color } = await email.evaluate(() => ({
      fits: document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight,
      isDark: matchMedia('(prefers-color-scheme: dark)').matches,
      background: getComputedStyle(document.querySelector('.card')).backgroundColor,
      color: getComputedStyle(document.querySelector('h1')).color,
    }));
    assert.deepEqual([fits, isDark], [true, colorScheme === 'dark'], `the email in ${colorScheme} colors`);
    const isLight = (rgb) => rgb.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) > 382;
    assert.deepEqual([isLight(background), isLight(color)], [colorScheme === 'light', colorScheme === 'dark'], `${color} on ${background}`);
  }
});
