// The documentation page, behind a proxy that adds a path prefix.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, assertFits, open, screens, startProxy } from './page.mjs';

test('the documentation works behind a path prefix', async (t) => {
  const proxy = await startProxy(t);
  const page = await open(t, `${proxy}/api/`);
  assert.equal(page.url(), `${proxy}/api/docs`);
  await page.waitForSelector('.opblock');
  assert.ok(await page.locator('.opblock').count() > 30, 'operations are missing');

  await page.click('.opblock-summary-path[data-path="/auth/providers"]');
  await page.click('.opblock.is-open .execute');
  await page.waitForSelector('.live-responses-table .response-col_status:has-text("200")');
  assert.match(await page.textContent('.request-url'), new RegExp(`${proxy}/api/auth/providers`));
});

test('the demo links to the documentation', async (t) => {
  const page = await open(t, PAGE);
  await page.click('#docs-link');
  await page.waitForSelector('.opblock');
  assert.equal(page.url(), `${API}/docs`);
});

test('the documentation fits narrow and wide screens in both color schemes', async (t) => {
  for await (const { page, colorScheme } of screens(t, `${API}/docs`)) {
    await page.waitForSelector('.opblock');
    await page.click('.opblock-summary-path[data-path="/auth/login"]');
    await page.waitForSelector('.opblock.is-open .responses-table');
    await assertFits(page, 'the documentation');

    const highest = await page.evaluate(() => Math.max(...[...document.querySelectorAll('.opblock-tag')].map((tag) => tag.offsetHeight)));
    assert.ok(highest < 160, `a group heading is ${highest} px high`);

    const [background, filter] = await page.evaluate(() => [
      getComputedStyle(document.documentElement).backgroundColor,
      getComputedStyle(document.querySelector('.swagger-ui')).filter,
    ]);
    const isDark = background.match(/\d+/g).every((part) => Number(part) < 64);
    assert.deepEqual([isDark, filter !== 'none'], Array(2).fill(colorScheme === 'dark'), `${background}, ${filter}`);
  }
});
