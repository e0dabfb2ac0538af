// What the tests of the pages have in common. The program under test is started by
// TestBrowser, which says where it is: PAGE and API, SHORT_PAGE, where sessions are short
// and links are few, and STRICT_PAGE, where a login is soon too old and common passwords
// are refused.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

export const { PAGE, API, SHORT_PAGE, STRICT_PAGE, CHROMIUM, SCREENSHOTS } = process.env;
export const password = 'a long password';
let browser;
let people = 0;

before(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
});
after(() => browser.close());

// open opens the page in a browser profile of its own. Whatever goes wrong in its
// scripts fails the test.
export async function open(t, url = PAGE, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error.message));
  page.on('console', (message) => { if (/Content Security Policy|CORS/.test(message.text())) page.errors.push(message.text()); });
  t.after(() => assert.deepEqual(page.errors, []));
  await page.goto(url);
  return page;
}

// orTell waits, and where that is in vain says what the page did instead.
async function orTell(page, waiting) {
  try {
    await waiting;
  } catch (error) {
    const shown = await page.evaluate(() => ['#notice', '#log'].map((part) => document.querySelector(part).innerText)).catch(() => []);
    throw new Error([error.message, ...shown].join('\n'), { cause: error });
  }
}

export const signedIn = (page) => orTell(page, page.waitForSelector('#signed-in:not([hidden])'));
export const signedOut = (page) => orTell(page, page.waitForSelector('#signed-out:not([hidden])'));
export const says = (page, text) => orTell(page, page.waitForFunction((wanted) => document.querySelector('#notice').textContent.includes(wanted), text));
export const sessionId = (page) => page.textContent('#session dd .mono');
export const focusOn = (page, text) => page.waitForFunction((wanted) => document.activeElement.textContent === wanted, text);

// sessionCookies returns those of a session: the one of the device stays.
export const sessionCookies = async (page) => (await page.context().cookies(API)).filter((cookie) => cookie.name === 'sid');

export async function register(page) {
  const email = `ann${process.pid}.${++people}@example.com`;
  await signedOut(page);
  await page.fill('#register [name=name]', 'Ann');
  await page.fill('#register [name=email]', email);
  await page.fill('#register [name=password]', password);
  await page.click('#register button');
  await signedIn(page);
  return email;
}

export async function logIn(page, email, remember = true, secret = password) {
  await signedOut(page);
  await page.fill('#login [name=email]', email);
  await page.fill('#login [name=password]', secret);
  await page.setChecked('#login [name=rememberMe]', remember);
  await page.click('#login button');
  await signedIn(page);
}

// openMail opens a mail in a tab of its own, as soon as it is there: the newest of those
// to an address, which are so many.
export async function openMail(page, to, subject, many = 1) {
  const tab = await page.context().newPage();
  await tab.goto(`${new URL(page.url()).origin}/mail`);
  const listed = tab.locator('#mails a', { hasText: to }).filter({ hasText: subject });
  await listed.nth(many - 1).waitFor();
  await listed.first().click();
  await tab.locator('#mails a[aria-current]', { hasText: to }).filter({ hasText: subject }).waitFor();
  return tab;
}

// told waits for a mail to exactly this address.
export const told = (tab, to, subject) => tab.waitForFunction(([address, about]) => [...document.querySelectorAll('#mails a')].some((mail) =>
  mail.querySelector('span').textContent === address && mail.querySelector('strong').textContent === about), [to, subject]);

export const link = (tab) => tab.frameLocator('iframe').getByRole('link').first();

// passed waits until so many seconds have passed since a time that the page shows.
export const passed = (page, selector, seconds) => page.waitForFunction(([of, wanted]) =>
  Date.now() - new Date(document.querySelector(of)?.dateTime) > wanted * 1000, [selector, seconds]);

export const at = (page, path) => page.waitForFunction((wanted) => location.pathname + location.hash === wanted, path);

// watch notes everything that leaves a browser, and returns what asserts that a secret
// was not in an address, nor is where a script of another page could find it.
export function watch(page) {
  const seen = [];
  page.context().on('request', async (request) => {
    seen.push(request.url().split('#')[0], (await request.allHeaders().catch(() => ({}))).referer ?? '');
  });
  return async (secret, tab) => {
    assert.ok(secret.length > 20 && seen.length > 0);
    assert.deepEqual(seen.filter((address) => address.includes(secret)), []);
    assert.ok(!tab.url().includes(secret), 'the token is in the address bar');
    assert.ok(!(await tab.evaluate(() => JSON.stringify([history.state, { ...localStorage }, { ...sessionStorage }, document.cookie]))).includes(secret));
    assert.ok(!(await tab.content()).includes(secret), 'the token is in the page');
  };
}

// attacker serves a page that does what it can against the API, from some host.
export async function attacker(t, host, script) {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(`<!doctype html><title>attack</title><iframe name="sink"></iframe><script>${script}</script>`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://${host}:${server.address().port}/`;
}
