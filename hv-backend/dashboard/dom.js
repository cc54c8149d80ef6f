// SPDX-License-Identifier: GPL-2.0-or-later
// dom.js - elements, made of text: nothing here is ever parsed as HTML.

// el('td', { class: 'n' }, 'text', child, ...): attributes whose value is null or false
// are left out, functions are listeners, `data` and `style` are objects.
export function el(name, attributes = {}, ...children) {
	const e = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (value === null || value === undefined || value === false)
			continue;
		if (typeof value === 'function')
			e.addEventListener(key, value);
		else if (key === 'data')
			Object.assign(e.dataset, value);
		else if (key === 'style')
			Object.assign(e.style, value);
		else
			e.setAttribute(key, value === true ? '' : value);
	}
	e.append(...children.filter((c) => c !== null && c !== undefined));
	return e;
}

export const find = (selector) => document.querySelector(selector);

// A number for people that keeps its exact value for machines.
export function data(value, text, attributes = {}) {
	if (value === null || value === undefined)
		return el('span', { ...attributes, class: 'none' }, text ?? '–');
	return el('data', { ...attributes, value: String(value) }, text);
}

// Columns are { title, cell(row), number }, cell gives a text or an element.
export function table(columns, rows, caption) {
	return el('table', {},
		caption ? el('caption', { class: 'unseen' }, caption) : null,
		el('thead', {}, el('tr', {}, ...columns.map((c) =>
			el('th', { scope: 'col', class: c.number ? 'n' : null }, c.title)))),
		el('tbody', {}, ...rows.map((row) => el('tr', { data: row.data ?? {} },
			...columns.map((c, i) => el(i ? 'td' : 'th',
				{ class: c.number ? 'n' : null, scope: i ? null : 'row' }, c.cell(row)))))));
}
