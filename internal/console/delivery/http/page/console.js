// The page is a front end: it calls the public HTTP API with the cookies that the API sets, and nothing else but what the
// standalone alone has below /dev. What the service says enters the page as text; rows of the table are rendered, and
// escaped, by the server.
'use strict';

const $ = (id) => document.getElementById(id);

// ---- calling the service ----

async function call(method, path, body) {
  const request = { method, credentials: 'same-origin', headers: {} };
  if (body !== undefined) {
    request.headers['Content-Type'] = 'application/json';
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request);
  const answer = await response.json().catch(() => ({}));
  return { status: response.status, ok: response.ok, ...answer };
}

// What a person reads of a refusal: its message, and what is said of single fields.
function wrong(answer) {
  const fields = Object.entries(answer.errors || {}).map(([field, text]) => `${field} ${text}`);
  return [answer.message || `The service responds ${answer.status}`, ...fields].join('\n');
}

function say(form, text, tone) {
  const output = form.querySelector('output');
  output.className = tone;
  output.textContent = text;
}

// One action at a time for each form. An action returns what to say, and throws what went wrong.
async function act(form, button, action) {
  if (form.dataset.busy) return;
  form.dataset.busy = 'yes';
  button.setAttribute('aria-disabled', 'true');
  try {
    say(form, await action() || '', 'good');
  } catch (err) {
    say(form, err.message, 'bad');
  } finally {
    delete form.dataset.busy;
    button.removeAttribute('aria-disabled');
  }
}

async function must(method, path, body) {
  const answer = await call(method, path, body);
  if (!answer.ok) throw Object.assign(new Error(wrong(answer)), { answer });
  return answer.data;
}

function on(id, actions) {
  const form = $(id);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const button = event.submitter || form.querySelector('button.main');
    act(form, button, actions[button.name]);
  });
  for (const button of form.querySelectorAll('button[type=button]')) {
    button.addEventListener('click', () => act(form, button, actions[button.name]));
  }
}

// ---- what the person holds ----

function show(id, text, tone) {
  $(id).textContent = text;
  $(id).className = tone || '';
}

const when = (time) => time ? new Date(time).toISOString().slice(0, 16).replace('T', ' ') + ' UTC' : 'no end';

async function refresh() {
  const me = await call('GET', 'authentication/me');
  if (!me.ok) {
    show('me', 'nobody');
    for (const id of ['role', 'entitled', 'subscription', 'ends']) show(id, '–');
    return false;
  }
  const [account, held] = await Promise.all([call('GET', 'users/me'), call('GET', 'subscriptions/me')]);
  show('me', me.data.email);
  show('role', account.ok ? account.data.role : '–');
  if (held.ok) {
    show('entitled', 'yes', 'good');
    show('subscription', `${held.data.status}, plan ${held.data.plan.name}`);
    show('ends', when(held.data.trial_ends_at || held.data.ends_at));
  } else {
    show('entitled', 'no', 'bad');
    show('subscription', held.status === 404 ? 'none, or it has ended' : wrong(held));
    show('ends', '–');
  }
  return true;
}

const credentials = () => ({ email: $('email').value, password: $('password').value });

on('account', {
  async register() {
    await must('POST', 'authentication/register', credentials());
    $('code').focus();
    return 'Registered. Your code is in the inbox.';
  },
  async login() {
    try {
      await must('POST', 'authentication/login', { ...credentials(), remember: $('remember').checked });
    } catch (err) {
      if (err.answer && err.answer.error_code === 20009) err.message += '\nType the code of the mail below, or have another one sent.';
      throw err;
    }
    await refresh();
    return 'Logged in.';
  },
  async logout() {
    await must('POST', 'authentication/logout');
    await refresh();
    return 'Logged out.';
  },
});

on('verify', {
  async verify() {
    await must('POST', 'authentication/verify-otp', { email: $('email').value, otp: $('code').value });
    $('code').value = '';
    await refresh();
    return 'Verified: you are logged in, and the trial has begun.';
  },
  async again() {
    await must('POST', 'authentication/send-otp', credentials());
    return 'A code is on its way, or the one of the last minute still is.';
  },
});

let progress = null;

function watch(project) {
  if (progress) progress.close();
  const bar = $('bar');
  bar.hidden = false;
  bar.value = 0;
  $('batch').hidden = false;
  $('batch').href = 'invitation-progress#project=' + encodeURIComponent(project);
  progress = new EventSource(`projects/${encodeURIComponent(project)}/progress/stream`);
  const draw = (event) => {
    const p = JSON.parse(event.data);
    bar.value = p.percent;
    const failed = p.errors ? `, ${p.errors} of them could not be` : '';
    say($('invite'), `${p.done} of ${p.total} sent${failed}. ${p.status}`, 'good');
  };
  progress.addEventListener('progress', draw);
  progress.addEventListener('completed', (event) => {
    draw(event);
    progress.close();
  });
}

on('invite', {
  async promote() {
    const me = await must('GET', 'authentication/me');
    await must('POST', 'dev/promote', { email: me.email });
    await refresh();
    return 'You are an administrator.';
  },
  async invite() {
    const addresses = $('addresses').value.split('\n').map((line) => line.trim()).filter(Boolean);
    const invited = await must('POST', 'users/invitations', addresses);
    if (invited.accepted) watch(invited.project_id);
    const rejected = invited.rejected.map((r) => `${r.address}: ${r.reason}`);
    return [`${invited.accepted} accepted.`, ...rejected].join('\n');
  },
});

on('travel', {
  async advance() {
    const journey = await must('POST', 'dev/clock/advance', { days: Number($('days').value) });
    showTime(journey.now);
    const met = journey.moments.map((moment) => 'Something was due on ' + when(moment));
    const known = await refresh();
    if (!known) met.push('Your login has ended meanwhile: log in again.');
    return met.join('\n') || 'Nothing was due.';
  },
});

// ---- what happens ----

function showTime(now) {
  $('now').dateTime = now;
  $('now').textContent = new Date(now).toISOString().slice(0, 19).replace('T', ' ');
}

// row returns the table's row that the server has rendered.
function row(html) {
  const holder = document.createElement('template');
  holder.innerHTML = html;
  return holder.content.firstElementChild;
}

function draw(rows, fresh) {
  for (const html of rows) {
    const next = row(html);
    const before = $(next.id);
    if (before) before.replaceWith(next);
    else $('rows').prepend(next);
    if (fresh) {
      next.classList.add('fresh');
      setTimeout(() => next.classList.remove('fresh'), 1500);
    }
  }
  while ($('rows').children.length > 200) $('rows').lastElementChild.remove();
  $('empty').hidden = $('rows').children.length > 0;
}

function connect() {
  const events = new EventSource('dev/flow');
  const status = (live, text) => {
    $('status').classList.toggle('live', live);
    $('status').textContent = text;
  };
  let first = true;
  events.onopen = () => status(true, 'live');
  events.onerror = () => {
    first = true; // the next stream begins with all there is
    status(false, 'connection lost');
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
  events.addEventListener('paths', (event) => {
    const { rows, now } = JSON.parse(event.data);
    if (first) $('rows').replaceChildren();
    draw(rows, !first);
    first = false;
    showTime(now);
  });
}

connect();
refresh();
