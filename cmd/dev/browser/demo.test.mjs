// The demo page in a real browser, from another origin than the API, and pages that mean
// harm from other origins still. The program under test is started by TestBrowser, which
// says where it is: PAGE and API, and SHORT_PAGE, where sessions are short.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const { PAGE, API, SHORT_PAGE, CHROMIUM, SCREENSHOTS } = process.env;
const password = 'a long password';
let browser;
let people = 0;

before(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
});
after(() => browser.close());

// open opens the page in a browser profile of its own. Whatever goes wrong in its
// scripts fails the test.
async function open(t, url = PAGE, options = {}) {
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

const signedIn = (page) => page.waitForSelector('#signed-in:not([hidden])');
const signedOut = (page) => page.waitForSelector('#signed-out:not([hidden])');
const says = (page, text) => page.waitForFunction((wanted) => document.querySelector('#notice').textContent.includes(wanted), text);
const sessionId = (page) => page.textContent('#session dd .mono');

async function register(page) {
  const email = `ann${++people}@example.com`;
  await signedOut(page);
  await page.fill('#register [name=name]', 'Ann');
  await page.fill('#register [name=email]', email);
  await page.fill('#register [name=password]', password);
  await page.click('#register button');
  await signedIn(page);
  return email;
}

async function logIn(page, email, remember = true) {
  await signedOut(page);
  await page.fill('#login [name=email]', email);
  await page.fill('#login [name=password]', password);
  await page.setChecked('#login [name=rememberMe]', remember);
  await page.click('#login button');
  await signedIn(page);
}

test('the whole way: register, reload, rename, rotate, log out, log in', async (t) => {
  const page = await open(t);
  const email = await register(page);
  assert.equal(await page.textContent('#account-email'), email);
  assert.equal(await page.evaluate(() => document.cookie), '', 'a script can read the cookie');
  const [cookie] = await page.context().cookies(API);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, cookie.domain], [true, 'Lax', '/', 'localhost']);
  assert.ok(cookie.expires > Date.now() / 1000 + 86400, 'the cookie does not last');

  await page.reload();
  await signedIn(page);

  await page.fill('#profile [name=name]', 'Ann B.');
  await page.click('#profile button');
  await says(page, 'Profile updated');
  await page.waitForFunction(() => document.querySelector('#account-name').textContent === 'Ann B.');

  const before = await sessionId(page);
  await page.click('#rotate');
  await says(page, 'Session rotated');
  await page.waitForFunction((id) => document.querySelector('#session dd .mono').textContent !== id, before);
  await page.context().addCookies([{ ...cookie }]); // the token of before
  await page.reload();
  await signedOut(page);

  await logIn(page, email, false);
  const [short] = await page.context().cookies(API);
  assert.equal(short.expires, -1, 'the cookie outlives the browser');
  await page.click('#logout');
  await signedOut(page);
  await says(page, 'Logout successful');
  assert.deepEqual(await page.context().cookies(API), []);
  await page.context().addCookies([short]);
  await page.reload();
  await signedOut(page);
  await says(page, 'You logged out.');
});

test('what the API refuses is shown as it says it', async (t) => {
  const page = await open(t);
  const email = await register(page);
  await page.click('#logout');
  await signedOut(page);
  await page.fill('#login [name=email]', email);
  await page.fill('#login [name=password]', 'another password');
  await page.click('#login button');
  await says(page, 'Invalid credentials');
  await page.fill('#register [name=name]', 'Ann');
  await page.fill('#register [name=email]', email);
  await page.fill('#register [name=password]', password);
  await page.click('#register button');
  await says(page, 'Email already registered');
});

test('one browser ends the session of another', async (t) => {
  const [here, there] = [await open(t), await open(t, PAGE, {
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1',
  })];
  const email = await register(here);
  await logIn(there, email);
  await here.click('#refresh');
  await here.waitForFunction(() => document.querySelectorAll('#sessions li').length === 2);
  assert.match(await here.textContent('#sessions'), /Safari on iOS/);
  await here.click('#sessions button');
  await here.waitForFunction(() => document.querySelectorAll('#sessions li').length === 1);
  await there.click('#refresh');
  await signedOut(there);
  await says(there, 'ended from another place');
  await logIn(there, email);
  await there.click('#end-all');
  await signedOut(there);
  await here.click('#rotate');
  await signedOut(here);
  await says(here, 'ended from another place');
});

test('a tab learns that another one has logged out', async (t) => {
  const page = await open(t);
  await register(page);
  const other = await page.context().newPage();
  await other.goto(PAGE);
  await signedIn(other);
  await other.click('#logout');
  await signedOut(other);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await signedOut(page);
});

test('a session that is not used ends, and the page says why', async (t) => {
  const page = await open(t, SHORT_PAGE);
  await register(page);
  await page.waitForTimeout(3500); // any request would be a use: there is nothing else to wait for
  await page.click('#refresh');
  await signedOut(page);
  await says(page, 'away for too long');
});

test('by keyboard alone', async (t) => {
  const page = await open(t);
  await register(page);
  await page.click('#logout');
  await signedOut(page);
  await page.reload();
  await signedOut(page);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('Tab');
  for (const text of [`ann${people}@example.com`, password]) {
    await page.keyboard.type(text);
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await signedIn(page);
});

test('nothing is cut off on a phone', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [320, 1200]) {
      const page = await open(t, PAGE, { colorScheme, viewport: { width, height: 800 } });
      await register(page);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `at ${width} the page scrolls sideways`);
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/demo-${colorScheme}-${width}.png`, fullPage: true });
    }
  }
});

// attacker serves a page that does what it can against the API, from some host.
async function attacker(t, host, script) {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(`<!doctype html><title>attack</title><iframe name="sink"></iframe><script>${script}</script>`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://${host}:${server.address().port}/`;
}

const attacks = {
  'a form of text/plain': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${API}/auth/logout"></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'a form without fields': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post target=sink action="${API}/auth/rotate-session"></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'a form that logs somebody else in': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${API}/auth/login"><input name=\\'{"email":"eve@example.com","password":"${password}","x":"\\' value=\\'"}\\'></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'fetch without CORS': `
    Promise.allSettled(['/auth/logout', '/auth/rotate-session'].map((p) => fetch('${API}' + p, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' })))
      .then(() => { document.title = 'done'; });`,
  'fetch with JSON': `
    Promise.allSettled([
      fetch('${API}/auth/logout', { method: 'POST', credentials: 'include' }),
      fetch('${API}/auth/sessions?scope=all', { method: 'DELETE', credentials: 'include' }),
      fetch('${API}/profile', { method: 'PUT', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{"name":"Eve"}' }),
      fetch('${API}/auth/me', { credentials: 'include' }).then((r) => r.text()).then((t) => { window.stolen = t; }),
    ]).then(() => { document.title = 'done'; });`,
  'beacons': `
    navigator.sendBeacon('${API}/auth/logout', new Blob(['{}'], { type: 'text/plain' }));
    setTimeout(() => { document.title = 'done'; }, 300);`,
  'a frame and a script of the API': `
    const s = document.createElement('script'); s.src = '${API}/auth/me'; s.onerror = s.onload = () => {
      const i = document.querySelector('iframe'); i.onload = () => { try { window.stolen = i.contentDocument?.body?.textContent; } catch {} document.title = 'done'; }; i.src = '${API}/auth/me';
    }; document.body.append(s);`,
};

for (const host of ['localhost', '127.0.0.1']) { // of the same site, which gets the cookie, and of another
  for (const [name, script] of Object.entries(attacks)) {
    test(`an attack from ${host}: ${name}`, async (t) => {
      const page = await open(t);
      const email = await register(page);
      const before = { id: await sessionId(page), cookies: await page.context().cookies(API) };
      const attack = await page.context().newPage();
      await attack.goto(await attacker(t, host, script.replaceAll('document.body', '(document.body ?? document.documentElement)')));
      await attack.waitForFunction(() => document.title === 'done');
      assert.ok(!(await attack.evaluate(() => window.stolen)), 'the page could read');
      await page.reload();
      await signedIn(page);
      assert.deepEqual({ id: await sessionId(page), cookies: await page.context().cookies(API) }, before);
      assert.deepEqual([await page.textContent('#account-name'), await page.textContent('#account-email')], ['Ann', email]);
    });
  }
}
