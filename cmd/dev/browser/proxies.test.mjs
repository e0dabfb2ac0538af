// The API behind the proxies of Vite and Next.js, configured as in the README. The page and the API have
// the same origin, but the API sees another Host if the proxy changes it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer as listen } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';
import { API, open, password } from './page.mjs';

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');

let users = 0;

// session signs up, out and in again from a page, and returns the statuses.
async function session(t, url) {
  const page = await open(t, url);
  return page.evaluate(async ({ name, email, password }) => {
    const send = async (method, path, body) => {
      const response = await fetch(path, {
        method,
        headers: body ? { 'Content-Type': 'application/json' } : {},
        body: body && JSON.stringify(body),
      });
      return response.status;
    };
    return [
      await send('POST', '/auth/register', { name, email, password }),
      await send('PUT', '/profile', { name: 'Ann Smith' }),
      await send('POST', '/auth/logout'),
      await send('GET', '/auth/session'),
      await send('POST', '/auth/login', { email, password }),
      await send('GET', '/auth/session'),
    ];
  }, { name: 'Ann', email: `proxy${process.pid}.${++users}@example.com`, password });
}

const works = [201, 200, 200, 401, 200, 200];

// project creates the files of a project, and removes them when the test ends.
async function project(t, files) {
  const dir = await mkdtemp(join(tmpdir(), 'latchkey-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await symlink(modules, join(dir, 'node_modules'));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), content);
  }
  return dir;
}

// The forms in which Vite's configuration names a target.
const viteTargets = {
  'a URL, as in the README': API,
  'changeOrigin: true': { target: API, changeOrigin: true },
  'changeOrigin: false': { target: API, changeOrigin: false },
};

for (const [name, target] of Object.entries(viteTargets)) {
  test(`Vite, ${name}`, async (t) => {
    const root = await project(t, { 'index.html': '<!doctype html><title>Vite</title>' });
    const server = await createServer({
      root,
      configFile: false,
      logLevel: 'error',
      server: { port: 0, host: 'localhost', hmr: false, proxy: { '/auth': target, '/profile': target } },
    });
    t.after(() => server.close());
    await server.listen();

    assert.deepEqual(await session(t, server.resolvedUrls.local[0]), works);
  });
}

test('Next.js rewrites', async (t) => {
  const dir = await project(t, {
    'app/layout.js': 'export default ({ children }) => <html lang="en"><body>{children}</body></html>;',
    'app/page.js': 'export default () => <h1>Next</h1>;',
    'next.config.mjs': `export default {
      turbopack: { root: '/' }, // of the link to node_modules
      rewrites: async () => ['/auth/:path*', '/profile'].map((source) => ({ source, destination: '${API}' + source })),
    };`,
  });
  const port = await freePort();
  const next = spawn(process.execPath, [join(modules, 'next/dist/bin/next'), 'dev', '--port', port, '--hostname', 'localhost'], {
    cwd: dir,
    env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(async () => {
    const exited = once(next, 'exit');
    next.kill('SIGTERM');
    await exited;
  });

  let output = '';
  await new Promise((resolve, reject) => {
    const read = (text) => {
      output += text;
      if (/Ready in/.test(output)) resolve();
    };
    next.stdout.on('data', read);
    next.stderr.on('data', read);
    next.on('exit', () => reject(new Error(`next dev: ${output}`)));
  });

  assert.deepEqual(await session(t, `http://localhost:${port}/`), works);
});

// freePort returns a port that is not in use.
async function freePort() {
  const server = listen();
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return String(port);
}
