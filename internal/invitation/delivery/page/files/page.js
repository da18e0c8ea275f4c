// The script of both pages. What the service says enters them as text.
'use strict';

const $ = (id) => document.getElementById(id);

function say(text, tone) {
  $('said').className = tone;
  $('said').textContent = text;
}

// What a person reads of a refusal: its message, and what is said of single fields.
function wrong(answer) {
  return [answer.message, ...Object.entries(answer.errors || {}).map(([field, text]) => `${field} ${text}`)].join('\n');
}

async function call(path, options) {
  const response = await fetch(path, { credentials: 'same-origin', ...options });
  return { ok: response.ok, ...await response.json() };
}

// fragment takes a value out of the address, where it would stay in the history.
function fragment(name) {
  const text = location.hash.slice(1);
  const value = new URLSearchParams(text).get(name);
  if (value) history.replaceState(null, '', location.pathname + location.search);
  return value || '';
}

function accept(form) {
  const known = fragment('token');
  $('token').value = known;
  $('asked').hidden = Boolean(known);
  (known ? $('password') : $('token')).focus();
  let busy = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    try {
      const answer = await call('authentication/accept-invitation', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ token: $('token').value.trim(), password: $('password').value }),
      });
      form.hidden = answer.ok;
      say(answer.ok ? form.dataset.done : wrong(answer), answer.ok ? 'good' : 'bad');
    } catch {
      say(form.dataset.down, 'bad');
    } finally {
      busy = false;
    }
  });
}

function progress(form) {
  let stream = null;
  const words = form.dataset;
  async function watch(project) {
    if (stream) stream.close();
    const path = `projects/${encodeURIComponent(project)}/progress`;
    let answer;
    try {
      answer = await call(path);
    } catch {
      say(words.down, 'bad');
      return;
    }
    $('bar').hidden = !answer.ok;
    if (!answer.ok) {
      say(wrong(answer), 'bad');
      return;
    }
    const draw = (p, end) => {
      $('bar').value = p.percent;
      const lines = [`${p.done} ${words.of} ${p.total} ${words.sent}`];
      if (p.errors) lines.push(`${p.errors} ${words.failed}`);
      if (end) lines.push(words.finished);
      say(lines.join('\n'), end ? 'good' : '');
    };
    draw(answer.data, answer.data.status === 'DONE');
    stream = new EventSource(path + '/stream');
    stream.addEventListener('progress', (event) => {
      const now = JSON.parse(event.data);
      draw(now);
      if (now.status === 'FAILED') stream.close();
    });
    stream.addEventListener('completed', (event) => {
      draw(JSON.parse(event.data), true);
      stream.close();
    });
    stream.onerror = () => say(words.lost, 'bad');
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    watch($('project').value.trim());
  });
  const known = fragment('project');
  $('project').value = known;
  if (known) watch(known);
  else $('project').focus();
}

window.addEventListener('hashchange', () => location.reload()); // another mail's link, in the same tab
if ($('accept')) accept($('accept'));
if ($('watch')) progress($('watch'));
