// SPDX-License-Identifier: GPL-2.0-or-later
// tables.js - figures of the host, guests with their quotas, pools, events.

import { data, el, find, table } from './dom.js';
import * as format from './format.js';
import { guest_refused, guest_sum, guest_works, model, rate_now, ratio } from './model.js';

// ---- the strip of figures

function figure(name, label, value, text, more) {
	return el('div', { data: { figure: name } }, el('dt', {}, label),
		el('dd', {}, data(value, text), more ? el('small', {}, more) : null));
}

function sum_now(key) {
	const rates = model.guests.map((g) => rate_now(g.name, key)).filter((n) => n !== null);
	return rates.length ? rates.reduce((a, b) => a + b, 0) : null;
}

export function figures_update() {
	const { totals, host, pressure } = model.status;
	const hits = ratio(totals.gets_ok, totals.gets), psi = pressure.psi?.some_avg10_percent ?? null;
	const kept = ratio(totals.logical_bytes, totals.physical_bytes);

	find('#figures').replaceChildren(
		figure('physical', 'Held for guests', totals.physical_bytes, format.bytes(totals.physical_bytes),
			`of ${format.bytes(host.target_bytes)}`),
		figure('logical', 'Their pages', totals.logical_bytes, format.bytes(totals.logical_bytes),
			kept === null ? 'nothing held' : `compressed ${format.times(kept)}`),
		figure('hits', 'Gets found', hits, format.percent(hits), `of ${format.count(totals.gets)}`),
		figure('refused', 'Puts refused', totals.puts_refused, format.count(totals.puts_refused),
			`${format.rate(sum_now('puts_refused'))} a second`),
		figure('evicted', 'Pages evicted', totals.evicted_pages, format.count(totals.evicted_pages),
			`${format.rate(sum_now('evicted_pages'))} a second`),
		figure('available', 'Free on the host', pressure.available_bytes,
			format.bytes(pressure.available_bytes), pressure.low_bytes === null ? 'policy off'
				: `gives back below ${format.bytes(pressure.low_bytes)}`),
		figure('psi', 'Waiting for memory', psi, psi === null ? 'unknown' : `${psi.toFixed(1)} %`,
			'of the last 10 s'));
}

// ---- guests

const states = {
	ready: 'at work', connected: 'no driver', listening: 'no driver, no VMM',
	departed: 'no driver, VMM left',
};

function state(g) {
	return el('span', { class: 'state', data: { state: g.state } },
		guest_works(g) && g.frozen ? 'frozen' : states[g.state],
		!guest_works(g) && g.frozen ? ', frozen' : '');
}

// What it uses of what it may, with its min and its persistent max as notches.
function bar(g) {
	const { min, max, persistent_max } = g.quota;
	const whole = Math.max(max ?? model.host.target_bytes, g.physical_bytes, 1);
	const at = (n) => `${Math.min(100, 100 * n / whole).toFixed(2)}%`;
	const p = g.persistent.bytes_physical, e = g.ephemeral.bytes_physical;
	const notch = (name, n) => (n === null || !n || n > whole ? null
		: el('i', { class: name, style: { left: at(n) }, title: `${name} ${format.bytes(n)}` }));

	return el('div', { class: 'bar', role: 'img',
		'aria-label': `uses ${format.bytes(g.physical_bytes)} of ${max === null ? 'no limit' : format.bytes(max)}, ` +
			`min ${format.bytes(min)}, persistent max ${format.bytes(persistent_max)}` },
		el('b', { class: 'persistent', style: { width: at(p) } }),
		el('b', { class: 'ephemeral', style: { left: at(p), width: at(e) } }),
		notch('min', min), notch('persistent-max', persistent_max));
}

// A guest without a driver has no rate and no ratio: not 0, and not 100 %.
function working(g, value, text) {
	return guest_works(g) ? data(value, text) : el('span', { class: 'none', title: 'no driver' }, '–');
}

// Nor does it hold 0, but for one that has gone and left something.
const held = (g, value, text) => (guest_works(g) || g.physical_bytes ? data(value, text) : working(g));

function guest_columns(actions) {
	return [
		{ title: 'Guest', cell: ({ g }) => g.name },
		{ title: 'State', cell: ({ g }) => state(g) },
		{ title: 'Uses of its max', cell: ({ g }) => bar(g) },
		{ title: 'Holds', number: true, cell: ({ g }) => held(g, g.physical_bytes, format.bytes(g.physical_bytes)) },
		{ title: 'Min', number: true, cell: ({ g }) => data(g.quota.min, format.bytes(g.quota.min)) },
		{ title: 'Max', number: true, cell: ({ g }) => data(g.quota.max, format.bytes(g.quota.max)) },
		{ title: 'Weight', number: true, cell: ({ g }) => data(g.quota.weight, String(g.quota.weight)) },
		{ title: 'Of its share', number: true, cell: ({ g }) => working(g, g.share_permille, `${Math.round(g.share_permille / 10)} %`) },
		{ title: 'Compressed', number: true, cell: ({ g }) => held(g, ratio(g.logical_bytes, g.physical_bytes), format.times(ratio(g.logical_bytes, g.physical_bytes))) },
		{ title: 'Gets found', number: true, cell: ({ g }) => {
			const hits = ratio(guest_sum(g, 'gets_ok'), guest_sum(g, 'gets'));
			return working(g, hits, format.percent(hits));
		} },
		{ title: 'Puts/s', number: true, cell: ({ g }) => working(g, rate_now(g.name, 'puts'), format.rate(rate_now(g.name, 'puts'))) },
		{ title: 'Gets/s', number: true, cell: ({ g }) => working(g, rate_now(g.name, 'gets'), format.rate(rate_now(g.name, 'gets'))) },
		{ title: 'Refused', number: true, cell: ({ g }) => working(g, guest_refused(g), format.count(guest_refused(g))) },
		{ title: 'Evicted', number: true, cell: ({ g }) => working(g, guest_sum(g, 'evicted_pages'), format.count(guest_sum(g, 'evicted_pages'))) },
		...(actions ? [{ title: '', cell: ({ g }) => actions(g) }] : []),
	];
}

// Redrawn every 2 s: who is using a button there keeps it.
function redraw(place, next) {
	const mine = place.contains(document.activeElement) && document.activeElement.dataset.key;

	place.replaceChildren(next);
	if (mine)
		place.querySelector(`[data-key="${CSS.escape(mine)}"]`)?.focus();
}

export function guests_update(actions) {
	redraw(find('#guests .scroll'), model.guests.length
		? table(guest_columns(actions), model.guests.map((g) => ({ g, data: { guest: g.name } })), 'Guests')
		: el('p', { class: 'soft' }, 'No guest is configured.'));
}

// ---- pools

const pool_columns = [
	{ title: 'Guest', cell: ({ p }) => p.guest },
	{ title: 'Pool', number: true, cell: ({ p }) => String(p.id) },
	{ title: 'Kind', cell: ({ p }) => `${p.kind}${p.shared ? ', shared' : ''}` },
	{ title: 'UUID', cell: ({ p }) => (p.uuid ? el('code', {}, p.uuid) : '–') },
	{ title: 'Objects', number: true, cell: ({ p }) => data(p.objects, format.count(p.objects)) },
	{ title: 'Pages', number: true, cell: ({ p }) => data(p.pages, format.count(p.pages)) },
	{ title: 'Bytes', number: true, cell: ({ p }) => data(p.bytes_physical, format.bytes(p.bytes_physical)) },
	{ title: 'Gets found', number: true, cell: ({ p }) => data(p.hit_ratio, format.percent(p.hit_ratio)) },
	{ title: 'Puts', number: true, cell: ({ p }) => data(p.puts_ok, `${format.count(p.puts_ok)} of ${format.count(p.puts)}`) },
	{ title: 'Gets', number: true, cell: ({ p }) => data(p.gets_ok, `${format.count(p.gets_ok)} of ${format.count(p.gets)}`) },
	{ title: 'Evicted', number: true, cell: ({ p }) => data(p.evicted_pages, format.count(p.evicted_pages)) },
];

export function pools_update() {
	find('#pools .scroll').replaceChildren(model.pools.length
		? table(pool_columns, model.pools.map((p) => ({ p, data: { pool: `${p.guest}/${p.id}` } })), 'Pools')
		: el('p', { class: 'soft' }, 'No guest has a pool: a driver makes them when it starts.'));
}

// ---- events

// A change is logged as the request it was: {"verb":"set",...}, with who asked for it.
function reason(e) {
	const m = /^(uid \d+[^:]*): (\{.*\})$/.exec(e.text);
	if (e.kind !== 'change' || !m)
		return e.text;
	try {
		const { verb, guest, values, config, live, ...more } = JSON.parse(m[2]);
		const words = Object.entries({ ...values, ...more }).map(([key, value]) => `${key} ${value}`);
		return `${verb} ${words.join(', ')}${config ? ', in the file too' : ''} (${m[1]})`;
	} catch {
		return e.text;
	}
}

const event_columns = [
	{ title: 'Time', cell: ({ e }) => el('time', { datetime: new Date(e.time_ms).toISOString() }, format.stamp(e.time_ms)) },
	{ title: 'What', cell: ({ e }) => el('span', { class: 'kind', data: { kind: e.kind } }, e.kind) },
	{ title: 'Guest', cell: ({ e }) => e.guest ?? '–' },
	{ title: 'Reason', cell: ({ e }) => reason(e) },
];

let newest = null;

export function events_update() {
	if (newest === model.events[0])
		return;
	newest = model.events[0];
	find('#events .scroll').replaceChildren(
		table(event_columns, model.events.map((e) => ({ e })), 'Decisions and changes'));
}
