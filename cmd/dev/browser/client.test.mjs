// The client for pages, imported by pages of other origins.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, PAGE, open, password, startAttacker, startProxy } from './page.mjs';

// importClient imports the client into a page, and returns the result of a function that gets
// the module. A page with a strict CSP needs bypassCSP.
const importClient = (page, origin, use, argument) => page.evaluate(async ([url, body, given]) => {
  const module = await import(url);
  return (0, eval)(`(${body})`)(module, given);
}, [`${origin}/client.js`, use.toString(), argument]);

test('a page of FRONTEND_URL imports the client and logs in', async (t) => {
  const page = await open(t, PAGE, { bypassCSP: true });
  const result = await importClient(page, API, async ({ createClient, LatchkeyError }, account) => {
    const observed = [];
    const latchkey = createClient({ onResponse: ({ operation, status }) => observed.push(`${operation} ${status}`) });

    await latchkey.register({ name: 'Ann', ...account });
    await latchkey.logout();
    const failed = await latchkey.login({ ...account, password: 'wrong' }).catch((error) => error);
    const { user } = await latchkey.login(account);
    const { userId } = await latchkey.session({ background: true });

    return { observed, code: LatchkeyError.is(failed, 'login') && failed.code, same: user.id === userId };
  }, { email: `client${process.pid}@example.com`, password });

  assert.deepEqual(result, {
    observed: ['register 201', 'logout 200', 'login 401', 'login 200', 'session 200'],
    code: 'invalid_credentials',
    same: true,
  });
});

test('a page of any origin can import the client', async (t) => {
  for (const host of ['evil.localhost', 'evil.latchkey.test']) {
    const page = await open(t, await startAttacker(t, host, ''));
    assert.deepEqual(await importClient(page, API, (module) => Object.keys(module).sort()), ['LatchkeyError', 'createClient']);
  }
});

test('the client finds the API behind a path prefix', async (t) => {
  const proxy = await startProxy(t);
  const page = await open(t, `${proxy}/api/docs`, { bypassCSP: true });
  const status = await importClient(page, `${proxy}/api`, async ({ createClient }) => (await createClient().healthz()).status);
  assert.equal(status, 'ok');
});
