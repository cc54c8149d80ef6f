// SPDX-License-Identifier: GPL-2.0-or-later
import { login, verb } from './api.js';

await login();
document.getElementById('verdict').textContent = (await verb('status')).verdict.text;
