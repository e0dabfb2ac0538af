// The sessions of the user.

import { check, report, showSignedOut } from './actions.js';
import { call } from './api.js';
import { $, element, phrase, separated } from './dom.js';
import { onClick } from './forms.js';
import { describeProof } from './methods.js';
import { deviceName, t } from './texts.js';

// showSessions lists the sessions, the current one first.
export function showSessions(sessions) {
  const sorted = sessions.toSorted((a, b) => b.current - a.current);
  $('sessions').replaceChildren(...sorted.map(listItem));
  $('end-others').hidden = sessions.length < 2;
}

function listItem(session) {
  const device = deviceName(session.device);
  const text = element('p', {}, element('strong', { textContent: device }));
  if (session.current) text.append(' ', element('span', { className: 'badge', textContent: t('sessions.current') }));
  text.append(element('br'), element('span', { className: 'muted' },
    ...separated([[session.ip], phrase('sessions.started', session.createdAt), phrase('sessions.active', session.lastSeenAt),
      [describeProof(session.level, session.methods)]])));

  const item = element('li', {}, text);
  if (!session.current) {
    const end = element('button', { type: 'button', textContent: t('button.end'), ariaLabel: t('sessions.end', { device }) });
    onClick(end, check(() => call('revokeSession', { id: session.id })), async () => {
      await report(t('sessions.ended', { device }));
      $('sessions-title').focus(); // the button is gone
    });
    item.append(end);
  }
  return item;
}

onClick($('end-others'), check(() => call('revokeSessions')), async () => {
  await report(t('sessions.othersEnded'));
  $('sessions-title').focus();
});
onClick($('end-all'), check(() => call('revokeSessions', { scope: 'all' })), showSignedOut);
