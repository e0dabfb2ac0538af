// New recovery codes. They are shown once, and are on the page only until the user has saved them.

import { $, element, notify } from './dom.js';
import { t } from './texts.js';

let codes = [];
let saved = () => {};

// onSaved sets the function that is called when the user has saved the codes.
export function onSaved(listener) { saved = listener; }

export function showCodes(created) {
  codes = created;
  $('codes-list').replaceChildren(...codes.map((code) => element('li', {}, element('code', { textContent: code }))));
  $('codes-copy').hidden = !navigator.clipboard; // on a page without TLS
  $('codes').hidden = false;
  $('recovery').hidden = true;
  $('codes-title').focus();
}

const asText = () => [t('codes.file', { app: $('codes').dataset.app, email: $('account-email').textContent }), '', ...codes, ''].join('\n');

$('codes-download').addEventListener('click', () => {
  const url = URL.createObjectURL(new Blob([asText()], { type: 'text/plain' }));
  element('a', { href: url, download: 'recovery-codes.txt' }).click();
  setTimeout(() => URL.revokeObjectURL(url)); // after the browser has begun to save it
});

$('codes-copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(asText());
    notify(t('codes.copied'));
  } catch {
    notify(t('codes.notCopied'), { failed: true }); // the user does not allow it
  }
});

$('codes-saved').addEventListener('click', () => {
  codes = [];
  $('codes-list').replaceChildren();
  $('codes').hidden = true;
  saved();
});
