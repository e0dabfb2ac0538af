// The page of the mails, and how the pages that they lead to look.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE, SCREENSHOTS, attacker, link, open, openMail, register, says, signedOut } from './page.mjs';

test('the mails: a list that grows by itself, and nothing in them runs', async (t) => {
  const page = await open(t);
  const email = await register(page);
  const tab = await openMail(page, email, 'Confirm your email address');
  assert.equal(await tab.getAttribute('iframe', 'sandbox'), 'allow-top-navigation-by-user-activation');
  const href = await link(tab).getAttribute('href');
  await tab.click('#mail summary');
  assert.ok((await tab.textContent('#text')).includes(href), 'the text has another link');
  const letter = await tab.context().newPage();
  const answer = await letter.goto(`${PAGE}${await tab.getAttribute('iframe', 'src')}`);
  assert.match(answer.headers()['content-security-policy'], /^default-src 'none'; style-src 'unsafe-inline';.* sandbox /);
  await letter.close();

  await page.click('#logout');
  await signedOut(page);
  await page.click('#forgotten summary');
  await page.fill('#forgot [name=email]', email);
  await page.click('#forgot button');
  await says(page, 'If there is an account');
  await tab.waitForFunction(() => document.querySelector('#news').textContent === 'New mail: Reset your Latchkey password');
  assert.match(await tab.textContent('#subject'), /Confirm/, 'another mail has opened by itself');
  await tab.focus('#main'); // by keyboard: the newest is the first in the list
  await tab.keyboard.press('Tab');
  await tab.keyboard.press('Enter');
  await tab.waitForFunction(() => document.querySelector('#subject').textContent.startsWith('Reset'));

  const stranger = await page.context().newPage();
  await stranger.goto(await attacker(t, 'localhost', `
    fetch('${PAGE}/mail.json').then((r) => r.text()).then((text) => { window.stolen = text; }).finally(() => { document.title = 'done'; });`));
  await stranger.waitForFunction(() => document.title === 'done');
  assert.ok(!(await stranger.evaluate(() => window.stolen)), 'another page can read the mails');
});

test('nothing of the other pages is cut off on a phone', async (t) => {
  const fits = async (page, width, name) => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.ok(!wide, `at ${width} ${name} scrolls sideways`);
    if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: name.startsWith('mail') });
  };
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [320, 1200]) {
      const page = await open(t, PAGE, { colorScheme, viewport: { width, height: 800 } });
      const email = await register(page);
      await page.evaluate(() => document.querySelector('#step-up').showModal());
      await fits(page, width, `step-up-${colorScheme}-${width}`);
      for (const path of ['reset-password', 'verify-email']) {
        await page.goto(`${PAGE}/${path}#token=something`);
        await page.waitForSelector('form:not([hidden]) .primary');
        await fits(page, width, `${path}-${colorScheme}-${width}`);
      }
      const tab = await openMail(page, email, 'Confirm your email address');
      await link(tab).waitFor();
      await tab.click('#mail summary');
      await fits(tab, width, `mail-${colorScheme}-${width}`);
      const [letter] = tab.frames().filter((frame) => frame !== tab.mainFrame());
      assert.deepEqual(await letter.evaluate(() => [
        document.documentElement.scrollWidth <= innerWidth, matchMedia('(prefers-color-scheme: dark)').matches,
      ]), [true, colorScheme === 'dark'], `the mail at ${width} in ${colorScheme}`);
      const [back, text] = await letter.evaluate(() => ['.card', 'h1'].map((of, i) => getComputedStyle(document.querySelector(of))[['backgroundColor', 'color'][i]]));
      const light = (color) => color.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) > 382;
      assert.deepEqual([light(back), light(text)], [colorScheme === 'light', colorScheme === 'dark'], `${text} on ${back}`);
      await tab.close();
    }
  }
});
