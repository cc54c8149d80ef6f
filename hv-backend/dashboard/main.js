// SPDX-License-Identifier: GPL-2.0-or-later
// main.js - the page: log in, look every 2 seconds, say when that fails.

import { login, logout, Refused } from './api.js';
import { charts_update, memory, small } from './charts.js';
import { freeze_turn, quota_open, shrink_open } from './dialogs.js';
import { el, find } from './dom.js';
import { model, refresh, span_set } from './model.js';
import { events_update, figures_update, guests_update, pools_update } from './tables.js';
import { theme_start } from './theme.js';

const EVERY_MS = 2000;

let session = null;

function verdict(level, text) {
	find('#verdict').dataset.level = level;
	find('#verdict h1').textContent = text;
	document.title = `${level === 'bad' ? '■ ' : level === 'notice' ? '▲ ' : ''}tmemd`;
}

// ---- what may be changed

const administrator = () => session?.role === 'administrator';

function said(error) {
	verdict('bad', error.message);
}

function actions(g) {
	return el('span', { class: 'actions' },
		el('button', { type: 'button', class: 'quiet', 'aria-label': `Quota of ${g.name}`,
			data: { key: `quota ${g.name}` }, click: () => quota_open(g, look) }, 'Quota'),
		el('button', { type: 'button', class: 'quiet',
			'aria-label': `${g.frozen ? 'Thaw' : 'Freeze'} ${g.name}`, data: { key: `freeze ${g.name}` },
			title: g.frozen ? 'take its puts again' : 'refuse its puts',
			click: () => freeze_turn(g, look).catch(said) }, g.frozen ? 'Thaw' : 'Freeze'));
}

function pick_update() {
	const select = find('#pick'), names = model.guests.map((g) => g.name);
	if ([...select.options].slice(1).map((o) => o.value).join('\n') === names.join('\n'))
		return;
	select.replaceChildren(el('option', { value: '' }, 'All guests'),
		...names.map((name) => el('option', { value: name, selected: name === model.pick }, name)));
	model.pick = select.value;
}

// ---- looking

function draw() {
	verdict(model.status.verdict.level, model.status.verdict.text);
	pick_update();
	figures_update();
	guests_update(administrator() ? actions : null);
	pools_update();
	events_update();
	charts_update();
}

async function look() {
	try {
		await refresh();
		draw();
	} catch (error) {
		if (error instanceof Refused && error.status === 401)
			out('The session has ended.');
		else
			verdict('bad', error instanceof TypeError ? 'tmemd does not answer.' : error.message);
	}
}

async function watch() {
	while (session) {
		if (!document.hidden)
			await look();
		await new Promise((done) => setTimeout(done, EVERY_MS));
	}
}

// ---- in and out

function out(why) {
	session = null;
	find('main').hidden = true;
	find('#controls').hidden = true;
	find('#out').hidden = false;
	find('#out-why').textContent = why;
	find('#out-why').hidden = !why;
	verdict('wait', 'Not logged in');
}

function inside() {
	find('main').hidden = false;
	find('#controls').hidden = false;
	find('#who').textContent = `${session.role}, uid ${session.uid}`;
	find('#memory').append(memory.element);
	find('#charts').append(...small.map((f) => f.element));
	if (administrator())
		find('#guests h2').after(el('button', { type: 'button', id: 'shrink',
			click: () => shrink_open(look) }, 'Give memory back …'));
}

function controls_start() {
	find('#span').addEventListener('change', (e) => {
		span_set(e.target.value);
		look();
	});
	find('#pick').addEventListener('change', (e) => {
		model.pick = e.target.value;
		charts_update();
	});
	find('#leave').addEventListener('click', async () => {
		await logout().catch(() => {});
		out('You have logged out.');
	});
	theme_start(find('#theme'), () => {
		for (const figure of [memory, ...small])
			figure.forget();
		charts_update();
	});
	document.addEventListener('visibilitychange', () => {
		if (!document.hidden && session)
			look();
	});
}

controls_start();
try {
	session = await login();
	if (session)
		inside();
	else
		out('');
	watch();
} catch (error) {
	out(error instanceof Refused ? `${error.message[0].toUpperCase()}${error.message.slice(1)}.`
		: 'tmemd does not answer.');
}
