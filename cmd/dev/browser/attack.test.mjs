// Attacks by pages on other origins.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, open, password, startAttacker } from './page.mjs';

// attacks returns scripts that attack an API.
const attacks = (api) => ({
  'a text/plain form': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${api}/auth/logout"></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'a form without fields': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post target=sink action="${api}/auth/rotate-session"></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'a form that logs in as someone else': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${api}/auth/login"><input name=\\'{"email":"EVE","password":"${password}","x":"\\' value=\\'"}\\'></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'fetch without CORS': `
    Promise.allSettled(['/auth/logout', '/auth/rotate-session'].map((p) => fetch('${api}' + p, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' })))
      .then(() => { document.title = 'done'; });`,
  'fetch with JSON': `
    Promise.allSettled([
      fetch('${api}/auth/logout', { method: 'POST', credentials: 'include' }),
      fetch('${api}/auth/sessions?scope=all', { method: 'DELETE', credentials: 'include' }),
      fetch('${api}/profile', { method: 'PUT', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{"name":"Eve"}' }),
      fetch('${api}/auth/me', { credentials: 'include' }).then((r) => r.text()).then((t) => { window.stolen = t; }),
    ]).then(() => { document.title = 'done'; });`,
  'beacons': `
    navigator.sendBeacon('${api}/auth/logout', new Blob(['{}'], { type: 'text/plain' }));
    setTimeout(() => { document.title = 'done'; }, 300);`,
  'the API in a frame and as a script': `
    const s = document.createElement('script'); s.src = '${api}/auth/me'; s.onerror = s.onload = () => {
      const i = document.querySelector('iframe'); i.onload = () => { try { window.stolen = i.contentDocument?.body?.textContent; } catch {} document.title = 'done'; }; i.src = '${api}/auth/me';
    }; document.body.append(s);`,
});

// call sends a request from a page of the API itself.
const call = (page, method, path, body) => page.evaluate(async (given) => {
  const response = await fetch(given.path, {
    method: given.method,
    headers: given.body ? { 'Content-Type': 'application/json' } : {},
    body: given.body && JSON.stringify(given.body),
  });
  return { status: response.status, ...await response.json() };
}, { method, path, body });

let users = 0;

// signUp opens a page of the API and registers a user.
async function signUp(t, api) {
  const page = await open(t, `${api}/docs`);
  const email = `victim${process.pid}.${++users}@example.com`;
  const { status } = await call(page, 'POST', '/auth/register', { name: 'Ann', email, password });
  assert.equal(status, 201);
  return { page, email };
}

// Requests of pages on the same site carry the cookie. Every page on localhost may call the development
// server, so the attacker on the same site needs another domain.
const sameSite = API.replace('localhost', 'api.latchkey.test');
for (const [api, host] of [[sameSite, 'evil.latchkey.test'], [API, 'evil.latchkey.test'], [API, 'evil.localhost']]) {
  test(`attacks from ${host} on ${api}`, async (t) => {
    const eve = await signUp(t, api);
    const { page, email } = await signUp(t, api);
    const state = async () => ({
      id: (await call(page, 'GET', '/auth/session')).sessionId,
      user: (await call(page, 'GET', '/auth/me')).user,
      cookies: await page.context().cookies(api),
    });
    const before = await state();
    assert.deepEqual([before.user.name, before.user.email], ['Ann', email]);

    for (const [name, script] of Object.entries(attacks(api))) {
      const attack = await page.context().newPage();
      await attack.goto(await startAttacker(t, host, script
        .replaceAll('document.body', '(document.body ?? document.documentElement)')
        .replaceAll('EVE', eve.email)));
      await attack.waitForFunction(() => document.title === 'done');
      assert.ok(!(await attack.evaluate(() => window.stolen)), `${name}: the attacker read a response`);
      await attack.close();

      assert.deepEqual(await state(), before, name);
    }
  });
}

test('a page on any port of localhost may call the development server', async (t) => {
  const page = await open(t, await startAttacker(t, 'localhost', ''));
  const result = await page.evaluate(async ([api, account]) => {
    const send = async (method, path, body) => {
      const response = await fetch(api + path, {
        method,
        credentials: 'include',
        headers: body ? { 'Content-Type': 'application/json' } : {},
        body: body && JSON.stringify(body),
      });
      return response.status;
    };
    return [await send('POST', '/auth/register', account), await send('GET', '/auth/me'), await send('POST', '/auth/logout'), await send('GET', '/auth/me')];
  }, [API, { name: 'Ann', email: `local${process.pid}@example.com`, password }]);

  assert.deepEqual(result, [201, 200, 200, 401]);
});
