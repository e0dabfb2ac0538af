// Takes the screenshots of the README from the running product:
//
//   make screenshots
//
// It builds the dev server, uses the demo in Chromium, and renders the output of the doctor
// as a terminal. CHROMIUM is the path of the browser.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
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
const server = spawn(program, { cwd: dir, env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
try {
  await takeDemo(await demoOrigin());
  await takeDoctor(['doctor', '--spa', 'https://app.example.com', '--api', 'https://api.example.net']);
} finally {
  server.kill();
  await browser.close();
  rmSync(dir, { recursive: true });
}

// demoOrigin waits until the server has started.
function demoOrigin() {
  return new Promise((resolve, reject) => {
    let output = '';
    server.stdout.on('data', (chunk) => {
      output += chunk;
      const match = output.match(/Demo +(\S+)[^]*Ctrl\+C/);
      if (match) resolve(match[1]);
    });
    server.on('exit', () => reject(new Error(`the server did not start:\n${output}`)));
  });
}

// takeDemo registers a user who is signed in on three devices, and takes the demo in both
// color schemes.
async function takeDemo(demo) {
  const email = 'ann@example.com';
  const open = async (device, options = {}) => {
    const context = await browser.newContext({ userAgent: devices[device], viewport: { width: 1200, height: 860 }, ...options });
    const page = await context.newPage();
    await page.goto(demo);
    return page;
  };
  const logIn = async (page) => {
    await page.waitForSelector('#signed-out:not([hidden])');
    await page.fill('#login [name=email]', email);
    await page.fill('#login [name=password]', password);
    await page.click('#login button');
    await page.waitForSelector('#signed-in:not([hidden])');
  };

  const phone = await open('phone');
  await phone.waitForSelector('#signed-out:not([hidden])');
  await phone.fill('#register [name=name]', 'Ann Example');
  await phone.fill('#register [name=email]', email);
  await phone.fill('#register [name=password]', password);
  await phone.click('#register button');
  await phone.waitForSelector('#signed-in:not([hidden])');
  await phone.goto(await verificationLink(demo, email));
  await phone.click('#verify-form button');
  await phone.waitForSelector('#signed-in:not([hidden])');

  await logIn(await open('windows'));
  const mac = await open('mac', { deviceScaleFactor: 1.5 });
  await logIn(mac);
  for (const colorScheme of ['light', 'dark']) {
    await mac.emulateMedia({ colorScheme });
    await mac.reload();
    await mac.waitForSelector('#signed-in:not([hidden])');
    await mac.screenshot({ path: join(root, `.github/demo-${colorScheme}.png`) });
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
