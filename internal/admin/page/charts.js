'use strict';
// Line charts of the last five minutes, in SVG. Nothing in here makes HTML of a text.

const SVG = 'http://www.w3.org/2000/svg';
const SPAN = 300e3; // milliseconds that a chart shows

function svg(name, attributes, parent) {
  const e = document.createElementNS(SVG, name);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (parent) parent.append(e);
  return e;
}

// ceiling is the end of a scale: a round number.
function ceiling(v) {
  const p = 10 ** Math.floor(Math.log10(v));
  for (const m of [1, 1.5, 2, 3, 4, 6, 8, 10]) if (v <= m * p * 1.0001) return m * p;
  return 10 * p;
}

class Chart {
  // lines: [{key, label, kind}]; format makes a text of a value; least is the shortest scale.
  constructor(id, lines, format, least) {
    this.figure = document.getElementById(id);
    this.title = this.figure.querySelector('h2').textContent;
    this.now = this.figure.querySelector('.now');
    this.plot = this.figure.querySelector('.plot');
    this.lines = lines;
    this.format = format;
    this.least = least;
    this.samples = [];
    this.svg = svg('svg', {role: 'img', preserveAspectRatio: 'none'}, this.plot);
    this.grid = svg('g', {class: 'grid'}, this.svg);
    this.paths = lines.map((l, i) => {
      const area = i === 0 && lines.length < 3 ? svg('path', {class: 'area ' + l.kind}, this.svg) : null;
      return {area, line: svg('path', {class: 'line ' + l.kind}, this.svg)};
    });
    this.cross = svg('line', {class: 'cross', visibility: 'hidden'}, this.svg);
    this.labels = lines.map((l) => {
      const span = document.createElement('span');
      span.className = 'value ' + l.kind;
      const b = document.createElement('b');
      const name = document.createElement('span');
      name.textContent = l.label;
      span.append(b, ' ', name);
      this.now.append(span);
      return b;
    });
    this.when = document.createElement('span');
    this.when.className = 'when';
    this.now.append(this.when);
    this.at = null;
    this.plot.addEventListener('pointermove', (e) => this.point(e));
    this.plot.addEventListener('pointerleave', () => { this.at = null; this.read(); });
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  set(samples) {
    this.samples = samples;
    this.draw();
  }

  // point shows the values of the moment under the pointer.
  point(e) {
    const box = this.plot.getBoundingClientRect();
    const t = this.end - SPAN + (e.clientX - box.left) / box.width * SPAN;
    let best = null;
    for (const s of this.samples) if (best === null || Math.abs(s.t - t) < Math.abs(best.t - t)) best = s;
    this.at = best && Math.abs(best.t - t) < 5e3 ? best : null;
    this.read();
  }

  read() {
    const s = this.at || this.samples[this.samples.length - 1];
    this.lines.forEach((l, i) => { this.labels[i].textContent = s && s[l.key] !== null ? this.format(s[l.key]) : '–'; });
    this.when.textContent = this.at ? clock(new Date(this.at.t)) : '';
    if (this.at) {
      const x = this.x(this.at.t);
      for (const k of ['x1', 'x2']) this.cross.setAttribute(k, x);
      this.cross.setAttribute('y1', 0);
      this.cross.setAttribute('y2', this.height);
    }
    this.cross.setAttribute('visibility', this.at ? 'visible' : 'hidden');
  }

  x(t) { return (1 - (this.end - t) / SPAN) * this.width; }

  draw() {
    this.width = Math.max(this.plot.clientWidth, 50);
    this.height = Math.max(this.plot.clientHeight, 40);
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
    const last = this.samples[this.samples.length - 1];
    this.end = last ? last.t : Date.now();
    const shown = this.samples.filter((s) => s.t > this.end - SPAN);
    let top = this.least;
    for (const s of shown) for (const l of this.lines) top = Math.max(top, s[l.key] || 0);
    top = ceiling(top);
    const floor = this.height - 1, head = 14;
    const y = (v) => floor - v / top * (floor - head);

    this.grid.replaceChildren();
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(top * share)) + 0.5;
      svg('line', {x1: 0, x2: this.width, y1: at, y2: at}, this.grid);
      if (share) svg('text', {x: 2, y: at - 3}, this.grid).textContent = this.format(top * share);
    }
    this.lines.forEach((l, i) => {
      let line = '', area = '', open = null, before = 0;
      const close = (x) => { if (open !== null) area += `L${x} ${floor}L${open} ${floor}Z`; open = null; };
      let x = 0;
      for (const s of shown) {
        const v = s[l.key];
        if (v === null || s.t - before > 5e3) close(x); // nothing there, or nothing known
        before = s.t;
        if (v === null) continue;
        x = this.x(s.t).toFixed(1);
        const p = `${x} ${y(v).toFixed(1)}`;
        line += (open === null ? 'M' : 'L') + p;
        area += (open === null ? 'M' : 'L') + p;
        if (open === null) open = x;
      }
      close(x);
      this.paths[i].line.setAttribute('d', line);
      if (this.paths[i].area) this.paths[i].area.setAttribute('d', area);
    });
    this.read();
    const values = this.lines.map((l, i) => `${l.label} ${this.labels[i].textContent}`).join(', ');
    this.svg.setAttribute('aria-label', `${this.title}, the last five minutes. Now: ${values}`);
  }
}

function clock(d) {
  return d.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23'});
}
