// SPDX-License-Identifier: GPL-2.0-or-later
// charts.js - which charts there are and what each is made of.

import { css, Figure } from './chart.js';
import * as format from './format.js';
import { model, per_second, ratio, shown, total } from './model.js';

const GUESTS_APART = 6;		// more are one band: nobody tells seven colours apart
const seconds = () => model.history.time_ms.map((t) => t / 1000);

// ---- memory by guest, stacked

function added(a, b) {
	return a.map((n, i) => (n === null && b[i] === null ? null : (n ?? 0) + (b[i] ?? 0)));
}

// The guests that hold most have a band each, the rest one together.
function bands() {
	const guests = shown().map((g) => ({
		...g, most: Math.max(0, ...added(g.ephemeral_bytes, g.persistent_bytes)),
	}));
	const apart = new Set([...guests].sort((a, b) => b.most - a.most).slice(0, GUESTS_APART)
		.map((g) => g.name));
	const rest = guests.filter((g) => !apart.has(g.name));
	const out = guests.filter((g) => apart.has(g.name));
	if (rest.length)
		out.push({
			name: `${rest.length} others`, colour: '--others', most: 1,
			ephemeral_bytes: total(rest, 'ephemeral_bytes'),
			persistent_bytes: total(rest, 'persistent_bytes'),
		});
	return out.map((g, i) => ({ colour: `--guest-${i + 1}`, ...g }));
}

function memory_series() {
	const zero = model.history.time_ms.map(() => 0), limit = model.history.host.limit_bytes;
	const series = [{ label: 'floor', hidden: true, width: 0, colour: '--ink', format: format.bytes }];
	const columns = [zero];
	let top = zero;

	for (const g of bands()) {
		for (const kind of ['persistent', 'ephemeral']) {
			const values = g[`${kind}_bytes`];
			top = added(top, values);
			columns.push(top);
			series.push({
				label: `${g.name} ${kind}`, colour: g.colour, values, format: format.bytes,
				missing: 'no driver', width: kind === 'ephemeral' && g.most ? 1 : 0,
				fill: kind === 'persistent' ? 0.85 : 0.35, under: columns.length - 2,
			});
		}
	}
	columns.push(limit);
	series.push({ label: 'limit', colour: '--ink', dash: [6, 4], width: 1, format: format.bytes });
	return { columns, series };
}

const binary = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].flatMap((n) =>
	[1024, 1024 ** 2, 1024 ** 3, 1024 ** 4].map((unit) => n * unit)).sort((a, b) => a - b);

export const memory = new Figure({
	name: 'memory', title: 'Memory by guest', height: 260,
	note: 'full colour: persistent (swap); pale: ephemeral (page cache); dashed: what the arena may use',
	series: [], y: { format: format.bytes, incrs: binary },
});

// ---- the small ones

const rates = new Figure({
	name: 'rates', title: 'Puts and gets per second', height: 150,
	y: { format: format.rate },
	series: [
		{ label: 'puts', colour: '--a', fill: 0.12, format: format.rate },
		{ label: 'gets', colour: '--b', dash: [5, 3], format: format.rate },
	],
});

const losses = new Figure({
	name: 'losses', title: 'Refusals and evictions per second', height: 150,
	y: { format: format.rate },
	series: [
		{ label: 'refused', colour: '--c', fill: 0.12, format: format.rate },
		{ label: 'evicted', colour: '--d', dash: [5, 3], format: format.rate },
	],
});

const ratios = new Figure({
	name: 'ratios', title: 'Hits and compression', height: 150,
	y: { format: (n) => `${Math.round(100 * n)} %`, range: () => [0, 1] },
	y2: { format: (n) => `${n.toFixed(1)}×` },
	series: [
		{ label: 'hit ratio', colour: '--b', fill: 0.1, format: format.percent },
		{ label: 'compression', colour: '--a', dash: [5, 3], scale: 'y2', format: format.times },
	],
});

// A triangle for each sample in which the memory policy evicted pages.
function eviction_marks(u) {
	const evicted = model.history?.host.evicted_pages ?? [], half = 4 * devicePixelRatio;

	u.ctx.save();
	u.ctx.fillStyle = css('--d');
	evicted.forEach((n, i) => {
		if (!n)
			return;
		const x = u.valToPos(u.data[0][i], 'x', true), y = u.bbox.top + u.bbox.height;
		u.ctx.beginPath();
		u.ctx.moveTo(x - half, y);
		u.ctx.lineTo(x + half, y);
		u.ctx.lineTo(x, y - 2 * half);
		u.ctx.fill();
	});
	u.ctx.restore();
}

const pressure = new Figure({
	name: 'pressure', title: 'Host waiting for memory', height: 150,
	note: '▲ pages evicted for it', marks: eviction_marks,
	y: { format: (n) => `${(100 * n).toFixed(n < 0.1 ? 1 : 0)} %`,
		range: (u, min, max) => [0, Math.max(0.01, max * 1.1)] },
	series: [
		{ label: 'some task waits', colour: '--c', fill: 0.15, format: format.percent,
			missing: 'the kernel does not tell' },
		{ label: 'evicted', colour: '--d', width: 0, scale: 'marks', format: format.count },
	],
});

const latency = new Figure({
	name: 'latency', title: 'Time for a request', height: 150, note: 'in the host, logarithmic',
	y: { format: format.duration, log: true },
	series: ['get', 'put'].flatMap((op, i) => [
		{ label: `${op} p50`, colour: i ? '--a' : '--b', format: format.duration, missing: 'none' },
		{ label: `${op} p99`, colour: i ? '--a' : '--b', dash: [3, 3], width: 1,
			format: format.duration, missing: 'none' },
	]),
});

const BIN = 256;

const chunks = new Figure({
	name: 'chunks', title: 'Size of the pages held', height: 150, note: 'now, by 256 bytes',
	x: {
		label: 'To', name: (n) => format.bytes(n + BIN / 2), format: format.bytes,
		splits: () => [0, 1024, 2048, 3072, 4096], range: () => [0, 4096],
	},
	y: { format: format.count },
	series: [
		{ label: 'ephemeral', colour: '--b', fill: 0.5, bars: true, format: format.count },
		{ label: 'persistent', colour: '--a', fill: 1, bars: true, format: format.count },
	],
});

function binned(pages) {
	const out = Array(4096 / BIN).fill(0);
	pages.forEach((n, i) => {
		out[Math.min(out.length, Math.max(1, Math.ceil(i * model.host.chunk_bytes / BIN))) - 1] += n;
	});
	return out;
}

function chunks_update() {
	const ephemeral = binned(model.host.pages_by_chunks);
	const persistent = binned(model.host.persistent_pages_by_chunks);
	const [first, second] = chunks.options.series;

	// Bars stand on each other, the sum behind.
	first.values = ephemeral;
	second.values = persistent;
	chunks.update([ephemeral.map((_, i) => i * BIN + BIN / 2),
		ephemeral.map((n, i) => n + persistent[i]), persistent]);
}

export const small = [rates, losses, ratios, pressure, latency, chunks];

export function charts_update() {
	if (!model.history)
		return;
	const at = seconds(), guests = shown(), { host } = model.history;
	const sum = (key) => per_second(total(guests, key));
	const { columns, series } = memory_series();
	const stalled = host.psi_some_permille.map((n) => (n === null ? null : n / 1000));

	memory.update([at, ...columns], series);
	rates.update([at, sum('puts'), sum('gets')]);
	losses.update([at, sum('puts_refused'), sum('evicted_pages')]);
	ratios.update([at, ...hit_and_compression(guests)]);
	pressure.update([at, stalled, host.evicted_pages]);
	latency.update([at, host.get_p50_ns, host.get_p99_ns, host.put_p50_ns, host.put_p99_ns]);
	chunks_update();
}

function hit_and_compression(guests) {
	const gets = total(guests, 'gets'), hits = total(guests, 'gets_ok');
	const logical = total(guests, 'logical_bytes');
	const physical = added(total(guests, 'ephemeral_bytes'), total(guests, 'persistent_bytes'));

	return [gets.map((n, i) => ratio(hits[i], n)), logical.map((n, i) => ratio(n, physical[i]))];
}
