// SPDX-License-Identifier: GPL-2.0-or-later
// dialogs.js - what an administrator changes: quotas, freezing, memory given back.
//
// Must not: decide what is right; the daemon checks, and says why not.

import { verb } from './api.js';
import { el } from './dom.js';
import * as format from './format.js';

// A dialog with a form; submit(form data, say) does the work and returns true to close.
function dialog_open(title, body, label, submit) {
	const say = el('output', { class: 'say', role: 'status' });
	const go = el('button', { type: 'submit', class: 'go' }, label);
	const form = el('form', {}, el('h2', {}, title), ...body, say,
		el('div', { class: 'buttons' },
			el('button', { type: 'button', click: () => dialog.close() }, 'Cancel'), go));
	const dialog = el('dialog', { 'aria-label': title, close: () => dialog.remove() }, form);

	form.addEventListener('submit', async (e) => {
		e.preventDefault();
		go.disabled = true;
		say.textContent = '';
		delete say.dataset.level;
		try {
			if (await submit(new FormData(form), say))
				dialog.close();
		} catch (error) {
			say.dataset.level = 'bad';
			say.textContent = error.message;
		}
		go.disabled = false;
	});
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

const field = (label, input, help) =>
	el('label', { class: 'field' }, el('span', {}, label), input, help ? el('small', {}, help) : null);

function text(name, value, more = {}) {
	return el('input', { name, value, autocomplete: 'off', spellcheck: 'false', ...more });
}

function codec(name, value) {
	return el('select', { name }, ...['lzo', 'lz4', 'zstd'].map((c) =>
		el('option', { value: c, selected: c === value }, c)));
}

// ---- quotas

export function quota_open(g, done) {
	const q = g.quota, before = {
		weight: String(q.weight), min: format.size(q.min), max: format.size(q.max),
		'persistent-max': format.size(q.persistent_max),
		'codec-ephemeral': q.codec_ephemeral, 'codec-persistent': q.codec_persistent,
	};

	dialog_open(`Quota of ${g.name}`, [
		field('Weight', text('weight', before.weight, { inputmode: 'numeric' }), 'its part of a fair share'),
		field('Min', text('min', before.min), 'kept for it when the host is short of memory'),
		field('Max', text('max', before.max), 'a size such as 512M, or none'),
		field('Persistent max', text('persistent-max', before['persistent-max']), 'of swap pages; they are never dropped'),
		field('Codec, page cache', codec('codec-ephemeral', q.codec_ephemeral)),
		field('Codec, swap', codec('codec-persistent', q.codec_persistent), 'of pages put from now on'),
		el('label', { class: 'check' }, el('input', { type: 'checkbox', name: 'config' }),
			' Write it to the configuration file too'),
	], 'Set', async (form, say) => {
		const values = Object.fromEntries(Object.keys(before)
			.map((key) => [key, form.get(key).trim()]).filter(([key, v]) => v !== before[key]));
		if (!Object.keys(values).length) {
			say.textContent = 'Nothing was changed.';
			return false;
		}
		await verb('set', { guest: g.name, values, live: true, config: form.has('config') });
		await done();
		return true;
	});
}

export async function freeze_turn(g, done) {
	await verb(g.frozen ? 'thaw' : 'freeze', { guest: g.name });
	await done();
}

// ---- memory given back

const sizes = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

function size_read(text) {
	const m = /^(\d+)\s*([KMGT]?)(i?B)?$/i.exec(text.trim());
	const n = m ? m[1] * sizes[m[2].toUpperCase()] : 0;
	if (!Number.isSafeInteger(n) || n <= 0)
		throw new Error('That is not a size: 64M, or 1G.');
	return n;
}

function plan_words(plan, wanted) {
	const losers = plan.from.map((f) => el('li', {}, `${f.guest} loses ${format.bytes(f.bytes)} of page cache`));
	return [
		`${format.bytes(plan.bytes)} of ${format.bytes(wanted)} would go back to the host, ` +
			`${format.bytes(plan.unused_bytes)} of it unused.`,
		losers.length ? el('ul', {}, ...losers) : el('p', {}, 'No guest loses a page.'),
	];
}

// The daemon gives back a slice for each request: ask until it has no more.
async function shrink(wanted, say) {
	let given = 0, answer;
	do {
		answer = (await verb('shrink', { bytes: wanted - given })).reclaimed;
		given += answer.bytes;
		say.textContent = `${format.bytes(given)} given back …`;
	} while (answer.done && answer.bytes && given < wanted);
	say.textContent = `${format.bytes(given)} given back: ${answer.stopped_because}.`;
}

// The first press says what would be lost, only a second one of the same size does it.
export function shrink_open(done) {
	let planned = 0;
	const input = text('bytes', '64M', { input: () => { planned = 0; label(); } });
	const dialog = dialog_open('Give memory back to the host', [
		el('p', { class: 'soft' }, 'Unused memory goes first, then page cache of the guest most above its share. ' +
			'Swap pages are never dropped.'),
		field('How much', input, 'a size such as 64M or 1G'),
	], 'Show who would lose what', async (form, say) => {
		const wanted = size_read(form.get('bytes'));
		if (planned === wanted) {
			await shrink(wanted, say);
			planned = 0;
			await done();
		} else {
			say.replaceChildren(...plan_words(await verb('shrink', { bytes: wanted, dry_run: true }), wanted));
			planned = wanted;
		}
		label();
		return false;
	});
	const go = dialog.querySelector('.go');
	function label() {
		go.textContent = planned ? `Give back ${format.bytes(planned)}` : 'Show who would lose what';
	}
}
