// Small things that every part of the page needs.

export const $ = (id) => document.getElementById(id);

// element makes an element with properties and children.
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function notify(text, bad = false) {
  $('notice').textContent = text;
  $('notice').classList.toggle('bad', bad);
}

const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

function ago(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return seconds < 0 ? 'just now' : 'in less than a minute';
}

export function time(text) {
  return element('time', { dateTime: text, textContent: ago(text), title: when.format(new Date(text)) });
}

export function describe(list, entries) {
  list.replaceChildren(...entries.flatMap(([term, value]) => [element('dt', { textContent: term }), element('dd', {}, value)]));
}
