// The authenticator apps of the account, and its trusted devices.

import { check, report } from './actions.js';
import { call } from './api.js';
import { $, element, phrase, separated } from './dom.js';
import { showEnrolment } from './enrol.js';
import { clearErrors, onClick, onSubmit } from './forms.js';
import { goOn } from './navigation.js';
import { onSaved, showCodes } from './recovery.js';
import { confirmIdentity, withStepUp } from './stepup.js';
import { deviceName, formatTime, t } from './texts.js';

let mustGoOn = false; // the page is restricted to this section, and goes on when the user is done
let renamed; // the app in the dialog

// showFactors shows the section if there is something to show or to add. A session that is restricted to it
// has to add an app, or to confirm with one.
export function showFactors({ factors, recoveryCodes }, devices, restricted) {
  mustGoOn ||= restricted;
  $('account').classList.toggle('restricted', mustGoOn);
  const hasFactor = factors.length > 0;
  const mustConfirm = restricted && hasFactor;
  const isOffered = 'offered' in $('factors').dataset;
  $('factors').hidden = !isOffered && !hasFactor && !restricted;

  $('factors-intro').textContent = t(mustConfirm ? 'factors.confirm' : restricted ? 'factors.required' : 'factors.intro');
  $('factors-list').hidden = !hasFactor;
  $('factors-list').replaceChildren(...factors.map(listItem));
  $('add-factor').hidden = !isOffered || mustConfirm || !$('enrol').hidden;
  $('add-factor').classList.toggle('primary', restricted);
  $('confirm-level').hidden = !mustConfirm;

  $('recovery').hidden = !hasFactor || restricted || !$('codes').hidden;
  $('codes-left').textContent = t('codes.left', { count: recoveryCodes });
  $('devices').hidden = devices.length === 0;
  $('devices-list').replaceChildren(...devices.map(deviceItem));
}

function listItem(factor) {
  const { id, name, createdAt, lastUsed, disabled } = factor;
  const text = element('p', {}, element('strong', { textContent: name }));
  if (disabled) text.append(' ', element('span', { className: 'badge open', textContent: t('factors.disabled') }));
  text.append(element('br'), element('span', { className: 'muted' },
    ...separated([phrase('factors.added', createdAt), lastUsed && phrase('methods.used', lastUsed)])));
  if (disabled) text.append(element('br'), element('span', { className: 'muted', textContent: t('factors.disabledHint') }));
  if (mustGoOn) return element('li', {}, text);

  const rename = element('button', { type: 'button', textContent: t('button.rename'), ariaLabel: t('factors.rename', { name }) });
  rename.addEventListener('click', () => showRename(factor));
  const remove = element('button', { type: 'button', textContent: t('button.remove'), ariaLabel: t('factors.remove', { name }) });
  onClick(remove, check(() => withStepUp(() => call('removeFactor', { id }))), async () => {
    await report(t('factors.removed', { name }));
    $('factors-title').focus(); // the button is gone
  });

  return element('li', {}, text, element('div', { className: 'row' }, rename, remove));
}

function showRename(factor) {
  renamed = factor;
  clearErrors($('rename-form'));
  $('rename-form').elements.name.value = factor.name;
  $('rename').showModal();
  $('rename-form').elements.name.select();
}

onSubmit($('rename-form'), check(({ name }) => call('renameFactor', { id: renamed.id, name: name.value })), async () => {
  $('rename').close();
  await report(t('factors.renamed'));
  $('factors-title').focus(); // the list is new
});
$('rename-cancel').addEventListener('click', () => $('rename').close());

function deviceItem({ id, device, ip, createdAt, expiresAt, current }) {
  const name = deviceName(device);
  const text = element('p', {}, element('strong', { textContent: name }));
  if (current) text.append(' ', element('span', { className: 'badge', textContent: t('sessions.current') }));
  const until = t('devices.until', { time: formatTime(expiresAt) });
  text.append(element('br'), element('span', { className: 'muted' }, ...separated([phrase('factors.added', createdAt), [until], [ip]])));

  const remove = element('button', { type: 'button', textContent: t('button.remove'), ariaLabel: t('factors.remove', { name }) });
  onClick(remove, check(() => call('removeDevice', { id })), async () => {
    await report(t('devices.removed', { device: name }));
    $('factors-title').focus(); // the button is gone
  });

  return element('li', {}, text, remove);
}

// The button that starts the enrolment of an app. Its secret is on the page until the user is done.
onClick($('add-factor'), check(() => withStepUp(() => call('enrolTotp'))), ({ answer }) => showEnrolment(answer, async ({ factor, recoveryCodes }) => {
  if (recoveryCodes) showCodes(recoveryCodes);
  await report(t('factors.wasAdded', { name: factor.name }));
  if (!recoveryCodes) finish();
}));

onClick($('new-codes'), check(() => withStepUp(() => call('newRecoveryCodes'))), async ({ answer }) => {
  showCodes(answer.recoveryCodes);
  await report('');
});

onClick($('confirm-level'), check(async () => {
  const outcome = await confirmIdentity(['otp']);
  return outcome === 'confirmed' ? { ok: true } : outcome;
}), finish);

// finish goes on to what the user wanted to do, if the page was restricted to this section.
function finish() {
  if (mustGoOn) goOn();
  else $('factors-title').focus();
}

onSaved(async () => {
  if (!mustGoOn) await report('');
  finish();
});
