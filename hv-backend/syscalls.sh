#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Usage: syscalls.sh SOURCE...
# The system calls that the sources name in their "#syscalls:" lines, as C strings,
# each once.
set -eu
sed -n 's/^.*#syscalls:[[:space:]]*//p' "$@" | tr -s ' \t' '\n' | sed 's|\*/||; /^$/d' |
	sort -u | sed 's/.*/"&",/'
