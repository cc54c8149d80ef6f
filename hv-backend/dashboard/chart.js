// SPDX-License-Identifier: GPL-2.0-or-later
// chart.js - a figure: a chart, and the same numbers as a table behind it.
//
// Owns:    the drawing, its size, colours, keyboard.
// How:     a figure is told its series once and its columns at every refresh.  A
//          series is { label, colour, dash, fill, format, width, scale, under, bars,
//          hidden }; under is the series a band is filled down to.  Colours are names
//          of the style sheet's, so a theme changes them by drawing anew.
//          Left and right move the cursor of a figure that has the focus, Home and
//          End go to its ends, Escape takes the cursor away.

import uPlot from './uplot.js';
import { el, table } from './dom.js';
import { clock } from './format.js';

// A variable of the style sheet as a colour for a canvas: rgb(...) of the theme in force.
const probe = document.head.appendChild(el('meta'));

export function css(name) {
	probe.style.color = `var(${name})`;
	return getComputedStyle(probe).color;
}

const faded = (colour, alpha) => css(colour).replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);

const SHORTEST_S = 120;		// a time axis is never shorter

function axis(more) {
	return {
		stroke: css('--ink-soft'), font: '11px system-ui, sans-serif', labelFont: '11px system-ui, sans-serif',
		grid: { stroke: css('--line'), width: 1 }, ticks: { show: false }, gap: 4, ...more,
	};
}

// With seconds where minutes would repeat.
function time_labels(u, values) {
	const short = u.scales.x.max - u.scales.x.min < 600;
	return values.map((v) => clock(v * 1000).slice(0, short ? 8 : 5));
}

export class Figure {
	// options: title, note, height, series, y: { format, range, log }, y2, x: { format }, marks
	constructor(options) {
		this.options = options;
		this.columns = null;
		this.plot = null;
		this.as_table = false;
		this.place = el('div', { class: 'plot', tabindex: 0, role: 'img', keydown: (e) => this.key(e) });
		this.rows = el('div', { class: 'scroll rows', tabindex: 0, hidden: true });
		this.button = el('button', {
			type: 'button', class: 'quiet', 'aria-pressed': 'false', click: () => this.turn(),
			'aria-label': `${options.title}: as a table`,
		}, 'Table');
		this.element = el('figure', { data: { figure: options.name } },
			el('figcaption', {}, el('h3', {}, options.title),
				options.note ? el('span', { class: 'soft' }, options.note) : null, this.button),
			this.place, this.rows);
		new ResizeObserver(() => this.resize()).observe(this.place);
	}

	turn() {
		this.as_table = !this.as_table;
		this.button.setAttribute('aria-pressed', this.as_table);
		this.place.hidden = this.as_table;
		this.rows.hidden = !this.as_table;
		this.draw();
	}

	// series may change from one refresh to the next, as guests come and go.
	update(columns, series = this.options.series) {
		const same = this.plot && series.map((s) => s.label).join() === this.labels;

		this.columns = columns;
		this.options.series = series;
		this.labels = series.map((s) => s.label).join();
		if (!same)
			this.forget();
		this.draw();
	}

	forget() {
		this.plot?.destroy();
		this.plot = null;
	}

	draw() {
		if (!this.columns || !this.element.isConnected)
			return;
		if (this.as_table)
			this.rows.replaceChildren(this.table());
		else if (this.plot)
			this.plot.setData(this.columns);
		else if (this.place.clientWidth)
			this.plot = new uPlot(this.setup(), this.columns, this.place);
		if (this.plot && this.plot.cursor.idx === null)
			this.plot.setLegend({ idx: null });
		this.place.setAttribute('aria-label', this.words());
	}

	resize() {
		if (this.plot && this.place.clientWidth)
			this.plot.setSize({ width: this.place.clientWidth, height: this.options.height });
		else
			this.draw();
	}

	// ---- the table

	table() {
		const { series, x } = this.options, [at, ...columns] = this.columns;
		const order = at.map((_, i) => i);
		if (!x)
			order.reverse();
		const shown = series.map((s, i) => ({ ...s, values: s.values ?? columns[i] }))
			.filter((s) => !s.hidden);
		return table([
			{ title: x ? x.label : 'Time', cell: (r) => (x ? x.name(at[r.i]) : clock(at[r.i] * 1000)) },
			...shown.map((s) => ({
				title: s.label, number: true,
				cell: (r) => {
					const n = s.values[r.i];
					return n === null || n === undefined ? (s.missing ?? '–')
						: el('data', { value: String(n) }, s.format(n));
				},
			})),
		], order.map((i) => ({ i })), this.options.title);
	}

	// The newest numbers, for who cannot see the chart.
	words() {
		const { series, title, x } = this.options, columns = this.columns.slice(1);
		if (x)
			return title;
		return `${title}. ${series.map((s, i) => ({ s, n: (s.values ?? columns[i]).at(-1) }))
			.filter(({ s }) => !s.hidden)
			.map(({ s, n }) => `${s.label} ${n === null || n === undefined ? 'unknown' : s.format(n)}`).join(', ')}.`;
	}

	// ---- the chart

	// Without a cursor the newest of times, the sum of a histogram.
	legend_text(i, at) {
		const s = this.options.series[i], values = s.values ?? this.columns[i + 1];
		const n = at !== null && at !== undefined ? values[at]
			: this.options.x ? values.reduce((a, b) => a + b, 0) : values.at(-1);
		return n === null || n === undefined ? s.missing ?? '–' : s.format(n);
	}

	series_setup(s, i) {
		return {
			label: s.label, scale: s.scale ?? 'y', show: true,
			stroke: s.bars ? undefined : css(s.colour), width: s.width ?? 1.5, dash: s.dash,
			fill: s.fill && s.under === undefined ? faded(s.colour, s.fill) : undefined,
			paths: s.bars ? uPlot.paths.bars({ size: [0.8, 40] }) : undefined,
			points: { show: false }, spanGaps: false,
			value: (u, v, index, at) => this.legend_text(i, at),
			class: s.hidden ? 'unseen' : undefined,
		};
	}

	scales() {
		const { y, y2, x } = this.options;
		const range = (s) => s?.range ?? ((u, min, max) => [0, max > 0 ? max * 1.08 : 1]);
		return {
			x: x ? { time: false, range: x.range }
				: { range: (u, min, max) => [Math.min(min, max - SHORTEST_S), max] },
			y: y.log ? { distr: 3, log: 10 } : { range: range(y) },
			...(y2 ? { y2: { range: range(y2) } } : {}),
		};
	}

	axes() {
		const { y, y2, x } = this.options;
		const labels = (format) => (u, values) => values.map((v) => (v === null ? '' : format(v)));
		const decades = (u, values) => values.map((v) => (/^[1-9]0*$/.test(String(v)) &&
			Number.isInteger(Math.log10(v)) ? v : null));
		return [
			axis(x ? { values: labels(x.format), splits: x.splits, size: 28, gap: 8, grid: { show: false } } : {
				size: 28, gap: 8, space: 80, grid: { show: false }, values: time_labels,
			}),
			axis({ scale: 'y', values: labels(y.format), size: 62, space: 36, incrs: y.incrs,
				...(y.log ? { filter: decades,
					grid: { stroke: css('--line'), width: 1, filter: decades } } : {}) }),
			...(y2 ? [axis({ scale: 'y2', side: 1, values: labels(y2.format), size: 46, space: 36,
				grid: { show: false } })] : []),
		];
	}

	markers() {
		const of = (i) => this.options.series[i - 1] ?? { colour: '--ink' };
		return {
			width: 2, stroke: (u, i) => css(of(i).colour),
			dash: (u, i) => (of(i).dash ? 'dotted' : 'solid'),
			fill: (u, i) => (of(i).dash ? 'transparent' : faded(of(i).colour, of(i).under === undefined ? 1 : of(i).fill)),
		};
	}

	setup() {
		const { series, height, marks, x } = this.options;
		return {
			width: this.place.clientWidth, height,
			scales: this.scales(), axes: this.axes(), padding: [8, 24, 0, 0],
			series: [{ label: x ? x.label : 'Time', value: (u, v) => (x ? '' : clock((v ?? u.data[0].at(-1)) * 1000)) },
				...series.map((s, i) => this.series_setup(s, i))],
			bands: series.flatMap((s, i) => (s.under === undefined ? []
				: [{ series: [i + 1, s.under + 1], fill: faded(s.colour, s.fill) }])),
			cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
			legend: { show: true, markers: this.markers() },
			hooks: marks ? { draw: [(u) => marks(u)] } : {},
		};
	}

	key(e) {
		const u = this.plot, at = this.columns?.[0];
		if (!u || !at?.length)
			return;
		const last = at.length - 1, now = u.cursor.idx ?? last;
		const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[e.key];
		if (e.key === 'Escape') {
			u.setCursor({ left: -10, top: -10 });
		} else if (to !== undefined) {
			e.preventDefault();
			u.setCursor({ left: u.valToPos(at[Math.min(Math.max(to, 0), last)], 'x'), top: 10 });
		}
	}
}
