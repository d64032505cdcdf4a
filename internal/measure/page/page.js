'use strict';
// Draws the charts of the report from the figures in this page. Each is drawn anew when its width changes.
(() => {
const report = JSON.parse(document.getElementById('data').textContent);
const charts = document.getElementById('charts');
const tip = document.getElementById('tip');

// ---- words and numbers

const three = v => v >= 99.95 ? Math.round(v).toLocaleString('en-US') : v >= 9.995 ? v.toFixed(1) : v.toFixed(2);
const count = v => Number.isInteger(v) ? v.toLocaleString('en-US') : three(v);
const seconds = s => s < 0.9995e-3 ? three(s * 1e6) + ' µs' : s < 0.9995 ? three(s * 1e3) + ' ms' : three(s) + ' s';
const octets = b => b < 1 << 20 ? three(b / 1024) + ' KiB' : b < 1 << 30 ? three(b / (1 << 20)) + ' MiB' : three(b / (1 << 30)) + ' GiB';
const short = f => v => f(v).replace(/\.0+(?=\D|$)/, '').replace(/(\.\d*?)0+(?=\D|$)/, '$1');
const percent = q => (q < 0.9 ? three(100 * q).replace(/\.?0+$/, '') : (100 * q).toFixed(Math.max(0, Math.ceil(-Math.log10(1 - q)) - 1)).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '')) + ' %';

const median = v => { const s = [...v].sort((a, b) => a - b); return s.length ? (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2 : 0; };

// ---- elements

const make = (name, attrs = {}, ...inner) => {
	const e = document.createElement(name);
	for (const k in attrs) e.setAttribute(k, attrs[k]);
	e.append(...inner);
	return e;
};
const draw = (to, name, attrs = {}, text) => {
	const e = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const k in attrs) e.setAttribute(k, attrs[k]);
	if (text !== undefined) e.textContent = text;
	to.append(e);
	return e;
};
const table = (head, rows) => make('div', {class: 'wide'}, make('table', {},
	make('thead', {}, make('tr', {}, ...head.map(h => make('th', {}, h)))),
	make('tbody', {}, ...rows.map(r => make('tr', {}, ...r.map(c => make('td', {}, c)))))));

// mark is the shape of a series' points: it tells them apart without colour.
const mark = (to, i, x, y, r) => {
	const shape = i % 4;
	if (shape === 0) return draw(to, 'circle', {class: 'mark f' + i, cx: x, cy: y, r});
	const d = shape === 1 ? `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`
		: shape === 2 ? `M${x},${y - r * 1.2}L${x + r * 1.2},${y + r}H${x - r * 1.2}z`
		: `M${x},${y - r * 1.3}L${x + r * 1.3},${y}L${x},${y + r * 1.3}L${x - r * 1.3},${y}z`;
	return draw(to, 'path', {class: 'mark f' + i, d});
};

const showTip = (x, y, title, rows) => {
	tip.replaceChildren(make('strong', {}, title), make('table', {}, ...rows.map(r => make('tr', {}, ...r.map(c => make('td', {}, c))))));
	tip.style.visibility = 'visible';
	const w = tip.offsetWidth, h = tip.offsetHeight;
	tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - w - 4)) + 'px';
	tip.style.top = (y + h + 24 < innerHeight ? y + 14 : Math.max(4, y - h - 14)) + 'px';
};
const hideTip = () => { tip.style.visibility = 'hidden'; };

// figure makes a chart's place: title, what it says, legend, drawing, table.
const figure = (id, title, about, series, broad, paint, head, rows) => {
	const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
	svg.setAttribute('class', 'chart');
	svg.setAttribute('role', 'img');
	svg.setAttribute('aria-label', title + '. The figures are in the table below.');
	const legend = make('ul', {class: 'legend'});
	for (const s of series) {
		const key = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
		key.setAttribute('viewBox', '0 0 22 12');
		draw(key, 'path', {class: 'line s' + s.colour, d: 'M0,6H22'});
		mark(key, s.colour, 11, 6, 4);
		legend.append(make('li', {}, key, s.name));
	}
	const f = make('figure', {id, class: broad ? 'broad' : ''}, make('h2', {}, title), make('p', {}, about), ...(series.length > 1 ? [legend] : []), svg,
		make('details', {}, make('summary', {}, 'as a table'), table(head, rows)));
	charts.append(f);
	let drawn = 0;
	new ResizeObserver(() => {
		const width = Math.round(svg.clientWidth);
		if (!width || width === drawn) return;
		drawn = width;
		svg.replaceChildren();
		paint(svg, width);
	}).observe(svg);
};

// ---- scales

const logTicks = (least, most) => {
	const all = [];
	for (let e = Math.floor(Math.log10(least)); e <= Math.ceil(Math.log10(most)); e++)
		for (const m of [1, 2, 5]) all.push(m * 10 ** e);
	const from = all.filter(t => t <= least * 1.0001).pop() ?? all[0];
	const to = all.find(t => t >= most * 0.9999) ?? all[all.length - 1];
	let ticks = all.filter(t => t >= from * 0.9999 && t <= to * 1.0001);
	if (ticks.length > 9) ticks = ticks.filter(t => Math.abs(Math.log10(t) - Math.round(Math.log10(t))) < 1e-9 || t === from || t === to);
	return ticks;
};
const linearTicks = most => {
	const step = [1, 2, 2.5, 5, 10].map(m => m * 10 ** Math.floor(Math.log10(most / 4))).find(s => most / s <= 5) || most;
	const ticks = [];
	for (let i = 0; ; i++) {
		ticks.push(i * step);
		if (i * step >= most * 0.9999) return ticks;
	}
};

// ---- charts

// bars has a bar for each series: parts beside each other, whiskers for the range.
const bars = (svg, width, items, format, unit, base = 1) => {
	const left = 14 + 7.6 * Math.max(...items.map(i => i.name.length)), right = 92, row = 38, top = 8, bottom = 38;
	const height = top + row * items.length + bottom;
	svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
	svg.style.height = height + 'px';
	const most = Math.max(...items.map(i => Math.max(i.value, i.to ?? 0))) || 1;
	const ticks = linearTicks(most / base).map(t => t * base);
	const span = Math.max(10, width - left - right), x = v => left + span * v / ticks[ticks.length - 1];
	const every = Math.ceil(ticks.length * 58 / span);
	ticks.forEach((t, i) => {
		draw(svg, 'path', {class: 'grid', d: `M${x(t)},${top}V${height - bottom}`});
		if (i % every === 0) draw(svg, 'text', {x: x(t), y: height - bottom + 15, 'text-anchor': 'middle'}, i ? short(format)(t) : '0');
	});
	draw(svg, 'text', {x: left + span / 2, y: height - 5, 'text-anchor': 'middle'}, unit);
	items.forEach((it, i) => {
		const y = top + row * i + 6, h = row - 12;
		draw(svg, 'text', {x: left - 8, y: y + h / 2 + 4, 'text-anchor': 'end', class: 'value'}, it.name);
		let at = 0;
		for (const [j, part] of (it.parts || [it.value]).entries()) {
			draw(svg, 'path', {class: `bar f${it.colour}` + (j ? ' part' : ''), 'data-series': it.name, d: `M${x(at)},${y}H${x(at + part)}V${y + h}H${x(at)}z`});
			at += part;
		}
		let end = x(it.value);
		if (it.to > it.from) {
			const m = y + h / 2;
			draw(svg, 'path', {class: 'whisker', d: `M${x(it.from)},${m}H${x(it.to)}M${x(it.from)},${m - 5}V${m + 5}M${x(it.to)},${m - 5}V${m + 5}`});
			end = Math.max(end, x(it.to));
		}
		draw(svg, 'text', {x: end + 7, y: y + h / 2 + 4, class: 'value'}, format(it.value));
		const hit = draw(svg, 'rect', {x: 0, y: top + row * i, width, height: row, fill: 'transparent'});
		const show = e => showTip(e.clientX, e.clientY, it.name, it.tip);
		hit.addEventListener('pointermove', show);
		hit.addEventListener('pointerdown', show);
		hit.addEventListener('pointerleave', hideTip);
	});
	draw(svg, 'path', {class: 'axis', d: `M${left},${top}V${height - bottom}`});
};

// lines has a line for each series over a common x; y is logarithmic.
const lines = (svg, width, o) => {
	const height = Math.max(240, Math.min(360, width * 0.5)), left = 62, right = 16, top = 12, bottom = 44;
	svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
	svg.style.height = height + 'px';
	const values = o.series.flatMap(s => s.points.map(p => p[1])).filter(v => v > 0);
	if (!values.length) return;
	const ticks = logTicks(Math.min(...values), Math.max(...values));
	const low = Math.log10(ticks[0]), high = Math.log10(ticks[ticks.length - 1]);
	const y = v => top + (height - top - bottom) * (1 - (Math.log10(Math.max(v, ticks[0])) - low) / (high - low || 1));
	const [x0, x1] = o.range, x = v => left + (width - left - right) * (v - x0) / (x1 - x0 || 1);
	let above = Infinity;
	for (const t of ticks) {
		draw(svg, 'path', {class: 'grid', d: `M${left},${y(t)}H${width - right}`});
		if (above - y(t) < 14) continue;
		above = y(t);
		draw(svg, 'text', {x: left - 7, y: y(t) + 4, 'text-anchor': 'end'}, short(o.format)(t));
	}
	let taken = -Infinity;
	for (const [at, text] of o.ticks) {
		draw(svg, 'path', {class: 'grid', d: `M${x(at)},${top}V${height - bottom}`});
		if (x(at) - taken < 44) continue;
		taken = x(at);
		draw(svg, 'text', {x: x(at), y: height - bottom + 16, 'text-anchor': 'middle'}, text);
	}
	draw(svg, 'text', {x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle'}, o.unit);
	draw(svg, 'path', {class: 'axis', d: `M${left},${top}V${height - bottom}H${width - right}`});
	for (const s of o.series) {
		if (!s.points.length) continue;
		draw(svg, 'path', {class: 'line s' + s.colour, 'data-series': s.name, d: 'M' + s.points.map(p => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join('L')});
		if (o.marks) for (const p of s.points) mark(svg, s.colour, x(p[0]), y(p[1]), 4);
	}
	// hover, touch and arrow keys go from one x to the next
	const xs = [...new Set(o.series.flatMap(s => s.points.map(p => p[0])))].sort((a, b) => a - b);
	const cross = draw(svg, 'path', {class: 'cross'}), dots = draw(svg, 'g');
	let now = -1;
	const show = (i, px, py) => {
		now = i;
		const at = xs[i];
		cross.setAttribute('d', `M${x(at)},${top}V${height - bottom}`);
		dots.replaceChildren();
		const rows = [];
		for (const s of o.series) {
			const p = o.at(s, at);
			if (!p) continue;
			mark(dots, s.colour, x(at), y(p[1]), 4.5);
			rows.push([s.name, o.format(p[1])]);
		}
		const box = svg.getBoundingClientRect();
		showTip(px ?? box.left + x(at), py ?? box.top + top, o.title(at), rows);
	};
	const point = e => {
		const at = e.clientX - svg.getBoundingClientRect().left;
		let best = 0;
		xs.forEach((v, i) => { if (Math.abs(x(v) - at) < Math.abs(x(xs[best]) - at)) best = i; });
		show(best, e.clientX, e.clientY);
	};
	const leave = () => { hideTip(); cross.removeAttribute('d'); dots.replaceChildren(); };
	svg.onpointermove = svg.onpointerdown = point;
	svg.onpointerleave = svg.onblur = leave;
	svg.tabIndex = 0;
	svg.onkeydown = e => {
		const to = {ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: xs.length - 1}[e.key];
		if (to === undefined) return;
		e.preventDefault();
		show(Math.max(0, Math.min(xs.length - 1, to)));
	};
};

// ---- the report's own

const colours = {spawn: 0, warm: 1, reuse: 2};
const all = report.series.filter(s => s.steps && s.steps.length).map((s, i) => ({
	...s, name: report.script ? s.name : 'right answers', colour: report.script ? colours[s.name] : 2, full: s.steps[s.steps.length - 1],
}));
const per = (step, of) => step.rounds.map(of);
const n = c => c === 1 ? '1 connection' : count(c) + ' connections';
if (!all.length) return;
const load = report.rate ? count(report.rate) + ' requests per second' : n(report.connections);

// rates
{
	const items = report.script ? all.map(s => {
		const v = per(s.full, r => r.rate);
		return {name: s.name, colour: s.colour, value: median(v), from: Math.min(...v), to: Math.max(...v),
			tip: [['median', count(median(v)) + '/s'], ...v.map((r, i) => [`round ${i + 1}`, count(r) + '/s'])]};
	}) : all[0].full.rounds.map((r, i) => ({name: `round ${i + 1}`, colour: 2, value: r.rate, tip: [['right answers', count(r.right)], ['in', seconds(r.seconds)], ['per second', count(r.rate)]]}));
	figure('rates', 'Right answers per second', `With ${load}.` + (report.script ? ' The bar is the median of the rounds, the line their range.' : ''), [], !report.script,
		(svg, w) => bars(svg, w, items, count, 'answers per second'),
		['', ...all[0].full.rounds.map((_, i) => `round ${i + 1}`), 'median'],
		all.map(s => [s.name, ...per(s.full, r => count(r.rate)), count(median(per(s.full, r => r.rate)))]));
}

// processor time
if (all.some(s => s.full.rounds.some(r => r.cpu))) {
	const items = all.map(s => {
		const cpu = median(per(s.full, r => r.cpu || 0)), own = Math.min(cpu, median(per(s.full, r => r.gateway_cpu || 0))), v = per(s.full, r => r.cpu || 0);
		return {name: s.name, colour: s.colour, value: cpu, parts: [cpu - own, own], from: Math.min(...v), to: Math.max(...v), tip: [['script', seconds(cpu - own)], ['gateway', seconds(own)], ['in all', seconds(cpu)]]};
	});
	figure('cpu', 'Processor time per answer', `Of the whole process tree, with ${load}; the paler part is the gateway's own process. Other load on the machine disturbs this figure least.`, [], false,
		(svg, w) => bars(svg, w, items, seconds, 'processor time'),
		['', 'script', 'gateway', 'in all'], items.map(i => [i.name, seconds(i.parts[0]), seconds(i.parts[1]), seconds(i.value)]));
}

// latency
{
	const X = q => Math.log10(1 / (1 - q));
	const series = all.map(s => ({name: s.name, colour: s.colour, points: (s.full.curve || []).map(p => [X(p[0]), p[1]])}));
	const most = Math.max(1, ...series.flatMap(s => s.points.map(p => p[0])));
	const ticks = [[0, '0 %'], [X(0.5), '50 %']];
	for (let d = 1; d <= most; d++) ticks.push([d, percent(1 - 10 ** -d)]);
	const at = (s, v) => { // the least time that such a share has not exceeded
		if (v > s.points[s.points.length - 1]?.[0] + 1e-9) return;
		return s.points.find(p => p[0] >= v - 1e-9);
	};
	const shares = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];
	figure('latency', 'How long answers take', `With ${load}: such a share of all answers took at most so long. The curve ends at the longest one` + (report.rate ? '; the time counts from when a request was due.' : '.'), series, true,
		(svg, w) => lines(svg, w, {series, range: [0, most], ticks, format: seconds, at, unit: 'share of the answers', title: v => percent(1 - 10 ** -v) + ' of the answers within'}),
		['', ...shares.map(percent), 'longest', 'mean', 'answers'],
		all.filter(s => s.full.latency).map(s => { const l = s.full.latency; return [s.name, ...[l.p50, l.p75, l.p90, l.p95, l.p99, l['p99.9'], l['p99.99'], l.max, l.mean].map(seconds), count(l.count)]; }));
}

// scaling
if (all.some(s => s.steps.length > 1)) {
	const steps = [...new Set(all.flatMap(s => s.steps.map(t => t.connections)))].sort((a, b) => a - b);
	const X = c => Math.log2(c), ticks = steps.map(c => [X(c), count(c)]), range = [0, X(steps[steps.length - 1])];
	const exact = (s, v) => s.points.find(p => p[0] === v);
	const chart = (id, title, about, of, format) => {
		const series = all.map(s => ({name: s.name, colour: s.colour, points: s.steps.map(t => [X(t.connections), of(t)]).filter(p => p[1] > 0)}));
		figure(id, title, about, series, false,
			(svg, w) => lines(svg, w, {series, range, ticks, format, at: exact, marks: true, unit: 'connections', title: v => n(Math.round(2 ** v))}),
			['connections', ...series.map(s => s.name)],
			steps.map(c => [count(c), ...series.map(s => { const p = exact(s, X(c)); return p ? format(p[1]) : '–'; })]));
	};
	chart('scaling', 'Answers per second by connections', 'Medians of the rounds. Where a line bends, the machine is used up.', t => median(per(t, r => r.rate)), count);
	chart('waiting', 'Median time by connections', 'Behind the bend, more connections only wait longer.', t => t.latency ? t.latency.p50 : 0, seconds);
}

// memory
if (all.some(s => s.full.rounds.some(r => r.memory))) {
	const items = all.map(s => {
		const value = median(per(s.full, r => r.memory || 0)), to = median(per(s.full, r => r.peak || 0));
		return {name: s.name, colour: s.colour, value, from: value, to, each: value / report.connections, tip: [['during the load', octets(value)], ['at most', octets(to)], ['per request at once', octets(value / report.connections)]]};
	});
	figure('memory', 'Memory', `PSS of the whole process tree, gateway and script, with ${load}: the bar is the median during the load, the line ends at the largest.`, [], true,
		(svg, w) => bars(svg, w, items, octets, 'memory', 1 << 20),
		['', 'during the load', 'at most', 'per request at once'], items.map(i => [i.name, octets(i.value), octets(i.to), octets(i.each)]));
}
addEventListener('scroll', hideTip, {passive: true});
})();
