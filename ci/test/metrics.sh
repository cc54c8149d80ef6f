#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The metrics as Prometheus gets them: over both sockets, judged by promtool, all
# of them in docs/metrics.md, and the alert rules' and the dashboard's among them.
# TAP.  TMEM_BUILD names the build (build).
set -u
build=${TMEM_BUILD:-build}
work=$(mktemp -d)
run=$work/run
port=$((20000 + $$ % 20000))
count=0
daemon=

say() {
	count=$((count + 1))
	if "${@:2}"; then echo "ok $count - $1"; else echo "not ok $count - $1"; fi
}

skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

cleanup() {
	[ -n "$daemon" ] && kill -KILL "$daemon" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

start() {
	"$build/tmemd" --run-dir "$run" --arena 64M --guest a --guest b "$@" >"$work/log" 2>&1 &
	daemon=$!
	for _ in $(seq 300); do
		grep -qsF "control socket $run/control.sock" "$work/log" && return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.05
	done
	sed 's/^/# /' "$work/log"
	return 1
}

stop() {
	kill -TERM "$daemon"
	wait "$daemon"
}

get() { curl -sS --max-time 10 "$@" >"$work/out" 2>"$work/err"; }
unix() { get --unix-socket "$run/http.sock" "http://tmemd$1" "${@:2}"; }
status_is() { unix "$2" -o /dev/null -w '%{http_code}' "${@:3}" && [ "$(cat "$work/out")" = "$1" ]; }
families() { sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$work/metrics" | sort; }
# And the series of histograms.
names() {
	{ families; sed -n 's/^# TYPE \([^ ]*\) histogram/\1_bucket\n\1_sum\n\1_count/p' "$work/metrics"; } |
		sort
}

# Every tmem_ word of a file is a metric.
names_are_known() {
	local unknown
	unknown=$(grep -oE '\btmem_[a-z_]+' "$1" | sort -u | comm -23 - <(names))
	[ -z "$unknown" ] || { echo "# $1: $unknown"; return 1; }
}
all_documented() {
	local missing
	# shellcheck disable=SC2016
	missing=$(families | comm -23 - <(grep -oE '^\| `tmem_[a-z_]+`' docs/metrics.md | tr -d '|` ' | sort))
	[ -z "$missing" ] || { echo "# $missing"; return 1; }
}
garbage() { python3 - "$run/http.sock" "$1" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect(sys.argv[1])
try:
    s.sendall({"bytes": bytes(range(256)) * 8,
               "header": b"GET /metrics HTTP/1.1\r\nHost: tmemd\r\nA: " + b"a" * 100000 + b"\r\n\r\n",
               "length": b"POST /metrics HTTP/1.1\r\nHost: tmemd\r\nContent-Length: -1\r\n\r\n",
               "cut": b"GET /met"}[sys.argv[2]])
    if sys.argv[2] == "cut":
        s.close()
        sys.exit(0)
    answer = s.recv(4096)
except (BrokenPipeError, ConnectionResetError):
    answer = b""
sys.exit(0 if answer[:13] != b"HTTP/1.1 200 " else 1)
END
}

say "daemon starts" start --http-port "$port"
say "metrics over the unix socket" unix /metrics
cp "$work/out" "$work/metrics"
say "has both guests" grep -q '^tmem_guest_pages{guest="b",kind="persistent"} 0$' "$work/metrics"
say "metrics over 127.0.0.1" get "http://127.0.0.1:$port/metrics"
say "has both guests there" grep -q '^tmem_guest_ready{guest="a"} 0$' "$work/out"
say "other paths are not there" status_is 404 /nothing
say "nothing can be changed" status_is 405 /metrics -X POST -d x
for what in bytes header length cut; do
	say "malformed request: $what" garbage "$what"
done
say "still answers" status_is 200 /metrics

idle() { python3 - "$run/http.sock" <<'END'
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
idle = []
for i in range(1000):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    if i % 2: s.sendall(b"GET /metr")
    idle.append(s)
start = time.monotonic()
s = socket.socket(socket.AF_UNIX)
s.settimeout(8)
s.connect(sys.argv[1])
s.sendall(b"GET /metrics HTTP/1.1\r\nHost: tmemd\r\n\r\n")
answer = s.recv(4096)
took = time.monotonic() - start
print("# answered in %.3f s" % took)
sys.exit(0 if answer.startswith(b"HTTP/1.1 200 ") else 1)
END
}
say "a thousand idle connections delay nobody" idle

if tool=$(ci/promtool 2>"$work/err" | tail -n 1) && [ -n "$tool" ]; then
	check_metrics() { "$tool" check metrics <"$work/metrics" >"$work/err" 2>&1 && [ ! -s "$work/err" ]; }
	say "promtool finds nothing" check_metrics || sed 's/^/# /' "$work/err"
	check_rules() { "$tool" check rules docs/prometheus/alerts.yml >"$work/err" 2>&1; }
	say "promtool takes the alert rules" check_rules || sed 's/^/# /' "$work/err"
else
	skip "promtool finds nothing" "no promtool"
	skip "promtool takes the alert rules" "no promtool"
fi
say "docs/metrics.md lists them all" all_documented
say "docs/metrics.md lists no other" names_are_known docs/metrics.md
say "alert rules use no other" names_are_known docs/prometheus/alerts.yml
say "the Grafana dashboard uses no other" names_are_known docs/prometheus/grafana.json
say "the Grafana dashboard is JSON" python3 -m json.tool docs/prometheus/grafana.json "$work/json"

say "ends" stop
daemon=
say "leaves no socket" test ! -e "$run/http.sock"
say "starts without HTTP" start --http no
say "no socket then" test ! -e "$run/http.sock"
say "ends" stop
daemon=
echo "1..$count"
