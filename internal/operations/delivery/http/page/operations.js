// Pages work without this script. With it they follow what happens: the server says when it is time, the page asks for
// itself again and takes over those of its parts that are marked, each by its id.
'use strict';

const following = document.getElementById('following');

function say(text, live) {
  following.hidden = false;
  following.textContent = text;
  following.classList.toggle('live', live);
}

// A part that a person types into or has chosen something in, or that a refused change has filled in, is left as it is.
function busy(part) {
  const at = document.activeElement;
  return part.contains(at) && at.matches('input, select, textarea') || part.querySelector('input:checked, [data-kept]') !== null ||
    [...part.querySelectorAll('input, textarea')].some((field) => field.value !== field.defaultValue);
}

// A person who goes through the page by the keyboard stays where they are: the focus goes to the same element of what is new.
function replace(part, fresh) {
  const at = part.contains(document.activeElement) ? document.activeElement : null;
  const shape = at?.cloneNode(false);
  const alike = () => [...part.querySelectorAll(at.localName)].filter((e) => at.id ? e.id === at.id : e.cloneNode(false).isEqualNode(shape));
  const place = at ? alike().indexOf(at) : -1;
  part.replaceChildren(...fresh.childNodes);
  if (place >= 0) alike()[place]?.focus({ preventScroll: true });
}

function take(fresh) {
  for (const part of document.querySelectorAll('[data-live][id]')) {
    const other = fresh.getElementById(part.id);
    if (!other || busy(part)) continue;
    for (const details of part.querySelectorAll('details[id][open]')) {
      const again = other.querySelector('#' + CSS.escape(details.id));
      if (again) again.open = true;
    }
    replace(part, other);
  }
}

let reading = false;

async function read() {
  if (reading || document.hidden) return;
  reading = true;
  try {
    const response = await fetch(location.href, { headers: { 'X-Live': '1' }, credentials: 'same-origin', redirect: 'manual' });
    if (!response.ok) throw new Error(response.type === 'opaqueredirect' ? 'logged out' : `the server responds ${response.status}`);
    take(new DOMParser().parseFromString(await response.text(), 'text/html'));
    say('live', true);
  } catch (err) {
    say(`not live: ${err.message}`, false);
  } finally {
    reading = false;
  }
}

function follow() {
  const source = new EventSource('/live');
  source.addEventListener('tick', read);
  source.addEventListener('error', () => {
    say('not live: no connection', false);
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 15000);
  });
}

if (following && document.querySelector('main [data-live]')) follow();

document.addEventListener('visibilitychange', () => { if (following && !document.hidden) read(); });

// What cannot be undone is asked for twice.
document.addEventListener('submit', (event) => {
  const question = event.submitter?.dataset.confirm || event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
