// The security events of the account.

import { check } from './actions.js';
import { call } from './api.js';
import { $, element, time } from './dom.js';
import { onClick } from './forms.js';
import { describeProof, providerTitle } from './methods.js';
import { deviceName, has, t } from './texts.js';

let next;

// showActivity shows the first page of the events. If there is no new event it changes
// nothing, so that pages that were added stay.
export function showActivity({ events, next: cursor }) {
  if (events.length > 0 && events[0].id === $('activity').firstElementChild?.dataset.id) return;

  next = cursor;
  $('activity').replaceChildren(...events.map(listItem));
  $('more-activity').hidden = !next;
}

function listItem(event) {
  const key = `event.${event.event}`;
  const description = has(key) ? t(key) : event.event;
  const name = event.count > 1 ? t('activity.count', { event: description, count: event.count }) : description;
  const text = element('p', {}, element('strong', { textContent: name }));
  if (event.newDevice) text.append(' ', element('span', { className: 'badge', textContent: t('activity.newDevice') }));

  const details = [
    event.level ? describeEvent(event) : event.provider && providerTitle(event.provider),
    event.device && deviceName(event.device),
    event.ip,
    event.by && t('activity.operator'),
  ].filter(Boolean);
  text.append(element('br'), element('span', { className: 'muted' },
    ...details.map((detail) => `${detail}${t('list.separator')}`), time(event.at)));

  const item = element('li', {}, text);
  item.dataset.id = event.id;
  item.dataset.event = event.event;
  item.classList.toggle('bad', /_failed$|^limit_hit$|^cross_origin_denied$|^password_restricted$/.test(event.event));
  return item;
}

// describeEvent returns how the user of a sign-in or a step-up has proved their identity.
function describeEvent({ level, methods = '', provider }) {
  const proved = methods.split(/[ ,]+/).filter(Boolean);
  return describeProof(level, proved.map((method) => ({ method, provider: method === 'fed' ? provider : undefined })));
}

// Shows the next page of the events and moves the focus to its first event.
onClick($('more-activity'), check(() => call('listActivity', { before: next })), ({ answer }) => {
  next = answer.next;
  const items = answer.events.map(listItem);
  $('activity').append(...items);
  $('more-activity').hidden = !next;

  if (items.length > 0) {
    items[0].tabIndex = -1;
    items[0].focus();
  }
});
