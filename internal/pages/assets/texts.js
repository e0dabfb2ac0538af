// The texts of the page in its language. The file with them is named after the language.

export const { lang } = document.documentElement;

const { default: texts } = await import(`./texts.${lang}.js`);

export const has = (key) => Object.hasOwn(texts, key);

// t returns a text, in which {name} is replaced with values.name.
export function t(key, values = {}) {
  const text = has(key) ? texts[key] : key;
  return text.replaceAll(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);
}

const absolute = new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'short' });
const relative = new Intl.RelativeTimeFormat(lang, { numeric: 'auto' });

// inSeconds returns a phrase like "in 5 seconds".
export const inSeconds = (seconds) => relative.format(seconds, 'second');

// ago returns a phrase like "2 hours ago" for a past time.
export function ago(timestamp) {
  const seconds = (new Date(timestamp) - Date.now()) / 1000;
  for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return t('time.now');
}

export const formatTime = (timestamp) => absolute.format(new Date(timestamp));

// deviceName translates a name like "Firefox 142 on Linux".
export function deviceName(name) {
  const parts = name.match(/^(.+) on (.+)$/);
  if (parts) return t('device', { browser: parts[1], system: parts[2] });
  return name === 'Unknown device' ? t('device.unknown') : name;
}
