# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lib.sh - what tests of tmemd from the outside share: TAP, one daemon in a
# directory of its own, and a look into the JSON that tmemctl prints.
#
# Sourced from the top of the tree.  TMEM_BUILD names the build (build).

build=${TMEM_BUILD:-build}
tmemd=$build/tmemd tmemctl=$build/tmemctl
work=$(mktemp -d)
run=$work/run
count=0
daemon=

say() {
	count=$((count + 1))
	if "${@:2}"; then echo "ok $count - $1"; else echo "not ok $count - $1"; fi
}

# expect CODE COMMAND...: run it, keep what it says in $out, compare its exit code.
expect() {
	local code=$1
	shift
	out=$("$@" 2>&1)
	[ $? -eq "$code" ] || { echo "# $*: not $code: $out"; return 1; }
}

ctl() { "$tmemctl" --socket "$run/control.sock" "$@"; }
said() { grep -qF -- "$1" <<<"$out"; }
is_json() { python3 -m json.tool <<<"$out" >/dev/null; }

# value KEY...: walk into the JSON of $out.
value() {
	python3 -c '
import json, sys
v = json.loads(sys.argv[1])
for k in sys.argv[2:]:
    v = v[int(k)] if k.isdigit() else v[k]
print(v)' "$out" "$@"
}

# Start and wait until it says that it is there: the socket may be a dead one's.
start() {
	rm -f "$work/log"
	"$tmemd" --run-dir "$run" "$@" >"$work/log" 2>&1 &
	daemon=$!
	for _ in $(seq 300); do
		grep -qsF "control socket $run/control.sock" "$work/log" && return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.05
	done
	sed 's/^/# /' "$work/log"
	return 1
}

# stop SIGNAL: the exit code must be 0.
stop() {
	kill "-$1" "$daemon"
	wait "$daemon"
}

cleanup() {
	[ -n "$daemon" ] && kill -KILL "$daemon" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
