// SPDX-License-Identifier: GPL-2.0-or-later
// theme.js - light or dark: as the system is, or as chosen here and kept.

const KEY = 'tmemd-theme', order = ['system', 'light', 'dark'];

function show(button, theme) {
	if (theme === 'system')
		delete document.documentElement.dataset.theme;
	else
		document.documentElement.dataset.theme = theme;
	button.textContent = { system: 'Theme: system', light: 'Theme: light', dark: 'Theme: dark' }[theme];
}

// changed is called after each change, the system's too.
export function theme_start(button, changed) {
	let theme = localStorage.getItem(KEY);

	if (!order.includes(theme))
		theme = 'system';
	show(button, theme);
	button.addEventListener('click', () => {
		theme = order[(order.indexOf(theme) + 1) % order.length];
		localStorage.setItem(KEY, theme);
		show(button, theme);
		changed();
	});
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
}
