// Updates the list of emails, and fits the frame to the open email.

const list = document.getElementById('emails');
const open = document.getElementById('email')?.dataset.id;
const frame = document.querySelector('iframe');

async function update() {
  if (document.visibilityState !== 'visible') return;

  let current;
  try {
    const response = await fetch(open ? `/mail?id=${encodeURIComponent(open)}` : '/mail');
    current = new DOMParser().parseFromString(await response.text(), 'text/html');
  } catch {
    return; // the server has stopped, but may restart
  }

  const known = new Set([...list.children].map((item) => item.dataset.id));
  const added = [...current.querySelectorAll('#emails > li')].filter((item) => !known.has(item.dataset.id));
  if (added.length === 0) return;
  if (!open) return location.reload(); // opens the first email

  list.prepend(...added);
  document.getElementById('status').textContent = `New email: ${added[0].querySelector('strong').textContent}`;
}

setInterval(update, 1000);
document.addEventListener('visibilitychange', update);

// The email is of the same origin, and none of its scripts may run.
function fit() {
  const content = frame.contentDocument?.documentElement;
  if (!content) return;

  frame.style.height = 0; // otherwise the content is at least as high as the frame
  frame.style.height = `${content.scrollHeight + 2}px`;
}

if (frame) {
  frame.addEventListener('load', fit);
  window.addEventListener('resize', fit);
  fit();
}
