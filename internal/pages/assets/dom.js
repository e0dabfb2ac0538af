// Helpers for the elements of the page.

import { ago, formatTime, t } from './texts.js';

export const $ = (id) => document.getElementById(id);

// element creates an element with properties and children. It never parses HTML.
export function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}

// notify shows a text at the top of the page. Tests read the code of the failure.
export function notify(text, { failed = false, code = '' } = {}) {
  $('notice').textContent = text;
  $('notice').classList.toggle('bad', failed);
  $('notice').dataset.code = code;
}

export const time = (timestamp) => element('time', { dateTime: timestamp, textContent: ago(timestamp), title: formatTime(timestamp) });

// phrase returns the nodes of a text in which {when} is replaced with a time.
export function phrase(key, timestamp) {
  const [before, after] = t(key).split('{when}');
  return [before, time(timestamp), after ?? ''];
}

// separated joins lists of nodes with separators.
export function separated(lists) {
  return lists.filter(Boolean).flatMap((list, i) => (i === 0 ? list : [t('list.separator'), ...[list].flat()]));
}
