// The log of the API calls, which only the demo shows.

import { onResponse } from './api.js';
import { $, element } from './dom.js';

const maxCalls = 20;

onResponse(({ method, path, status, body, milliseconds }) => {
  const ok = status >= 200 && status < 300;
  const details = element('details', { open: true }, element('summary', {},
    element('code', { textContent: `${method} ${path}` }), ' ',
    element('span', { className: `status ${ok ? 'ok' : 'bad'}`, textContent: status || 'no response' }),
    element('span', { className: 'muted', textContent: ` ${Math.round(milliseconds)} ms` })));
  if (body !== undefined) details.append(element('pre', { textContent: JSON.stringify(body, null, 2), tabIndex: 0 }));

  for (const older of $('log').querySelectorAll('details')) older.open = false;
  $('log').prepend(element('li', {}, details));
  while ($('log').children.length > maxCalls) $('log').lastChild.remove();
  $('log-empty').hidden = true;
});
