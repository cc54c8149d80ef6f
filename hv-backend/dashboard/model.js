// SPDX-License-Identifier: GPL-2.0-or-later
// model.js - what the page knows of the daemon.
//
// Owns:    the newest answers, the history of the span that is shown, events.
// How:     refresh() asks for everything at once; of history and events only what is
//          new.  What cannot be known stays null all the way to the screen.

import { past, verb } from './api.js';

const EVENTS_SHOWN = 200;
const LENGTH = { recent: 450, day: 1440 };

export const model = {
	status: null,
	guests: [],		// of `stats`, in the daemon's order
	host: null,		// of `stats`
	pools: [],
	events: [],		// newest first
	span: 'recent',
	pick: '',		// the guest that charts are of, '' for all
	history: null,
};

function column_join(old, more, gap, length) {
	return [...(old ?? Array(gap).fill(null)), ...more].slice(-length);
}

function columns_join(old, more, gap, length) {
	const out = {};
	for (const key of Object.keys(more)) {
		if (Array.isArray(more[key]))
			out[key] = column_join(old?.[key], more[key], gap, length);
	}
	return out;
}

function history_join(old, more) {
	const gap = old?.time_ms.length ?? 0, length = LENGTH[model.span];
	const guests = new Map();

	for (const g of more.guests)
		guests.set(g.name, columns_join(old?.guests.get(g.name), g, gap, length));
	return {
		last: more.last,
		step: more.step_s,
		time_ms: column_join(old?.time_ms, more.time_ms, 0, length),
		host: columns_join(old?.host, more.host, gap, length),
		guests,
	};
}

async function history_refresh() {
	const span = model.span, old = model.history;
	const more = await past(span, old?.last ?? 0);

	if (span !== model.span)
		return;
	// A daemon started anew counts anew.
	if (old && more.last < old.last)
		model.history = null;
	else if (!old || more.time_ms.length)
		model.history = history_join(old, more);
}

async function events_refresh() {
	const { events } = await verb('events', { after: model.events[0]?.number ?? 0 });

	model.events = [...events.reverse(), ...model.events].slice(0, EVENTS_SHOWN);
}

export async function refresh() {
	const [status, stats, pools] = await Promise.all([
		verb('status'), verb('stats'), verb('pools'), history_refresh(), events_refresh(),
	]);

	// The same process, or all that is remembered is another's.
	if (model.status && status.pid !== model.status.pid) {
		model.history = null;
		model.events = [];
	}
	Object.assign(model, { status, guests: stats.guests, host: stats.host, pools: pools.pools });
}

export function span_set(span) {
	model.span = span;
	model.history = null;
}

// ---- what is made of it

export const guest_works = (g) => g.state === 'ready';

export function guest_refused(g) {
	return ['ephemeral', 'persistent'].reduce((n, kind) => n + g[kind].puts_refused_quota +
		g[kind].puts_refused_pressure + g[kind].puts_refused_frozen +
		g[kind].puts_refused_incompressible + g[kind].puts_failed_nomem, 0);
}

export const guest_sum = (g, key) => g.ephemeral[key] + g.persistent[key];

export const ratio = (part, whole) => (whole > 0 ? part / whole : null);

// The history's columns of the picked guest, or of all.
export function shown() {
	const { history, pick } = model;
	if (!history)
		return [];
	return [...history.guests].filter(([name]) => !pick || name === pick)
		.map(([name, columns]) => ({ name, ...columns }));
}

// Per sample the sum of a column over guests; null where no guest has a number.
export function total(guests, key) {
	return model.history.time_ms.map((_, i) => {
		const known = guests.map((g) => g[key][i]).filter((n) => n !== null);
		return known.length ? known.reduce((a, b) => a + b, 0) : null;
	});
}

export const per_second = (column) =>
	column.map((n) => (n === null ? null : n / model.history.step));

// A guest's newest sample of a column, per second.
export function rate_now(name, key) {
	const n = model.history?.guests.get(name)?.[key].at(-1);
	return n === null || n === undefined ? null : n / model.history.step;
}
