// The list of mails keeps itself up to date: a mail comes a moment after what it is about.

const list = document.getElementById('mails');
const open = document.getElementById('mail')?.dataset.id;

async function look() {
  if (document.visibilityState !== 'visible') return;
  let fresh;
  try {
    const response = await fetch(open ? `/mail?id=${encodeURIComponent(open)}` : '/mail');
    fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
  } catch {
    return; // the server has stopped; it may come back
  }
  const known = new Set([...list.children].map((item) => item.dataset.id));
  const added = [...fresh.querySelectorAll('#mails > li')].filter((item) => !known.has(item.dataset.id));
  if (added.length === 0) return;
  if (!open) return location.reload(); // nobody reads one
  list.prepend(...added);
  document.getElementById('news').textContent = `New mail: ${added[0].querySelector('strong').textContent}`;
}

setInterval(look, 1000);
document.addEventListener('visibilitychange', look);
