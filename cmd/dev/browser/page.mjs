// Helpers for the tests of the pages. TestBrowser starts the servers: PAGE is a demo and API its
// server, so these pages are on another origin than the API. BUILT_IN is a server with built-in pages
// on its own origin. The server of SHORT_PAGE has short sessions and allows one use of a link per
// minute; the server of STRICT_PAGE soon requires a step-up and rejects common passwords. INVITED and
// UNVERIFIED have built-in pages, too: one requires an invitation, such as the link INVITATION, and the
// other a verified email and soon a step-up. REQUIRED has built-in pages and requires two-step verification.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

export const {
  PAGE, API, BUILT_IN, OUTBOX, INVITED, INVITED_OUTBOX, INVITATION, UNVERIFIED, UNVERIFIED_OUTBOX, REQUIRED, REQUIRED_PAGE, SHORT_PAGE, STRICT_PAGE, CHROMIUM,
} = process.env;
export const password = 'a long password';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser;
let users = 0;

before(async () => {
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-background-networking',
      '--host-resolver-rules=MAP *.latchkey.test 127.0.0.1', // pages that are not local
    ],
  });
});
after(() => browser.close());

// open opens a page in a new browser profile. The test fails if the page has script errors.
export async function open(t, url = PAGE, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());

  await context.addInitScript(() => document.addEventListener('securitypolicyviolation',
    ({ effectiveDirective, blockedURI }) => console.error(`Content Security Policy: ${effectiveDirective} blocked ${blockedURI}`)));
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => { if (/Content Security Policy|CORS/.test(message.text())) errors.push(message.text()); });
  t.after(() => assert.deepEqual(errors, []));

  await page.goto(url);
  return page;
}

// describeFailure adds what the page shows to the error of a wait.
export async function describeFailure(page, wait) {
  try {
    await wait;
  } catch (error) {
    const shown = await page.evaluate(() => [location.href, document.body.innerText]).catch(() => []);
    throw new Error([error.message, ...shown].join('\n'), { cause: error });
  }
}

// signedIn waits for the account page, and signedOut for the sign-in page.
export const signedIn = (page) => describeFailure(page, page.waitForSelector('#account:not([hidden])'));
export const signedOut = (page) => describeFailure(page, page.waitForSelector('#signin[data-ready]'));

// shows waits until the notice contains a text.
export const shows = (page, text) => describeFailure(page, page.waitForFunction((wanted) => document.querySelector('#notice').textContent.includes(wanted), text));

// rejected waits for a text about a failure with a code, at the top or beside a field.
export const rejected = (page, code) => describeFailure(page,
  page.waitForSelector(`#notice.bad[data-code="${code}"]:not(:empty), .error[data-code="${code}"]:not(:empty)`));

// session returns the session of a browser at the API.
export async function session(page) {
  const api = await page.evaluate(() => document.documentElement.dataset.api || location.origin);
  return (await page.request.get(`${api}/auth/session`)).json();
}

export const sessionId = async (page) => (await session(page)).sessionId;
export const focusOn = (page, text) => page.waitForFunction((wanted) => document.activeElement.textContent === wanted, text);

// sessionCookies returns the session cookies, without the device cookie.
export const sessionCookies = async (page) => (await page.context().cookies(API)).filter((cookie) => cookie.name === 'sid');

// submit fills in a form and submits it.
export async function submit(page, form, fields) {
  await page.waitForSelector(`${form}[data-ready]`);
  for (const [name, value] of Object.entries(fields)) await page.fill(`${form} [name=${name}]`, value);
  await page.click(`${form} button:not([type=button])`);
}

// textsOf returns the texts of a language.
export async function textsOf(lang) {
  const script = await (await fetch(`${BUILT_IN}/pages/any/texts.${lang}.js`)).text();
  return JSON.parse(script.slice('export default '.length, -2));
}

// tabTo presses Tab until an element has the focus.
export async function tabTo(page, selector) {
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press('Tab');
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  assert.fail(`${selector} cannot be reached with the keyboard at ${page.url()}`);
}

// type enters a text in a field, and pressEnter activates an element.
export async function type(page, selector, text) {
  await tabTo(page, selector);
  await page.keyboard.type(text);
}

export async function pressEnter(page, selector) {
  await tabTo(page, selector);
  await page.keyboard.press('Enter');
}

// goTo opens another page of the same origin.
export const goTo = (page, path) => page.goto(new URL(path, page.url()).href);

export async function logOut(page) {
  await page.click('#signout');
  await signedOut(page);
}

export async function register(page) {
  const email = `ann${process.pid}.${++users}@example.com`;
  await goTo(page, '/register');
  await submit(page, '#register', { name: 'Ann', email, password });
  await signedIn(page);
  return email;
}

export async function logIn(page, email, { rememberMe = true, withPassword = password } = {}) {
  await signedOut(page);
  await page.setChecked('#signin [name=rememberMe]', rememberMe);
  await submit(page, '#signin', { email, password: withPassword });
  await signedIn(page);
}

// outboxes are the origins of outboxes by those of pages, if they differ.
const outboxes = { [BUILT_IN]: OUTBOX, [INVITED]: INVITED_OUTBOX, [UNVERIFIED]: UNVERIFIED_OUTBOX };

// openEmail waits until the outbox has count emails to a recipient with a subject, and opens
// the newest in a new tab.
export async function openEmail(page, to, subject, count = 1) {
  const tab = await page.context().newPage();
  await tab.goto(`${outboxes[new URL(page.url()).origin] ?? new URL(page.url()).origin}/mail`);

  const emails = tab.locator('#emails a', { hasText: to }).filter({ hasText: subject });
  await emails.nth(count - 1).waitFor();
  await emails.first().click();
  await tab.locator('#emails a[aria-current]', { hasText: to }).filter({ hasText: subject }).waitFor();
  return tab;
}

// hasEmail waits until the outbox lists an email.
export const hasEmail = (tab, to, subject) => tab.waitForFunction((wanted) => [...document.querySelectorAll('#emails a')].some((email) =>
  email.querySelector('span').textContent === wanted.to && email.querySelector('strong').textContent === wanted.subject), { to, subject });

export const emailLink = (tab) => tab.frameLocator('iframe').getByRole('link').first();

// hasPassed waits until a number of seconds have passed since a time that the page shows.
export const hasPassed = (page, selector, seconds) => page.waitForFunction(([time, minSeconds]) =>
  Date.now() - new Date(document.querySelector(time)?.dateTime) > minSeconds * 1000, [selector, seconds]);

// isOld waits until a number of seconds have passed since the user has authenticated, with every factor.
export async function isOld(page, seconds) {
  const { methods } = await session(page);
  const last = Math.max(...methods.map(({ at }) => new Date(at)));
  await page.waitForFunction(([at, min]) => Date.now() - at > min * 1000, [last, seconds]);
}

// stepUpExpires waits until a STRICT_PAGE needs a step-up again: TestBrowser sets
// STEP_UP_MAX_AGE to 5 seconds.
export const stepUpExpires = (page) => isOld(page, 5.1);

export const isAt = (page, path) => page.waitForFunction((wanted) => location.pathname + location.hash === wanted, path);

// screens opens a page on narrow and wide screens in both color schemes.
export async function* screens(t, url = PAGE) {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [320, 1200]) {
      yield { colorScheme, width, page: await open(t, url, { colorScheme, viewport: { width, height: 800 } }) };
    }
  }
}

export async function assertFits(page, name) {
  const [needed, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needed <= width, `${name} needs ${needed} px, but the screen has ${width}`);
}

// assertAccessible runs axe-core.
export async function assertAccessible(page, name) {
  await page.evaluate(`{ const module = undefined; ${axe} }`);
  const violations = await page.evaluate(async () => (await axe.run()).violations
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join('; ')}`));
  assert.deepEqual(violations, [], name);
}

// watchForLeaks records all requests of a browser. It returns a function that asserts that
// a secret was in no URL or Referer header, and that no script could find it on the page.
export function watchForLeaks(page) {
  const seen = [];
  page.context().on('request', async (request) => {
    seen.push(request.url().split('#')[0], (await request.allHeaders().catch(() => ({}))).referer ?? '');
  });

  return async (secret, tab) => {
    assert.ok(secret.length > 20 && seen.length > 0);
    assert.deepEqual(seen.filter((url) => url.includes(secret)), []);
    assert.ok(!tab.url().includes(secret), 'the token is in the URL');

    const stored = await tab.evaluate(() => JSON.stringify([history.state, { ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.ok(!stored.includes(secret), 'the browser stores the token');
    assert.ok(!(await tab.content()).includes(secret), 'the token is in the page');
  };
}

// startAttacker serves a page with a script that attacks the API, and returns its URL. The host is
// one below localhost or latchkey.test, because pages on localhost itself may call the API.
export async function startAttacker(t, host, script) {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(`<!doctype html><title>attack</title><iframe name="sink"></iframe><script>${script}</script>`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://${host}:${server.address().port}/`;
}

// startProxy serves the API under /api/, like nginx with "location /api/ { proxy_pass API/; }",
// and returns its origin.
export async function startProxy(t) {
  const server = createServer((incoming, outgoing) => {
    if (!incoming.url.startsWith('/api/')) return outgoing.writeHead(404).end();

    const { method, headers } = incoming;
    const forwarded = request(new URL(incoming.url.slice('/api'.length), API), { method, headers }, (response) => {
      outgoing.writeHead(response.statusCode, response.headers);
      response.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://localhost:${server.address().port}`;
}
