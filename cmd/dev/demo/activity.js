// What was done with the account, in words.

import { call } from '/api.js';
import { $, element, time } from '/dom.js';
import { title } from '/elsewhere.js';

const words = {
  registered: 'Registered',
  login: 'Logged in',
  login_failed: 'A login failed',
  logout: 'Logged out',
  session_rotated: 'The token of a session was renewed',
  session_revoked: 'A session was ended',
  sessions_revoked: 'Sessions were ended',
  password_changed: 'The password was changed',
  password_change_failed: 'A change of the password failed: the current one was wrong',
  password_reset_asked: 'A link to reset the password was asked for',
  password_reset: 'The password was reset',
  password_reset_failed: 'A link to reset the password did not work',
  email_verified: 'The email address was confirmed',
  email_verify_failed: 'A link to confirm an email address did not work',
  email_verify_asked: 'A link to confirm the email address was asked for',
  email_change_asked: 'A change of the email address was asked for',
  email_changed: 'The email address was changed',
  step_up: 'The password was confirmed',
  step_up_failed: 'The password was not confirmed: it was wrong',
  account_deleted: 'The account was deleted',
  account_disabled: 'The account was disabled',
  account_enabled: 'The account was enabled',
  identity_linked: 'An account elsewhere was linked',
  identity_unlinked: 'An account elsewhere was unlinked',
  account_claimed: 'The account went to the owner of its email address',
  limit_hit: 'Too many attempts: a request was refused',
  cross_origin_denied: 'A request of another site was refused',
  profile_updated: 'The profile was changed',
};

let next;

// showActivity shows the first page of the list. One that is as it was is left alone, so
// that whoever has asked for more keeps it.
export function showActivity({ events, next: more }) {
  if (events.length > 0 && events[0].id === $('activity').firstElementChild?.dataset.id) return;
  next = more;
  $('activity').replaceChildren(...events.map(listed));
  $('more-activity').hidden = !next;
}

function listed(event) {
  const said = words[event.event] ?? event.event.replaceAll('_', ' ');
  const text = element('p', {}, element('strong', { textContent: said }));
  if (event.count > 1) text.append(` (${event.count})`);
  if (event.newDevice) text.append(element('span', { className: 'badge', textContent: 'new device' }));
  const where = [event.provider && title(event.provider), event.device, event.ip, event.by && `by ${event.by}`].filter(Boolean).map((part) => `${part} · `);
  text.append(element('span', { className: 'muted' }, element('br'), ...where, time(event.at)));
  const item = element('li', {}, text);
  item.dataset.id = event.id;
  item.classList.toggle('bad', /_failed$|^limit_hit$|^cross_origin_denied$/.test(event.event));
  return item;
}

// moreActivity adds the next page, and brings the focus to where it begins.
export async function moreActivity() {
  const result = await call('GET', `/auth/activity?before=${encodeURIComponent(next)}`);
  if (!result.ok) return result;
  next = result.answer.next;
  const items = result.answer.events.map(listed);
  $('activity').append(...items);
  $('more-activity').hidden = !next;
  if (items.length > 0) {
    items[0].tabIndex = -1;
    items[0].focus();
  }
  return { ...result, says: `${items.length} more.` };
}
