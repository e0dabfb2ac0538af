// Helpers for the elements of the page.

export const $ = (id) => document.getElementById(id);

// element creates an element with properties and children.
export function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}

// notify shows a text at the top of the page. Tests read the status and the code of the
// API's response.
export function notify(text, { failed = false, status = '', code = '' } = {}) {
  $('notice').textContent = text;
  $('notice').classList.toggle('bad', failed);
  Object.assign($('notice').dataset, { status, code });
}

const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

function formatRelative(timestamp) {
  const seconds = (new Date(timestamp) - Date.now()) / 1000;
  for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return seconds < 0 ? 'just now' : 'in less than a minute';
}

export function time(timestamp) {
  return element('time', { dateTime: timestamp, textContent: formatRelative(timestamp), title: absolute.format(new Date(timestamp)) });
}

// describe fills a description list with entries of [field, term, value].
export function describe(list, entries) {
  list.replaceChildren(...entries.flatMap(([field, term, value]) => {
    const description = element('dd', {}, value);
    description.dataset.field = field;
    return [element('dt', { textContent: term }), description];
  }));
}
