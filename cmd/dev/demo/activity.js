// The security events of the account.

import { call } from '/api.js';
import { $, element, time } from '/dom.js';
import { title } from '/providers.js';

const descriptions = {
  registered: 'Account created',
  login: 'Signed in',
  login_failed: 'Failed login',
  logout: 'Logged out',
  session_rotated: 'Session token rotated',
  session_revoked: 'Session ended',
  sessions_revoked: 'Sessions ended',
  password_changed: 'Password changed',
  password_change_failed: 'Password change failed: incorrect current password',
  password_reset_requested: 'Password reset link requested',
  password_reset: 'Password reset',
  password_reset_failed: 'Password reset failed: invalid link',
  email_verified: 'Email confirmed',
  email_verify_failed: 'Email confirmation failed: invalid link',
  email_verify_requested: 'Email confirmation link requested',
  email_change_requested: 'Email change requested',
  email_changed: 'Email changed',
  step_up: 'Password confirmed',
  step_up_failed: 'Password confirmation failed: incorrect password',
  account_deleted: 'Account deleted',
  account_disabled: 'Account disabled',
  account_enabled: 'Account enabled',
  identity_linked: 'Provider linked',
  identity_unlinked: 'Provider unlinked',
  account_claimed: 'Account taken over by the owner of its email',
  limit_hit: 'Request blocked: too many attempts',
  cross_origin_denied: 'Request from another site blocked',
  profile_updated: 'Profile updated',
  password_restricted: 'Too many wrong passwords: password accepted on known devices only',
};

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
  const description = descriptions[event.event] ?? event.event.replaceAll('_', ' ');
  const text = element('p', {}, element('strong', { textContent: description }));
  if (event.count > 1) text.append(` (${event.count})`);
  if (event.newDevice) text.append(element('span', { className: 'badge', textContent: 'new device' }));

  const details = [event.provider && title(event.provider), event.device, event.ip, event.by && `by ${event.by}`];
  text.append(element('span', { className: 'muted' }, element('br'),
    ...details.filter(Boolean).map((detail) => `${detail} · `), time(event.at)));

  const item = element('li', {}, text);
  item.dataset.id = event.id;
  item.classList.toggle('bad', /_failed$|^limit_hit$|^cross_origin_denied$|^password_restricted$/.test(event.event));
  return item;
}

// showMoreActivity adds the next page and moves the focus to its first event.
export async function showMoreActivity() {
  const result = await call('GET', `/auth/activity?before=${encodeURIComponent(next)}`);
  if (!result.ok) return result;

  next = result.answer.next;
  const items = result.answer.events.map(listItem);
  $('activity').append(...items);
  $('more-activity').hidden = !next;

  if (items.length > 0) {
    items[0].tabIndex = -1;
    items[0].focus();
  }
  return { ...result, text: `Added ${items.length} earlier ${items.length === 1 ? 'event' : 'events'}.` };
}
