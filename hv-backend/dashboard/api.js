// SPDX-License-Identifier: GPL-2.0-or-later
// api.js - the daemon's interface (hv-backend/web.h): login, verbs, history.
//
// Owns:    the session: who we are, and the second secret, which every request shows.
//          It is kept with this page's origin, where a reload finds it and no other
//          server of this host can; the first is in a cookie that no script sees.

const KEY = 'tmemd-csrf';

export class Refused extends Error {
	constructor(answer, status) {
		super(answer.error ?? `HTTP status ${status}`);
		this.status = status;
		this.code = answer.code;
	}
}

async function post(path, body) {
	const headers = { 'Content-Type': 'application/json' };
	const csrf = localStorage.getItem(KEY);
	if (csrf)
		headers['X-Tmemd-Csrf'] = csrf;
	const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
	const answer = await response.json().catch(() => ({}));
	if (!response.ok || !answer.ok)
		throw new Refused(answer, response.status);
	return answer;
}

// The session, or null where there is none.  The token stands behind the '#', which no server and no log ever sees; it is
// taken out of the address at once.
export async function login() {
	const token = new URLSearchParams(location.hash.slice(1)).get('token');
	history.replaceState(null, '', location.pathname);
	if (!token)
		return post('/api/session', {}).catch((error) => {
			if (error.status === 401 || error.status === 403)
				return null;
			throw error;
		});
	const session = await post('/api/login', { token });
	localStorage.setItem(KEY, session.csrf);
	return session;
}

export async function logout() {
	await post('/api/logout', {});
	localStorage.removeItem(KEY);
}

export const verb = (name, more = {}) => post('/api/verb', { verb: name, ...more });
export const past = (span, after) => post('/api/history', { span, after });
