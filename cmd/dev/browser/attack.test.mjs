// Attacks by pages on other origins.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, open, password, register, sessionId, signedIn, startAttacker } from './page.mjs';

const attacks = {
  'a text/plain form': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post enctype=text/plain target=sink action="${API}/auth/logout"></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'a form without fields': `
    document.body.insertAdjacentHTML('beforeend', '<form id=f method=post target=sink action="${API}/auth/rotate-session"></form>');
    f.submit(); document.querySelector('iframe').onload = () => { document.title = 'done'; };`,
  'a form that logs in as someone else': `
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
  'the API in a frame and as a script': `
    const s = document.createElement('script'); s.src = '${API}/auth/me'; s.onerror = s.onload = () => {
      const i = document.querySelector('iframe'); i.onload = () => { try { window.stolen = i.contentDocument?.body?.textContent; } catch {} document.title = 'done'; }; i.src = '${API}/auth/me';
    }; document.body.append(s);`,
};

// localhost is the same site, so its requests carry the cookie; 127.0.0.1 is another site.
for (const host of ['localhost', '127.0.0.1']) {
  test(`attacks from ${host}`, async (t) => {
    const eve = await register(await open(t));
    const page = await open(t);
    const email = await register(page);
    const before = { id: await sessionId(page), cookies: await page.context().cookies(API) };

    for (const [name, script] of Object.entries(attacks)) {
      const attack = await page.context().newPage();
      await attack.goto(await startAttacker(t, host, script
        .replaceAll('document.body', '(document.body ?? document.documentElement)')
        .replaceAll('eve@example.com', eve)));
      await attack.waitForFunction(() => document.title === 'done');
      assert.ok(!(await attack.evaluate(() => window.stolen)), `${name}: the attacker read a response`);
      await attack.close();

      await page.reload();
      await signedIn(page);
      assert.deepEqual({ id: await sessionId(page), cookies: await page.context().cookies(API) }, before, name);
      assert.deepEqual([await page.textContent('#account-name'), await page.textContent('#account-email')], ['Ann', email], name);
    }
  });
}
