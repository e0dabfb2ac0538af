// An authenticator app for the tests (RFC 6238), which reads the QR code from the screen.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import jsqr from 'jsqr';
import { PNG } from 'pngjs';

const period = 30_000;
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

// scan returns the text of the QR code on a page.
export async function scan(page) {
  const { data, width, height } = PNG.sync.read(await page.locator('#enrol-qr').screenshot());
  const code = jsqr(new Uint8ClampedArray(data), width, height);
  assert.ok(code, 'the QR code cannot be read');
  return code.data;
}

function decode(secret) {
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}

export class Authenticator {
  #key;

  #last = 0;

  // The URI is the text of the QR code.
  constructor(uri) {
    const { searchParams } = new URL(uri);
    assert.deepEqual(['algorithm', 'digits', 'period'].map((name) => searchParams.get(name)), ['SHA1', '6', '30']);
    this.secret = searchParams.get('secret');
    this.#key = decode(this.secret);
  }

  // codeAt returns the code of a time in milliseconds.
  codeAt(time) {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(Math.floor(time / period)));
    const hash = createHmac('sha1', this.#key).update(counter).digest();
    const number = hash.readUInt32BE(hash.at(-1) & 0xf) & 0x7fffffff;
    return String(number % 1_000_000).padStart(6, '0');
  }

  // next returns a code that was not used yet: that of now, or the one after it, which the server accepts,
  // too. There are no others before the time of the first one is over.
  next() {
    const now = Math.floor(Date.now() / period);
    this.#last = Math.max(now, this.#last + 1);
    assert.ok(this.#last <= now + 1, 'the codes of the moment have been used; use a recovery code');
    return this.codeAt(this.#last * period);
  }

  // wrong returns a code that is not that of any time near now.
  wrong() {
    const near = [-2, -1, 0, 1, 2].map((steps) => this.codeAt(Date.now() + steps * period));
    return ['000000', '111111', '222222', '333333', '444444', '555555'].find((code) => !near.includes(code));
  }
}
