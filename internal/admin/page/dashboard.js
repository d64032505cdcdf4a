'use strict';
// The dashboard. What scripts and clients have written (names, paths, standard error) only ever
// becomes text: textContent, value and title, never HTML.

const $ = (id) => document.getElementById(id);

// ---- words

function number(v) {
  if (v >= 99.95) return Math.round(v).toLocaleString('en');
  return v > 0 && v < 0.095 ? v.toFixed(2) : v.toFixed(1).replace('.0', '');
}

function seconds(v) { // of a request
  if (v === null || v === undefined) return '–';
  if (v < 0.0009995) return Math.round(v * 1e6) + ' µs';
  if (v < 0.00995) return number(v * 1e3) + ' ms';
  if (v < 0.9995) return Math.round(v * 1e3) + ' ms';
  return v < 59.5 ? number(v < 10 ? v : Math.round(v)) + ' s' : age(v);
}

function age(v) { // of a process
  v = Math.max(0, v);
  if (v < 1) return '<1 s';
  if (v < 60) return Math.floor(v) + ' s';
  if (v < 3600) return Math.floor(v / 60) + ' min';
  if (v < 86400) return Math.floor(v / 3600) + ' h ' + Math.floor(v % 3600 / 60) + ' min';
  return Math.floor(v / 86400) + ' d ' + Math.floor(v % 86400 / 3600) + ' h';
}

const octets = (n) => !n ? '–' : n < 1 << 30 ? (n / (1 << 20)).toFixed(n < 10 << 20 ? 1 : 0) + ' MB' : (n / (1 << 30)).toFixed(1) + ' GB';
const plural = (n, one, many) => n + ' ' + (n === 1 ? one : many);
const shown = (all, n) => all > n ? `${n} of ${all}` : all ? String(all) : '';

// ---- rows

// set writes a text where it has changed: a selection, and what a screen reader reads, stay.
function set(e, text, title) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
  if (title !== undefined && e.title !== title) e.title = title;
}

function element(name, className, ...children) {
  const e = document.createElement(name);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

// keyed keeps one row for each item. Rows stay the same elements, so that focus stays.
function keyed(parent, items, key, make, update) {
  const rows = parent.rowsByKey || (parent.rowsByKey = new Map());
  const seen = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    if (seen.has(k)) continue;
    seen.add(k);
    let row = rows.get(k);
    if (!row) {
      row = make(item);
      rows.set(k, row);
    }
    if (row === place) place = place.nextElementSibling;
    else if (row.contains(document.activeElement)) move(parent, row, place);
    else parent.insertBefore(row, place);
    update(row, item);
  }
  for (const [k, row] of rows) {
    if (!seen.has(k)) {
      if (row.contains(document.activeElement)) $('main').querySelector('section[tabindex]').focus({preventScroll: true});
      row.remove();
      rows.delete(k);
    }
  }
}

// move takes a row to its place without taking the focus from what is in it.
function move(parent, row, place) {
  const focused = document.activeElement;
  parent.insertBefore(row, place);
  focused.focus({preventScroll: true});
}

// cells makes a row of a table; labels are for a screen that is too narrow for columns.
function cells(labels) {
  const tr = document.createElement('tr');
  for (const [label, className] of labels) {
    const td = element(label === '#' ? 'th' : 'td', className);
    if (label === '#') td.scope = 'row';
    else td.dataset.label = label;
    tr.append(td);
  }
  return tr;
}

function badge(e, mode) {
  set(e, mode);
  e.className = 'badge ' + mode;
}

// ---- state

let samples = [];
let live = null;
let about = {controls: []};
let token = sessionStorage.getItem('warmcgi-token');

const charts = [
  new Chart('chart-rate', [{key: 'rate', label: 'per second', kind: 'blue'}], number, 1),
  new Chart('chart-time', [{key: 'p50', label: 'median', kind: 'blue'}, {key: 'p95', label: '95 %', kind: 'amber'}, {key: 'p99', label: '99 %', kind: 'red'}], seconds, 0.001),
  new Chart('chart-load', [{key: 'running', label: 'under way', kind: 'blue'}, {key: 'queue', label: 'waiting', kind: 'amber'}], number, 1),
  new Chart('chart-errors', [{key: 'errors', label: 'per second', kind: 'red'}], number, 1),
];

const can = (what) => about.controls.includes(what);

function onAbout(a) {
  about = a;
  set($('host'), a.host);
  document.title = a.host + ' · warmcgi';
  set($('software'), `${a.software} · ${a.go} · process ${a.pid}`);
  $('level-box').hidden = !can('log_level');
  $('reload').hidden = !can('reload');
  $('drain').hidden = !can('drain');
}

function onLive(l) {
  live = l;
  const last = samples[samples.length - 1];
  if (l.sample.t && (!last || l.sample.t > last.t)) {
    samples.push(l.sample);
    if (samples.length > 300) samples.shift();
  }
  for (const c of charts) c.set(samples);
  const now = Date.parse(l.at) / 1000;
  head(l, now);
  scripts(l);
  workers(l, now);
  requests(l, now);
  servers(l);
}

function head(l, now) {
  const state = l.stopping ? 'ending' : l.draining ? 'draining' : 'ready';
  const e = $('ready');
  set(e, state, l.draining ? `by ${l.draining.by}, since ${clock(new Date(l.draining.at))}` : '');
  e.dataset.state = state === 'ready' ? 'good' : 'wait';
  set($('uptime'), 'up ' + age(now - Date.parse(about.started) / 1000));
  set($('drain'), l.draining ? 'End draining' : 'Drain');
  if (document.activeElement !== $('level')) $('level').value = l.log_level || 'info';
}

// why says in words why a script is in its mode.
function why(s) {
  if (s.mode === 'fastcgi') return 'a FastCGI application';
  if (s.why) return s.why;
  if (!s.pooled && s.wanted === 'spawn') return 'its route says so';
  switch (s.state) {
    case 'cold': return 'not asked for often enough yet';
    case 'ready': return s.mode === 'reuse' && s.wanted === 'auto' && !s.pin ? 'its comment asks for it' : s.pin ? '' : s.wanted === 'auto' ? 'it is asked for often' : 'its route says so';
  }
  return s.state || '';
}

const sorts = {
  name: (a, b) => a.script < b.script ? -1 : 1,
  rate: (a, b) => b.rate - a.rate || sorts.name(a, b),
  p95: (a, b) => (b.p95 || 0) - (a.p95 || 0) || sorts.name(a, b),
  errors: (a, b) => b.failed - a.failed || sorts.name(a, b),
};

function scripts(l) {
  const want = $('filter').value.toLowerCase();
  const list = l.scripts.filter((s) => s.script.toLowerCase().includes(want)).sort(sorts[$('sort').value]);
  set($('scripts-count'), shown(l.all_scripts, list.length));
  $('scripts-empty').hidden = list.length > 0;
  set($('scripts-empty'), l.scripts.length ? 'No script has that in its name.' : 'No script was asked for yet.');
  keyed($('script-rows'), list, (s) => s.script, newScript, updateScript);
}

function newScript(s) {
  const row = cells([['#', 'name'], ['Mode', 'mode'], ['Req/s', 'n'], ['Median', 'n'], ['95 %', 'n'], ['Errors', 'n'], ['Waiting', 'n'], ['Workers', 'bar'], ['', 'act']]);
  const c = row.children;
  c[1].append(element('span', 'badge'), ' ', element('span', 'why'), element('details', 'long', element('summary', 'why'), element('p', 'why')), element('span', 'pin'));
  const track = element('span', 'track', element('i', 'busy'), element('i', 'idle'));
  c[7].append(track, element('span', 'text'));
  const button = (text, action) => {
    const b = element('button', 'small', text);
    b.type = 'button';
    b.setAttribute('aria-label', `${text}: ${s.script}`);
    b.addEventListener('click', () => action(s.script));
    c[8].append(b);
    return b;
  };
  row.buttons = [button('Restart', askRestart), button('Mode', askMode), button('Workers', askWorkers)];
  return row;
}

// reasons shows a short reason as it is, and of a long one its beginning, which opens.
function reasons(cell, text) {
  const [short, long] = [cell.querySelector('span.why'), cell.querySelector('details')];
  const end = text.search(/\n|(?<=.{120}) /);
  short.hidden = end >= 0;
  long.hidden = end < 0;
  set(short, end < 0 ? text : '');
  set(long.firstElementChild, end < 0 ? '' : text.slice(0, end) + ' …');
  set(long.lastElementChild, end < 0 ? '' : text);
}

function updateScript(row, s) {
  const c = row.children;
  set(c[0], s.script);
  badge(c[1].querySelector('.badge'), s.mode);
  reasons(c[1], why(s));
  const notes = [];
  if (s.pin && s.state !== 'held') notes.push(`allowed up to ${s.pin.mode} by ${s.pin.by}, ${clock(new Date(s.pin.at))}`);
  if (s.pin && s.state === 'held') notes.push('since ' + clock(new Date(s.pin.at)));
  if (s.limits) notes.push(`workers set by ${s.limits.by}, ${clock(new Date(s.limits.at))}`);
  set(c[1].querySelector('.pin'), notes.join('; '));
  set(c[2], number(s.rate), `${s.requests.toLocaleString('en')} since the start`);
  set(c[3], seconds(s.p50));
  set(c[4], seconds(s.p95));
  set(c[5], s.failed ? s.failed.toLocaleString('en') : '0', s.error_rate > 0 ? number(s.error_rate) + ' per second' : 'since the start');
  c[5].classList.toggle('bad', s.error_rate > 0);
  set(c[6], s.waiting);
  c[6].classList.toggle('warn', s.waiting > 0);
  const most = Math.max(s.max || 0, s.busy + s.idle, 1);
  const track = c[7].firstElementChild;
  track.hidden = !s.pooled;
  track.children[0].style.width = 100 * s.busy / most + '%';
  track.children[1].style.width = 100 * s.idle / most + '%';
  set(c[7].lastElementChild, s.pooled ? `${s.busy} busy, ${s.idle} idle of ${s.max}` : '–');
  for (const b of row.buttons) b.hidden = !s.pooled;
  row.buttons[0].disabled = s.state === 'cold' || s.state === 'held';
}

function workers(l, now) {
  set($('workers-count'), l.workers.length || '');
  $('workers-empty').hidden = l.workers.length > 0;
  keyed($('worker-rows'), l.workers, (w) => w.pid + ' ' + w.born,
    () => cells([['Pid', 'n pid'], ['#', 'name'], ['Mode', ''], ['State', ''], ['Request', 'request'], ['For', 'n'], ['Age', 'n'], ['Answered', 'n'], ['PSS', 'n'], ['RSS', 'n']]),
    (row, w) => {
      const c = row.children;
      set(c[0], w.pid);
      set(c[1], w.script);
      set(c[2], w.mode);
      set(c[3], w.state === 'parent' ? 'warm parent' : w.state);
      row.dataset.state = w.state;
      set(c[4], w.current ? line(w.current) : '', w.current ? 'id ' + w.current.id : '');
      set(c[5], w.current ? seconds(Math.max(0, now - Date.parse(w.current.began) / 1000)) : '');
      set(c[6], age(now - Date.parse(w.born) / 1000));
      set(c[7], w.mode === 'reuse' && w.state !== 'parent' ? w.requests : '');
      set(c[8], octets(w.pss));
      set(c[9], octets(w.rss));
    });
}

const line = (r) => r.method + ' ' + r.path + (r.query ? '?' + r.query : '');

function requests(l, now) {
  set($('requests-count'), shown(l.all_requests, l.requests.length));
  $('requests-empty').hidden = l.requests.length > 0;
  keyed($('request-rows'), l.requests, (r) => r.id + ' ' + r.began,
    () => cells([['For', 'n'], ['#', 'request'], ['Script', 'name'], ['Id', 'id']]),
    (row, r) => {
      const c = row.children;
      set(c[0], seconds(Math.max(0, now - Date.parse(r.began) / 1000)));
      set(c[1], line(r));
      set(c[2], r.script || '–');
      set(c[3], r.id);
    });
}

function servers(l) {
  const list = l.applications.flatMap((a, i) => a.servers.map((s, j) => ({...s, key: `${i} ${j}`, route: a.route, role: a.role, waiting: j === 0 ? a.waiting : null})));
  $('servers').hidden = list.length === 0;
  set($('servers-count'), list.length);
  keyed($('server-rows'), list, (s) => s.key,
    () => {
      const row = cells([['Route', ''], ['#', 'name'], ['State', ''], ['Requests', 'n'], ['Room', 'n'], ['Kept', 'n'], ['Waiting', 'n']]);
      row.children[2].append(element('span', 'pill'));
      return row;
    },
    (row, s) => {
      const c = row.children;
      set(c[0], s.route + (s.role === 'responder' ? '' : ' (' + s.role + ')'));
      set(c[1], s.server);
      set(c[2].firstElementChild, s.out ? (s.out === 'starting' ? s.out : 'left out: ' + s.out) : 'in');
      c[2].firstElementChild.dataset.state = s.out ? (s.out === 'starting' ? 'wait' : 'bad') : 'good';
      set(c[3], s.requests);
      set(c[4], s.room);
      set(c[5], s.idle);
      set(c[6], s.waiting === null ? '' : s.waiting);
    });
}

const FEW = 8; // failures that are shown at first
let failures = [];

function onFailures(list) {
  failures = list;
  const all = $('failures-all');
  const few = all.getAttribute('aria-expanded') === 'false';
  set($('failures-count'), list.length || '');
  $('failures-empty').hidden = list.length > 0;
  all.hidden = list.length <= FEW;
  set(all, few ? 'Show all' : 'Show the last ' + FEW);
  keyed($('failure-rows'), few ? list.slice(0, FEW) : list, (f) => f.number, newFailure, updateFailure);
}

$('failures-all').addEventListener('click', () => {
  const all = $('failures-all');
  all.setAttribute('aria-expanded', all.getAttribute('aria-expanded') === 'false');
  onFailures(failures);
});

function newFailure() {
  const summary = element('summary', '', element('time'), ' ', element('span', 'pill'), ' ', element('span', 'request'), ' ', element('span', 'why'));
  const facts = element('dl');
  for (const name of ['Script', 'Mode', 'Route', 'Request id', 'Error']) facts.append(element('div', '', element('dt', '', name), element('dd')));
  const output = element('pre');
  output.tabIndex = 0;
  output.setAttribute('aria-label', 'Standard error of the script');
  const details = element('details', '', summary, element('div', 'more', facts, element('h3', '', 'Standard error'), output));
  return element('li', '', details);
}

function updateFailure(li, f) {
  const at = new Date(f.at);
  const time = li.querySelector('time');
  set(time, clock(at), at.toLocaleString());
  if (time.dateTime !== f.at) time.dateTime = f.at;
  const pill = li.querySelector('.pill');
  set(pill, f.broken_off ? 'broken off' : f.status);
  pill.dataset.state = 'bad';
  set(li.querySelector('.request'), line(f));
  set(li.querySelector('.why'), f.why === 'script' ? 'the script has answered so' : f.why.replaceAll('_', ' '));
  const values = [f.script, f.mode, f.route, f.id, f.error];
  li.querySelectorAll('dl > div').forEach((d, i) => {
    d.hidden = !values[i];
    set(d.lastElementChild, values[i] || '');
  });
  set(li.querySelector('h3'), f.stderr ? 'Standard error' : 'It has written nothing to standard error.');
  const pre = li.querySelector('pre');
  pre.hidden = !f.stderr;
  set(pre, (f.stderr || []).join('\n'));
}

for (const id of ['filter', 'sort']) $(id).addEventListener('input', () => live && scripts(live));

// ---- control

// note says what has happened, once.
let noteTimer;
function note(text, bad) {
  clearTimeout(noteTimer);
  $('note').className = bad ? 'note bad' : 'note';
  set($('note'), text);
  noteTimer = setTimeout(() => set($('note'), ''), 12e3);
}

function headers(more) {
  const h = {'X-Warmcgi-Control': '1', ...more};
  if (token) h.Authorization = 'Bearer ' + token;
  return h;
}

// control does something at the gateway, and returns what was done in words.
async function control(method, path, body) {
  let res;
  try {
    res = await fetch('api/v1/' + path, {method, headers: headers({'Content-Type': 'application/json'}), body: JSON.stringify(body), cache: 'no-store'});
  } catch {
    throw new Error('The gateway does not answer.');
  }
  const said = await res.json().catch(() => ({}));
  if (res.status === 401) {
    askToken(said.error);
    throw new Error('The token is needed first.');
  }
  if (!res.ok) throw new Error(said.error || `The gateway says ${res.status}.`);
  return said.done;
}

let asking = null; // what the dialog does when it is confirmed

// ask has an action confirmed. fields may be put in; act gets them.
function ask({title, text, yes, danger, fields, act}) {
  set($('ask-title'), title);
  set($('ask-text'), text);
  set($('ask-yes'), yes);
  set($('ask-error'), '');
  $('ask-yes').className = danger ? 'main danger' : 'main';
  $('ask-yes').disabled = false;
  $('ask-fields').replaceChildren(...(fields ? [fields] : []));
  asking = act;
  $('ask').showModal();
  const first = $('ask-fields').querySelector('input:checked, input:not([type=radio])');
  (first || $('ask-no')).focus(); // what does nothing, where there is nothing to choose
}

$('ask-no').addEventListener('click', () => $('ask').close());
$('ask').querySelector('form').addEventListener('submit', async (e) => {
  e.preventDefault();
  const act = asking;
  $('ask-yes').disabled = true;
  try {
    note(await act($('ask-fields')));
    $('ask').close();
  } catch (err) {
    set($('ask-error'), err.message);
  }
  $('ask-yes').disabled = false;
});

const find = (script) => live.scripts.find((s) => s.script === script) || {};

function askRestart(script) {
  ask({
    title: 'Restart the workers?',
    text: `${script} is loaded anew. Requests that run end as usual, and the workers there are answer until the new ones are ready.`,
    yes: 'Restart',
    act: () => control('POST', 'scripts/restart', {script}),
  });
}

function askMode(script) {
  const s = find(script);
  const fields = document.importNode($('mode-fields').content, true);
  set(fields.querySelector('input[value=configured] ~ span'), s.wanted || '');
  fields.querySelector(`input[value=${s.pin ? s.pin.mode : 'configured'}]`).checked = true;
  ask({
    title: 'Mode of ' + script,
    text: 'A script that is not safe in a mode loses it again, as ever.',
    yes: 'Set mode',
    fields,
    act: (f) => control('PUT', 'scripts/mode', {script, mode: f.querySelector('input:checked').value}),
  });
}

function askWorkers(script) {
  const s = find(script);
  const fields = document.importNode($('worker-fields').content, true);
  const max = fields.querySelector('[name=max]'), spare = fields.querySelector('[name=spare]'), configured = fields.querySelector('[name=configured]');
  max.value = s.max;
  spare.value = s.spare;
  configured.addEventListener('change', () => { max.disabled = spare.disabled = configured.checked; });
  ask({
    title: 'Workers of ' + script,
    text: 'At most so many requests of it run at once, and so many idle workers are kept at least. Those beyond the numbers end what they do.',
    yes: 'Set workers',
    fields,
    act: () => control('PUT', 'scripts/workers', configured.checked ? {script} : {script, max: Number(max.value), spare: Number(spare.value)}),
  });
}

$('reload').addEventListener('click', () => ask({
  title: 'Read the configuration again?',
  text: 'If there is anything wrong with it, everything stays as it is.',
  yes: 'Reload',
  act: () => control('POST', 'reload', {}),
}));

$('drain').addEventListener('click', () => {
  const on = !(live && live.draining);
  ask({
    title: on ? 'Drain this gateway?' : 'Take requests again?',
    text: on ? 'It says that it is not ready (/readyz), so that a load balancer sends it nothing new. It answers whatever still comes.'
      : 'It says that it is ready (/readyz).',
    yes: on ? 'Drain' : 'End draining',
    danger: on,
    act: () => control('PUT', 'drain', {draining: on}),
  });
});

$('level').addEventListener('change', () => {
  const level = $('level').value;
  $('level').blur();
  ask({
    title: `Log ${level} and above?`,
    text: 'It holds until the gateway is started again.' + (level === 'debug' ? ' At debug there may be several lines for each request.' : ''),
    yes: 'Set level',
    act: () => control('PUT', 'log-level', {level}),
  });
});

// ---- token

function askToken(error) {
  token = null;
  sessionStorage.removeItem('warmcgi-token');
  set($('token-error'), error || '');
  $('token-value').value = '';
  if ($('ask').open) $('ask').close();
  if (!$('token').open) $('token').showModal();
}

$('token').addEventListener('cancel', (e) => e.preventDefault()); // there is nothing to see without it
$('token').querySelector('form').addEventListener('submit', (e) => {
  e.preventDefault();
  token = $('token-value').value;
  $('token-value').value = '';
  sessionStorage.setItem('warmcgi-token', token);
  $('token').close();
  connect();
});

// ---- connection

const SILENCE = 20e3; // the gateway says something every second

let attempt = null; // the connection there is, or the wait for the next
let failedTries = 0;
let lastSeen = 0;

const wait = (ms, signal) => new Promise((done) => {
  const t = setTimeout(done, ms);
  signal.addEventListener('abort', () => { clearTimeout(t); done(); });
});

// connect listens to the events until something is wrong with that, and then begins anew.
async function connect() {
  if (attempt) attempt.abort();
  const mine = attempt = new AbortController();
  while (!mine.signal.aborted) {
    let said = '';
    try {
      const res = await fetch('api/v1/events', {headers: headers(), cache: 'no-store', signal: mine.signal});
      if (res.status === 401) {
        const had = token !== null;
        const no = await res.json().catch(() => ({}));
        link('wait', 'token wanted');
        askToken(had ? no.error : '');
        return;
      }
      if (res.ok) {
        await listen(res.body, mine);
        said = 'The gateway has ended it.';
      } else {
        said = (await res.json().catch(() => ({}))).error || `The gateway says ${res.status}.`;
      }
    } catch (err) {
      said = err.name === 'TimeoutError' ? 'Nothing came for a while.' : 'The gateway does not answer.';
    }
    if (mine.signal.aborted && mine !== attempt) return;
    await lost(said, mine.signal);
  }
}

// listen reads server-sent events: EventSource can't send a token.
async function listen(body, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '', timer, silent;
  const silence = new Promise((_, no) => { silent = no; });
  silence.catch(() => {});
  try {
    for (;;) {
      timer = setTimeout(() => silent(new DOMException('silent', 'TimeoutError')), SILENCE);
      const {value, done} = await Promise.race([reader.read(), silence]);
      clearTimeout(timer);
      if (done) return;
      text += value;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) take(text.slice(0, end));
      if (mine.signal.aborted) return;
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}

function take(block) {
  let name = '', data = '';
  for (const l of block.split('\n')) {
    if (l.startsWith('event: ')) name = l.slice(7);
    if (l.startsWith('data: ')) data += l.slice(6);
  }
  found();
  if (!data) return; // a sign of life
  const o = JSON.parse(data);
  switch (name) {
    case 'about': onAbout(o); break;
    case 'history': samples = o.samples; break;
    case 'live': onLive(o); break;
    case 'failures': onFailures(o.failures); break;
  }
}

function link(state, text) {
  $('link').dataset.state = state;
  set($('link'), text);
}

// found: there is a connection.
function found() {
  lastSeen = Date.now();
  if (document.body.dataset.link === 'live') return;
  if (document.body.dataset.link === 'lost') note('Connected again.');
  document.body.dataset.link = 'live';
  failedTries = 0;
  link('good', 'live');
  $('lost').hidden = true;
}

let hurry = () => {};

// lost says so, and waits until it is time to try again.
async function lost(said, signal) {
  if (document.body.dataset.link !== 'lost') note('Connection lost. What is shown is old.', true);
  document.body.dataset.link = 'lost';
  link('bad', 'connection lost');
  $('lost').hidden = false;
  const pause = Math.min(15, 2 ** failedTries++) * (0.8 + 0.4 * Math.random());
  const until = Date.now() + pause * 1000;
  const rest = new AbortController();
  hurry = () => rest.abort();
  signal.addEventListener('abort', hurry);
  while (!rest.signal.aborted && Date.now() < until) {
    const old = lastSeen ? ` What is shown is ${age((Date.now() - lastSeen) / 1000)} old.` : '';
    set($('lost-text'), `${said}${old} Next try in ${Math.ceil((until - Date.now()) / 1000)} s.`);
    await wait(Math.min(500, until - Date.now()), rest.signal);
  }
}

$('retry').addEventListener('click', () => hurry());
window.addEventListener('online', () => hurry());

connect();
