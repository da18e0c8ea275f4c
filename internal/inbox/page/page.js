// The page draws the events of /api/events. Every text of a mail
// goes through textContent; its HTML only ever enters the sandboxed frame.
'use strict';

const keep = 1000;      // mails kept in the page
const rowsShown = 200;  // rows drawn; the search reaches the others
const tabs = ['html', 'text', 'headers'];
const $ = (id) => document.getElementById(id);

let mails = [];              // newest first
const read = new Set();      // ids of the mails that were opened or here before the page
let firstLoad = true;
let shown = null;            // the mail in the reading pane
let drawing = false;

// ---- what a mail says ----

function plainText(mail) {
  if (mail.text) return mail.text;
  const doc = new DOMParser().parseFromString(mail.html, 'text/html'); // inert: nothing in it runs or loads
  doc.querySelectorAll('script, style, title').forEach((e) => e.remove());
  return doc.body.textContent;
}

// The one-time code: six digits that are not part of a longer number, a colour or an amount.
function codeOf(mail) {
  if (mail.code === undefined) {
    const found = /(?<![\w#.,+-])\d{6}(?![\w,-]|\.\d)/.exec(plainText(mail)) || /(?<![\w#])\d{6}(?!\w)/.exec(mail.subject);
    mail.code = found ? found[0] : '';
  }
  return mail.code;
}

function timeOf(mail) {
  const at = new Date(mail.received_at);
  return at.toDateString() === new Date().toDateString()
    ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' })
    : at.toLocaleDateString([], { day: 'numeric', month: 'short' });
}

// ---- the list ----

function element(tag, className, text) {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
}

function row(mail) {
  const link = document.createElement('a');
  link.href = '#' + mail.id;
  if (!read.has(mail.id)) link.className = 'unread';
  if (shown && shown.id === mail.id) link.setAttribute('aria-current', 'true');
  link.append(
    element('span', 'recipient', mail.to),
    element('span', 'time', timeOf(mail)),
    element('span', 'title', mail.subject || '(no subject)'),
    element('span', 'chip', codeOf(mail)),
  );
  const item = document.createElement('li');
  item.append(link);
  return item;
}

function drawList() {
  drawing = false;
  const wanted = $('search').value.trim().toLowerCase();
  const found = mails.filter((m) => m.to.toLowerCase().includes(wanted));
  const focused = document.activeElement && document.activeElement.hash;
  $('list').replaceChildren(...found.slice(0, rowsShown).map(row));
  if (focused) [...$('list').querySelectorAll('a')].find((a) => a.hash === focused)?.focus();
  const unread = mails.filter((m) => !read.has(m.id)).length;
  document.title = unread ? `(${unread}) Inbox` : 'Inbox';
  $('clear').hidden = mails.length === 0;
  $('empty').hidden = found.length > 0 && found.length <= rowsShown;
  $('empty').textContent =
    found.length > rowsShown ? `${found.length - rowsShown} older mails: search to see them.`
    : mails.length > 0 ? 'No mail to such a recipient.'
    : 'No mail yet. It appears here by itself.';
}

// Many mails in one moment are one drawing.
function draw() {
  if (drawing) return;
  drawing = true;
  setTimeout(drawList, 30);
}

// ---- the reading pane ----

// Links of a mail open a new tab without a referrer: inside the frame they would
// not work.
function framed(html) {
  const doc = new DOMParser().parseFromString(html, 'text/html');
  for (const link of doc.querySelectorAll('a, area')) {
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer');
  }
  return '<!doctype html>' + doc.documentElement.outerHTML;
}

function choose(tab) {
  for (const name of tabs) {
    $(name).hidden = name !== tab;
    $('tab-' + name).setAttribute('aria-selected', String(name === tab));
  }
}

function drawHeaders(headers) {
  const rows = Object.entries(headers || {}).flatMap(([name, values]) => values.map((value) => {
    const tr = document.createElement('tr');
    tr.append(element('th', '', name), element('td', '', value));
    return tr;
  }));
  $('header-rows').replaceChildren(...rows);
}

async function loadHeaders(mail) {
  drawHeaders({});
  const answer = await fetch('api/messages/' + encodeURIComponent(mail.id));
  if (!answer.ok || shown !== mail) return;
  const { headers } = await answer.json();
  drawHeaders(headers);
  const from = headers && headers.From;
  if (from) $('from').textContent = from[0]; // with the sender's name
}

function open(mail) {
  shown = mail;
  document.body.classList.toggle('reading', Boolean(mail));
  $('mail').hidden = !mail;
  $('none').hidden = Boolean(mail);
  draw();
  if (!mail) return;
  read.add(mail.id);
  $('subject').textContent = mail.subject || '(no subject)';
  $('from').textContent = mail.from;
  $('to').textContent = mail.to;
  $('received').textContent = new Date(mail.received_at).toLocaleString([], { dateStyle: 'medium', timeStyle: 'medium' });
  $('code').hidden = !codeOf(mail);
  $('digits').textContent = codeOf(mail);
  $('copy').textContent = 'Copy code';
  $('text').textContent = plainText(mail);
  $('tab-html').hidden = !mail.html;
  const frame = $('html').cloneNode(); // a new one each time: a changed srcdoc would be a step of the Back button
  frame.srcdoc = mail.html ? framed(mail.html) : '';
  $('html').replaceWith(frame);
  choose(mail.html ? 'html' : 'text');
  loadHeaders(mail).catch(() => {}); // the headers are optional; the stream reports a lost server
}

function openFromAddress() {
  const id = location.hash.slice(1);
  const mail = mails.find((m) => m.id === id) || null;
  if (mail !== shown) open(mail);
}

async function copyCode() {
  try {
    await navigator.clipboard.writeText($('digits').textContent);
    $('copy').textContent = 'Copied';
  } catch { // no clipboard outside a secure context: leave the digits marked instead
    getSelection().selectAllChildren($('digits'));
    $('copy').textContent = 'Press Ctrl+C';
  }
}

// ---- the stream ----

function connect() {
  const events = new EventSource('api/events');
  const showStatus = (live, text) => {
    $('status').classList.toggle('live', live);
    $('status').textContent = text;
  };
  events.onopen = () => showStatus(true, 'live');
  events.onerror = () => {
    showStatus(false, 'connection lost');
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
  events.addEventListener('reset', () => {
    mails = [];
    openLater();
  });
  events.addEventListener('mails', (event) => {
    const came = JSON.parse(event.data).reverse();
    if (firstLoad) came.forEach((m) => read.add(m.id));
    firstLoad = false;
    mails = came.concat(mails).slice(0, keep);
    openLater();
  });
}

// After a reconnect the same mails follow the reset at once: decide what is open
// only when both have arrived.
let opening = 0;
function openLater() {
  draw();
  clearTimeout(opening);
  opening = setTimeout(() => {
    firstLoad = false;
    const still = shown && mails.find((m) => m.id === shown.id);
    if (still) shown = still;
    else openFromAddress();
  }, 50);
}

window.addEventListener('hashchange', openFromAddress);
$('search').addEventListener('input', draw);
$('copy').addEventListener('click', copyCode);
$('clear').addEventListener('click', () => {
  if (confirm('Delete all mails?')) fetch('api/messages', { method: 'DELETE' });
});
for (const name of tabs) $('tab-' + name).addEventListener('click', () => choose(name));
draw();
connect();
