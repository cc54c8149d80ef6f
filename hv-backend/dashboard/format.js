// SPDX-License-Identifier: GPL-2.0-or-later
// format.js - numbers and times for people.

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(n) {
	if (n === null || n === undefined)
		return 'none';
	let i = 0;
	while (n >= 1024 && i < units.length - 1) {
		n /= 1024;
		i++;
	}
	return `${i && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export function count(n) {
	return n === null || n === undefined ? '–' : n.toLocaleString('en').replaceAll(',', '\u202f');
}

export function rate(n) {
	if (n === null || n === undefined)
		return '–';
	return n >= 10 || n === 0 ? count(Math.round(n)) : n.toFixed(1);
}

export const percent = (n) => (n === null || n === undefined ? '–' : `${(100 * n).toFixed(1)} %`);
export const times = (n) => (n === null || n === undefined ? '–' : `${n.toFixed(2)} ×`);

export function duration(ns) {
	if (ns === null || ns === undefined)
		return '–';
	if (ns < 1000)
		return `${Math.round(ns)} ns`;
	if (ns < 1e6)
		return `${(ns / 1e3).toFixed(ns < 1e4 ? 1 : 0)} µs`;
	return ns < 1e9 ? `${(ns / 1e6).toFixed(ns < 1e7 ? 1 : 0)} ms` : `${(ns / 1e9).toFixed(1)} s`;
}

const two = (n) => String(n).padStart(2, '0');

export function clock(ms) {
	const t = new Date(ms);
	return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

export function stamp(ms) {
	const t = new Date(ms);
	return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(ms)}`;
}

// What the daemon takes for a size: exact, in the largest unit that divides it.
export function size(n) {
	if (n === null)
		return 'none';
	for (const [i, unit] of [...'TGMK'].entries()) {
		const one = 1024 ** (4 - i);
		if (n && n % one === 0)
			return `${n / one}${unit}`;
	}
	return String(n);
}
