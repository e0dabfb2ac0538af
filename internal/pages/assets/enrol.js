// Setting up an authenticator app: the QR code, the secret, and the code that the app then shows.

import { check } from './actions.js';
import { call } from './api.js';
import { $, notify } from './dom.js';
import { onSubmit } from './forms.js';
import { withStepUp } from './stepup.js';
import { t } from './texts.js';

const svg = 'http://www.w3.org/2000/svg';

let enrolment;
let added = () => {};

// showEnrolment shows what the app needs. It calls onAdded with the answer of the API after the user has
// confirmed the code.
export function showEnrolment(started, onAdded) {
  enrolment = started;
  added = onAdded;
  $('enrol-qr').replaceChildren(drawing(started.qrCode));
  $('enrol-secret').textContent = started.secret.match(/.{1,4}/g).join(' ');
  $('enrol-link').href = started.uri;
  $('confirm-factor').reset();
  $('confirm-factor').elements.name.value = t('factors.name');
  showForm(true);
  $('enrol-title').focus();
}

function showForm(shown) {
  $('enrol').hidden = !shown;
  $('add-factor').hidden = shown;
}

// hideEnrolment removes the secret from the page.
function hideEnrolment() {
  enrolment = undefined;
  $('enrol-qr').replaceChildren();
  $('enrol-secret').textContent = '';
  $('enrol-link').removeAttribute('href');
  showForm(false);
}

// drawing returns the elements of a QR code of the API. The page may not parse documents: its policy
// requires Trusted Types, and allows none.
function drawing(source) {
  const image = document.createElementNS(svg, 'svg');
  image.setAttribute('viewBox', source.match(/ viewBox="([\d ]+)"/)[1]);
  image.setAttribute('shape-rendering', 'crispEdges');

  const path = document.createElementNS(svg, 'path');
  path.setAttribute('d', source.match(/<path d="([^"]+)"/)[1]);
  image.append(path);

  return image;
}

onSubmit($('confirm-factor'), check(async ({ code, name }) => {
  const { id } = enrolment;
  const result = await withStepUp(() => call('confirmTotp', { id, code: code.value, name: name.value }));
  if (result?.error?.code !== 'not_found') return result;

  hideEnrolment();
  $('add-factor').focus();
  notify(t('enrol.expired'), { failed: true, code: 'not_found' });
  return undefined;
}), async ({ answer }) => {
  hideEnrolment();
  await added(answer);
});

$('enrol-cancel').addEventListener('click', () => {
  hideEnrolment();
  notify('');
  $('add-factor').focus();
});
