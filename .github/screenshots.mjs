// Takes the screenshots of the README from the running product:
//
//   make screenshots
//
// It builds the dev server, uses the built-in pages in Chromium, and renders the output of the doctor
// as a terminal. CHROMIUM is the path of the browser.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { chromium } = createRequire(join(root, 'cmd/dev/browser/package.json'))('playwright-core');
const { CHROMIUM = '/usr/bin/chromium' } = process.env;
const password = 'correct horse battery';
const devices = {
  mac: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  phone: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
  windows: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0',
};

const dir = mkdtempSync(join(tmpdir(), 'latchkey-screenshots-'));
const program = join(dir, 'dev');
execFileSync('go', ['build', '-o', program, './cmd/dev'], { cwd: root, stdio: 'inherit' });

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
});
const server = spawn(program, {
  cwd: dir,
  env: { ...process.env, PORT: await freePort(), PAGES: 'on', APP_NAME: 'Acme', APP_COLOR: '#0b6e5f' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  await takePages(await origins());
  await takeDoctor(['doctor', '--spa', 'https://app.example.com', '--api', 'https://api.example.net']);
} finally {
  server.kill();
  await browser.close();
  rmSync(dir, { recursive: true });
}

// freePort returns a free port that is followed by another one, for the outbox. The built-in pages have
// to know their port.
async function freePort() {
  for (;;) {
    const probe = createServer().listen(0, 'localhost');
    await once(probe, 'listening');
    const { port } = probe.address();
    const next = createServer().listen(port + 1, 'localhost');
    const isFree = await once(next, 'listening').then(() => true, () => false);
    probe.close();
    next.close();
    if (isFree) return String(port);
  }
}

// origins waits until the server has started, and returns the origins of its pages and its outbox.
function origins() {
  return new Promise((resolve, reject) => {
    let output = '';
    server.stdout.on('data', (chunk) => {
      output += chunk;
      const match = output.match(/Demo +(\S+)[^]*API +(\S+)[^]*Ctrl\+C/);
      if (match) resolve({ outbox: match[1], pages: match[2] });
    });
    server.on('exit', () => reject(new Error(`the server did not start:\n${output}`)));
  });
}

// takePages registers a user who is signed in on three devices, and takes the sign-in page beside the
// account page, in both color schemes.
async function takePages({ pages, outbox }) {
  const email = 'ann@example.com';
  const open = async (device, path, options = {}) => {
    const context = await browser.newContext({ userAgent: devices[device], ...options });
    const page = await context.newPage();
    await page.goto(`${pages}/${path}`);
    await page.waitForSelector('form[data-ready]');
    return page;
  };
  const logIn = async (page) => {
    await page.fill('#signin-email', email);
    await page.fill('#signin-password', password);
    await page.click('#signin .primary');
    await page.waitForSelector('#account:not([hidden])');
  };

  const phone = await open('phone', 'register');
  await phone.fill('#register-name', 'Ann Example');
  await phone.fill('#register-email', email);
  await phone.fill('#register-password', password);
  await phone.click('#register .primary');
  await phone.waitForSelector('#account:not([hidden])');
  await phone.goto(await verificationLink(outbox, email));
  await phone.click('#verify .primary');
  await phone.waitForSelector('#done:not([hidden])');

  await logIn(await open('windows', 'signin'));
  const height = 760;
  const signIn = await open('mac', 'signin', { deviceScaleFactor: 1.5, viewport: { width: 420, height } });
  const account = await open('mac', 'signin', { deviceScaleFactor: 1.5, viewport: { width: 760, height } });
  await logIn(account);

  for (const colorScheme of ['light', 'dark']) {
    const shots = [];
    for (const page of [signIn, account]) {
      await page.emulateMedia({ colorScheme });
      if (page === account) await page.evaluate(() => document.querySelector('#sessions').closest('section').scrollIntoView());
      shots.push(`data:image/png;base64,${(await page.screenshot()).toString('base64')}`);
    }

    const sheet = await browser.newPage({ deviceScaleFactor: 1.5, viewport: { width: 1212, height: height + 2 } });
    await sheet.setContent(`<!doctype html>
      <style>
        body { margin: 0; display: flex; justify-content: space-between; background: transparent; }
        img { height: ${height}px; border-radius: 12px; border: 1px solid ${colorScheme === 'light' ? '#d5dae2' : '#31363f'}; }
      </style>
      ${shots.map((src) => `<img src="${src}">`).join('')}`);
    await sheet.screenshot({ path: join(root, `.github/pages-${colorScheme}.png`), omitBackground: true });
  }
}

// verificationLink waits for the email to a new user and returns its link.
async function verificationLink(demo, to) {
  for (;;) {
    const emails = await (await fetch(`${demo}/mail.json`)).json();
    const link = emails.find((email) => email.to === to)?.text.match(/https?:\S+#token=\S+/);
    if (link) return link[0];
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

// takeDoctor runs the doctor and renders its output.
async function takeDoctor(args) {
  const { stdout, stderr } = spawnSync(program, args, { cwd: dir, encoding: 'utf8' });
  const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const output = escape(stdout + stderr)
    .replaceAll(/^(ok|warning|problem)(?= )/gm, '<b class="$1">$1</b>')
    .replaceAll(/^( +)(fix:)/gm, '$1<b class="fix">$2</b>');

  const page = await browser.newPage({ deviceScaleFactor: 1.5, viewport: { width: 960, height: 100 } });
  await page.setContent(`<!doctype html>
    <style>
      body { margin: 0; }
      pre { margin: 0; padding: 0 24px 20px; background: #14191a; color: #d6dedb; font: 14px/1.5 "DejaVu Sans Mono", Menlo, Consolas, monospace; }
      .bar { background: #14191a; padding: 16px 24px; display: flex; gap: 8px; }
      .bar i { width: 12px; height: 12px; border-radius: 50%; background: #3a4442; }
      .prompt { color: #4cc3ab; } .ok { color: #4cc3ab; } .warning { color: #e8c268; } .problem { color: #ff8a80; } .fix { color: #8ab4f8; }
    </style>
    <div id="terminal"><div class="bar"><i></i><i></i><i></i></div><pre><span class="prompt">$</span> go run ./cmd/dev ${escape(args.join(' '))}\n${output}</pre></div>`);
  await page.locator('#terminal').screenshot({ path: join(root, '.github/doctor.png') });
}
