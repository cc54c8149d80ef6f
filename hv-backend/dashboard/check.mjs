// SPDX-License-Identifier: GPL-2.0-or-later
// check.mjs - the dashboard in a real browser, beside what tmemctl says.  TAP.
//
// Usage: node check.mjs   with all that ci/check-dashboard sets in the environment.
// How:     the two guests of the first part are at work; for the comparison of numbers
//          they have fallen silent, so that both sides count the same.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { kill } from 'node:process';

const { CHROMIUM, PAGE, TMEMCTL, SOCKET, SHOTS, GUEST_PIDS, MODULES, PROFILE, TMEMD_PID, CONFIG } =
	process.env;
const { chromium } = createRequire(`${MODULES}/`)('playwright-core');
const WAIT = 30000;

let count = 0, failed = 0;

function is(name, holds, more = '') {
	count++;
	if (!holds)
		failed++;
	console.log(`${holds ? 'ok' : 'not ok'} ${count} - ${name}`);
	if (!holds && more)
		console.log(`# ${more}`);
}

function tmemctl(...args) {
	return JSON.parse(execFileSync(TMEMCTL, ['--socket', SOCKET, '--json', ...args], { encoding: 'utf8' }));
}

const token_url = (...args) => `${PAGE}${tmemctl('dashboard', ...args).path}`;

const browser = await chromium.launchPersistentContext(PROFILE, {
	executablePath: CHROMIUM, headless: true, viewport: { width: 1440, height: 900 },
	args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
		'--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const errors = [], foreign = [];

function watch(page) {
	page.on('console', (m) => (['error', 'warning'].includes(m.type()) ? errors.push(m.text()) : 0));
	page.on('pageerror', (e) => errors.push(String(e)));
	page.on('request', (r) => (r.url().startsWith(PAGE) ? 0 : foreign.push(r.url())));
	page.setDefaultTimeout(WAIT);
	return page;
}

const page = watch(browser.pages()[0] ?? await browser.newPage());

// ---- it opens, with two guests at work

await page.goto(token_url());
await page.waitForSelector('#guests tr[data-guest="bob"] [data-state="ready"]');
await page.waitForSelector('#memory canvas');
is('the page opens by the token', await page.isVisible('main'));
is('the token has left the address', !page.url().includes('token'), page.url());
is('cookies are hidden from scripts', await page.evaluate(() => document.cookie === ''));
const verdict = await page.textContent('#verdict h1');
is('the verdict is a sentence about the guests', /2 of 3 guests are at work, .* held for them/.test(verdict), verdict);
is('six charts and the memory are drawn', await page.locator('figure canvas').count() === 7);
is('a guest without a driver is called that', (await page.textContent('#guests tr[data-guest="carol"]')).includes('no driver'));
is('and has neither 0 nor 100 % of hits',
	!/\d %/.test(await page.textContent('#guests tr[data-guest="carol"]')));
await page.waitForFunction(() => document.querySelectorAll('#events tbody tr').length > 0);
is('rates are above 0 while guests work', await page.waitForFunction(() => {
	const cells = document.querySelectorAll('#guests tr[data-guest="alice"] td data');
	return [...cells].some((d) => Number(d.value) > 1 && d.textContent === String(Math.round(d.value)));
}).then(() => true, () => false));

// ---- how it looks

const SHOT_S = 1000 * Number(process.env.SHOT_AFTER_S ?? 8);
await page.waitForTimeout(SHOT_S);
for (const width of [1440, 600]) {
	for (const scheme of ['light', 'dark']) {
		await page.setViewportSize({ width, height: 900 });
		await page.emulateMedia({ colorScheme: scheme });
		await page.waitForTimeout(2500);
		await page.screenshot({ path: `${SHOTS}/${width}-${scheme}.png`, fullPage: true });
		const wide = await page.evaluate(() => document.documentElement.scrollWidth);
		is(`nothing is cut off at ${width}, ${scheme}`, wide <= width, `${wide} wide`);
	}
}
await page.setViewportSize({ width: 1440, height: 900 });

// ---- the same numbers as tmemctl's

for (const pid of GUEST_PIDS.split(' '))
	kill(Number(pid), 'SIGSTOP');
await page.waitForTimeout(4500);

const value = (selector) => page.locator(`${selector} data`).first().getAttribute('value').then(Number);
const { totals } = tmemctl('status');
const { guests, host } = tmemctl('stats');
const { pools } = tmemctl('pools');

is('bytes held', await value('[data-figure="physical"]') === totals.physical_bytes);
is('bytes of their pages', await value('[data-figure="logical"]') === totals.logical_bytes);
is('puts refused', await value('[data-figure="refused"]') === totals.puts_refused);
is('pages evicted', await value('[data-figure="evicted"]') === totals.evicted_pages);
is('the hit ratio', await value('[data-figure="hits"]') === totals.gets_ok / totals.gets);

const cells = (selector) => page.$$eval(`${selector} data`, (all) => all.map((d) => Number(d.value)));
for (const g of guests.filter((g) => g.state === 'ready')) {
	const shown = await cells(`#guests tr[data-guest="${g.name}"]`);
	is(`what ${g.name} holds, its weight and its min`,
		[g.physical_bytes, g.quota.weight, g.quota.min].every((n) => shown.includes(n)), `${shown}`);
}
for (const p of pools) {
	const shown = await cells(`#pools tr[data-pool="${p.guest}/${p.id}"]`);
	const wanted = [p.objects, p.pages, p.bytes_physical, p.hit_ratio, p.puts_ok, p.gets_ok, p.evicted_pages]
		.filter((n) => n !== null);
	is(`pool ${p.guest}/${p.id}`, JSON.stringify(shown) === JSON.stringify(wanted), `${shown} and not ${wanted}`);
}
is('four pools', pools.length === 4);

// ---- a table behind every chart

// The table of a figure: its titles and its newest row's values.
async function table_of(name) {
	const figure = page.locator(`figure[data-figure="${name}"]`);
	await figure.locator('figcaption button').press('Enter');
	const titles = await figure.locator('.rows thead th').allTextContents();
	const rows = await figure.locator('.rows tbody tr').evaluateAll((all) =>
		all.map((tr) => [...tr.children].map((c) => c.querySelector('data')?.value ?? c.textContent)));
	await figure.locator('figcaption button').press('Enter');
	return { titles, rows };
}

const memory = await table_of('memory');
for (const g of guests.filter((g) => g.state === 'ready')) {
	for (const kind of ['persistent', 'ephemeral']) {
		const column = memory.titles.indexOf(`${g.name} ${kind}`);
		is(`the chart's newest ${kind} bytes of ${g.name}`,
			Number(memory.rows[0][column]) === g[kind].bytes_physical,
			`${memory.titles}: ${memory.rows[0]}`);
	}
}
is('the limit line', Number(memory.rows[0].at(-1)) === host.target_bytes);
const chunks = await table_of('chunks');
const sum = (column) => chunks.rows.reduce((n, row) => n + Number(row[column]), 0);
is('the histogram has every page that takes space',
	sum(1) === host.pages_by_chunks.reduce((a, b) => a + b, 0) &&
	sum(2) === host.persistent_pages_by_chunks.reduce((a, b) => a + b, 0) && sum(2) > 0);
for (const name of ['rates', 'losses', 'ratios', 'pressure', 'latency'])
	is(`a table behind ${name}`, (await table_of(name)).rows.length > 3);
const latency = await table_of('latency');
is('latencies were measured', latency.rows.some((row) => Number(row[1]) > 100 && Number(row[2]) >= Number(row[1])));

// ---- keyboard

await page.locator('figure[data-figure="rates"] .plot').focus();
await page.keyboard.press('End');
const legend = page.locator('figure[data-figure="rates"] .u-legend');
const last = await legend.textContent();
// More than one step: a sample that comes in between moves all by one.
for (let i = 0; i < 3; i++)
	await page.keyboard.press('ArrowLeft');
is('the arrow keys move a chart\'s cursor', last !== await legend.textContent(), last);
await page.keyboard.press('Escape');

// ---- changes reach the daemon

const dialog = page.locator('dialog');
await page.locator('[data-key="quota bob"]').focus();
await page.keyboard.press('Enter');
await dialog.locator('[name="max"]').fill('48M');
await dialog.locator('[name="codec-ephemeral"]').selectOption('zstd');
await dialog.locator('[name="config"]').check();
await page.screenshot({ path: `${SHOTS}/quota.png` });
await dialog.locator('.go').click();
await dialog.waitFor({ state: 'detached' });
const bob = tmemctl('stats', 'bob').guests[0];
is('a quota edit reaches the daemon', bob.quota.max === 48 << 20, JSON.stringify(bob.quota));
is('and the configuration file', /max = 48M/.test(readFileSync(CONFIG, 'utf8')));
is('and a codec', bob.quota.codec_ephemeral === 'zstd');
is('the page shows it', (await cells('#guests tr[data-guest="bob"]')).includes(48 << 20));
const changes = tmemctl('events').events.filter((e) => e.kind === 'change');
is('it is logged with who did it', changes.some((e) => /^uid \d+ by the dashboard: .*48M/.test(e.text)));

await page.locator('[data-key="quota bob"]').click();
await dialog.locator('[name="min"]').fill('lots');
await dialog.locator('.go').click();
await page.waitForFunction(() => document.querySelector('dialog .say')?.textContent.length > 5);
is('a bad value is explained', /min/.test(await dialog.locator('.say').textContent()));
await page.keyboard.press('Escape');
await dialog.waitFor({ state: 'detached' });

await page.locator('[data-key="freeze bob"]').click();
await page.waitForFunction(() => document.querySelector('tr[data-guest="bob"] .state').textContent === 'frozen');
is('freeze reaches the daemon', tmemctl('stats', 'bob').guests[0].frozen);
is('the verdict says so', (await page.textContent('#verdict h1')).includes('frozen'));
await page.locator('[data-key="freeze bob"]').click();
await page.waitForFunction(() => document.querySelector('tr[data-guest="bob"] .state').textContent === 'at work');

await page.locator('#shrink').click();
await dialog.locator('[name="bytes"]').fill('1M');
await dialog.locator('.go').click();
await page.waitForFunction(() => document.querySelector('dialog .say')?.textContent.includes('would go back'));
await page.screenshot({ path: `${SHOTS}/shrink.png` });
const evicted = tmemctl('status').totals.evicted_pages;
is('a dry run takes nothing', evicted === totals.evicted_pages);
await dialog.locator('.go').click();
await page.waitForFunction(() => /given back: /.test(document.querySelector('dialog .say')?.textContent));
is('the second press gives it back', tmemctl('status').host.frames_returned > host.frames_returned);
await page.keyboard.press('Escape');
await dialog.waitFor({ state: 'detached' });

// ---- the host runs short: marks above all there is

const calm = readFileSync(CONFIG, 'utf8');
writeFileSync(CONFIG, calm.replace('[tmemd]\n', '[tmemd]\nmemory-low = 1T\nmemory-high = 2T\n'));
kill(Number(TMEMD_PID), 'SIGHUP');
const told = await page.waitForFunction(() => {
	const verdict = document.querySelector('#verdict');
	return verdict.dataset.level !== 'good' && /short of memory/.test(verdict.textContent) &&
		[...document.querySelectorAll('#events .kind')].some((k) => k.textContent === 'reclaim');
}).then(() => true, () => false);
is('the verdict and the events say what the host does', told, await page.textContent('#verdict h1'));
await page.waitForTimeout(4500);
is('its evictions are in the chart of its stalls',
	(await table_of('pressure')).rows.some((row) => Number(row[2]) > 0));
await page.screenshot({ path: `${SHOTS}/short.png`, fullPage: true });
writeFileSync(CONFIG, calm);
kill(Number(TMEMD_PID), 'SIGHUP');

// ---- the other span, one guest alone

await page.locator('#pick').selectOption('alice');
is('charts of one guest', (await table_of('memory')).titles.join().includes('alice') &&
	!(await table_of('memory')).titles.join().includes('bob'));
await page.locator('#pick').selectOption('');
await page.locator('#span input[value="day"]').check({ force: true });
await page.waitForTimeout(1500);
is('the day is shown', await page.isVisible('#memory figure'));
is('no error on the console', errors.length === 0, errors.join(' | '));
is('nothing is asked of anyone else', foreign.length === 0, foreign.join(' '));

await page.reload();
await page.waitForSelector('#guests tr[data-guest="alice"]');
is('a reload keeps the session', await page.isVisible('main'));

// ---- who is kept out

const origin = await page.evaluate(async () => {
	const answer = await fetch('/api/verb', { method: 'POST', body: '{"verb":"list"}',
		headers: { 'Content-Type': 'application/json' } });
	return answer.status;
});
is('a session without its second secret does nothing', origin === 403, `${origin}`);
await page.locator('#leave').click();
await page.waitForSelector('#out:not([hidden])');
await page.reload();
await page.waitForSelector('#out:not([hidden])');
is('logged out shows how to come back', (await page.textContent('#out')).includes('tmemctl dashboard'));
await page.screenshot({ path: `${SHOTS}/out.png` });

await page.goto(`${PAGE}/#token=${'0'.repeat(64)}`);
await page.reload();
await page.waitForSelector('#out:not([hidden])');
is('a wrong token is refused', !(await page.isVisible('main')));

// A page of another name on this very host, and of another port.
const elsewhere = await browser.newPage();
await elsewhere.route('http://evil.example/**', (route) => route.fulfill({ contentType: 'text/html', body: 'evil' }));
await elsewhere.goto('http://evil.example/');
const theft = await elsewhere.evaluate(async (target) => {
	const tries = [];
	for (const mode of ['cors', 'no-cors']) {
		tries.push(await fetch(`${target}/api/login`, { method: 'POST', mode, credentials: 'include', body: '{}' })
			.then((r) => r.text(), () => ''));
	}
	tries.push(await fetch(`${target}/metrics`).then((r) => r.text(), () => ''));
	return tries.join('');
}, PAGE);
is('another origin reads nothing', theft === '', theft);
await elsewhere.close();

// ---- who may only look

await page.goto('about:blank');
await page.goto(token_url('--read-only'));
await page.waitForSelector('#guests tr[data-guest="alice"]');
is('a reader sees numbers', (await cells('#guests tr[data-guest="alice"]')).length > 5);
is('and nothing to change them with', await page.locator('[data-key], #shrink').count() === 0);

await browser.close();
console.log(`1..${count}`);
process.exit(failed ? 1 : 0);
