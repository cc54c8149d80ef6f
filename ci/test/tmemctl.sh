#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd and tmemctl from the outside: start, look, change, misuse, end.
# TAP.  TMEM_BUILD names the build (build).
set -u
# shellcheck source=ci/test/lib.sh
. "$(dirname "$0")/lib.sh"

# ---- a configuration that will not do -----------------------------------------

refused() {
	printf '%s\n' "$1" >"$work/bad.conf"
	expect 1 "$tmemd" --config "$work/bad.conf" --run-dir "$run" && said "$work/bad.conf:$2"
}

say "bad size: line and reason" refused $'[tmemd]\narena = 12X' '2: arena: "12X" is not a size'
say "min above max: line and reason" refused $'[guest a]\nmin = 2G\nmax = 1G' '3: min'
say "unknown section: line and reason" refused $'\n[hosts]' '2: [hosts]: no such section'
say "unknown option: line and reason" refused $'[tmemd]\n\ncolour = red' '3: colour: no such option'
say "absent configuration file" expect 1 "$tmemd" --config "$work/absent.conf"
say "bad flag value" expect 1 "$tmemd" --workers many
say "unknown flag is a usage error" expect 2 "$tmemd" --frobnicate
say "stray argument is a usage error" expect 2 "$tmemd" stray
say "version of the daemon" expect 0 "$tmemd" --version
say "help of the daemon" expect 0 "$tmemd" --help
foreign_file_is_kept() {
	echo "not an arena" >"$work/foreign"
	expect 1 "$tmemd" --run-dir "$run" --arena-file "$work/foreign" &&
		said "$work/foreign: not an arena" && grep -qx "not an arena" "$work/foreign"
}
say "a file that is no arena is refused and kept" foreign_file_is_kept
say "nothing was made by what was refused" test ! -e "$run"

# The sample, as shipped and with every default it shows switched on.
sample=hv-backend/tmemd.conf
sed -E 's/^#([a-z-]+ = |\[guest )/\1/; /^(arena-file|run-dir|socket) = /d' "$sample" >"$work/sample.conf"
sample_works() { start --config "$1" --arena-file "$work/arena" && stop TERM; }
say "sample configuration is taken" sample_works "$sample"
say "sample configuration with all its defaults is taken" sample_works "$work/sample.conf"
cat >"$work/twice.conf" <<END
[tmemd]
log-level = info
[guest c]
weight = 7
END

# ---- no daemon -----------------------------------------------------------------

say "no daemon: code 3" expect 3 ctl list
say "no daemon: says where it looked" said "$run/control.sock"

# ---- a daemon ------------------------------------------------------------------

say "daemon starts" start --arena 64M --config "$work/twice.conf" --guest a --guest "b:$work/b.sock"
say "sockets of the guests are there" test -S "$run/a.sock" -a -S "$work/b.sock" -a -S "$run/c.sock"
say "second daemon in the directory is refused" expect 1 "$tmemd" --run-dir "$run" --arena 16M
say "and says why" said "another tmemd uses it"

list_is_right() {
	expect 0 ctl list --json && is_json && [ "$(value ok)" = True ] &&
		[ "$(value schema_version)" = 1 ] && [ "$(value guests 0 name)" = c ] &&
		[ "$(value guests 1 name)" = a ] && [ "$(value guests 2 name)" = b ] &&
		[ "$(value guests 1 state)" = listening ] && [ "$(value guests 0 weight)" = 7 ] &&
		[ "$(value guests 1 physical_bytes)" = 0 ] && [ "$(value host target_bytes)" = 67108864 ]
}
stats_are_right() {
	expect 0 ctl stats a --json && is_json && [ "$(value guests 0 name)" = a ] &&
		[ "$(value guests 0 quota max)" = None ] && [ "$(value guests 0 persistent puts)" = 0 ] &&
		expect 0 ctl stats --json && is_json && [ "$(value guests 2 socket)" = "$work/b.sock" ] &&
		[ "$(value host persistent_max_bytes)" = 50331648 ]
}
version_is_right() { expect 0 ctl version --json && is_json && [ "$(value protocol_version)" = 1 ] && [ "$(value pid)" = "$daemon" ]; }
say "list --json" list_is_right
say "stats --json" stats_are_right
say "version --json" version_is_right
say "pools --json" expect 0 ctl pools --json
say "list as a table" expect 0 ctl list
say "table has titles" said "NAME STATE"
say "table has a line for each guest" test "$(wc -l <<<"$out")" -eq 4
say "list --raw --noheadings" expect 0 ctl list --raw --noheadings -b
say "raw line is split at blanks" grep -qE '^a listening 0 0 0 0 - 0 0 - 0 0 - -$' <<<"$out"
say "status" expect 0 ctl status
say "status counts guests" said "Guests      3: 0 with a driver, 0 without, 3 not connected"
say "status has the limit" said "may use 64M of 64M"
say "status has the pressure in words" said "the host "
status_is_right() { expect 0 ctl status --json && is_json && [ "$(value totals guests)" = 3 ] && [ "$(value pid)" = "$daemon" ]; }
say "status --json" status_is_right
top_is_right() {
	expect 0 ctl top --count 2 --json && [ "$(wc -l <<<"$out")" -eq 2 ] && out=${out%%$'\n'*} && is_json &&
		[ "$(value guests 0 puts_per_second)" = 0.0 ] && [ "$(value guests 2 hit_ratio)" = None ]
}
say "top --json, a line for each look" top_is_right
say "top as a table" expect 0 ctl top --count 1 --raw -o NAME,PUTS/S,HIT%
say "top has rates" grep -qE '^a 0 -$' <<<"$out"
say "pools as a table" expect 0 ctl pools a
say "stats as a table" expect 0 ctl stats a
say "stats shows counters" said "puts_refused_quota"
say "stats of all" expect 0 ctl stats
say "version" expect 0 ctl version

# ---- changes -------------------------------------------------------------------

set_is_right() {
	expect 0 ctl set a --max 32M --min 1M --weight 250 --persistent-max none --codec lz4 --raw &&
		said "a 250 1M 32M none lz4 lz4" && expect 0 ctl stats a --json && [ "$(value guests 0 quota max)" = 33554432 ] &&
		[ "$(value guests 0 quota min)" = 1048576 ] && [ "$(value guests 0 quota weight)" = 250 ] &&
		[ "$(value guests 0 quota codec_ephemeral)" = lz4 ]
}
set_refused_changes_nothing() {
	expect 2 ctl set a --weight 9 --min 64M && said "above max" &&
		expect 0 ctl stats a --json && [ "$(value guests 0 quota weight)" = 250 ]
}
frozen() { expect 0 ctl list --json && [ "$(value guests 1 frozen)" = "$1" ]; }
say "set" set_is_right
say "set that will not do changes nothing" set_refused_changes_nothing
set_all_is_right() {
	expect 0 ctl set --all --persistent-max 60M --json && is_json &&
		[ "$(value changed 0 guest)" = c ] && [ "$(value changed 0 quota persistent_max)" = 62914560 ] &&
		[ "$(value changed 2 guest)" = b ] && expect 0 ctl stats --json &&
		[ "$(value guests 2 quota persistent_max)" = 62914560 ]
}
set_config_is_right() {
	cp "$work/twice.conf" "$work/before.conf"
	expect 0 ctl set c --config --min 2M && grep -q '^min = 2M$' "$work/twice.conf" &&
		expect 0 ctl stats c --json && [ "$(value guests 0 quota min)" = 0 ] &&
		expect 0 ctl set c --config --live --min 3M && grep -q '^min = 3M$' "$work/twice.conf" &&
		expect 0 ctl stats c --json && [ "$(value guests 0 quota min)" = 3145728 ] &&
		expect 2 ctl set c --config --live --min 65M && said "mins add up to" &&
		grep -q '^min = 3M$' "$work/twice.conf" && expect 0 ctl set c --live --min 0
	local code=$?
	mv "$work/before.conf" "$work/twice.conf"
	return $code
}
set_host_is_right() {
	cp "$work/twice.conf" "$work/before.conf"
	expect 0 ctl set --host --arena 32M --json && is_json && [ "$(value limits arena_bytes)" = 33554432 ] &&
		[ "$(value limits persistent_max_bytes)" = 25165824 ] && expect 0 ctl status && said "may use 32M of 32M" &&
		expect 0 ctl events && said 'uid ' && said '"arena":"32M"' &&
		expect 2 ctl set c --min 33M && said "the arena has 33554432" && ! grep -q arena "$work/twice.conf" &&
		expect 0 ctl set --host --config --live --arena 48M --memory-floor 1M --raw && said "arena_bytes 48M" &&
		grep -q '^arena = 48M$' "$work/twice.conf" && grep -q '^memory-floor = 1M$' "$work/twice.conf" &&
		expect 0 ctl set --host --config --arena 2G && grep -q '^arena = 2G$' "$work/twice.conf" &&
		expect 0 ctl status && said "of 48M" &&
		expect 0 ctl set --host --arena 64M --memory-floor 0
	local code=$?
	mv "$work/before.conf" "$work/twice.conf"
	return $code
}
say "set --host changes the arena, tells who did it, writes the file" set_host_is_right
say "arena above what it was made with" expect 2 ctl set --host --arena 65M
say "says what that is" said "made with (67108864)"
say "set --host of an option of guests" expect 2 ctl set --host --weight 3
say "set of a guest and --host" expect 2 ctl set a --host --arena 32M
say "set --host shows no columns" expect 2 ctl set --host --arena 32M -o GUEST
say "set --all" set_all_is_right
say "set --config writes the file, --live what is in force" set_config_is_right
say "set of an unknown option" expect 2 ctl set a --colour red
say "set of nothing" expect 2 ctl set a
say "set of nobody" expect 2 ctl set --weight 3
say "set of a guest and --all" expect 2 ctl set a --all --weight 3
say "set of an unknown guest" expect 4 ctl set nobody --weight 3
say "set of the same twice" expect 2 ctl set a --min 1 --min 2
say "size that overflows" expect 2 ctl set a --max 99999999999E
say "and says so" said "is too large"
say "weight out of range" expect 2 ctl set a --weight 65536
say "mins of all above the arena" expect 2 ctl set --all --min 22M
say "option of another command" expect 2 ctl list --min 3
say "is named" said "list: takes no --min"
say "freeze" expect 0 ctl freeze a
say "is frozen" frozen True
say "thaw" expect 0 ctl thaw a
say "is not frozen" frozen False
say "flush --ephemeral" expect 0 ctl flush a --ephemeral
say "flush of what cannot be dropped: code 2" expect 2 ctl flush a
uuid=01234567-89ab-cdef-0123-456789abcdef
say "auth --allow" expect 0 ctl auth a $uuid --allow
say "auth --deny" expect 0 ctl auth a $uuid --deny
say "auth of both: code 2" expect 2 ctl auth a $uuid --allow --deny
say "auth of neither: code 2" expect 2 ctl auth a $uuid
say "auth without a UUID: code 2" expect 2 ctl auth a --allow
say "auth of what is no UUID: code 2" expect 2 ctl auth a 0123 --allow
say "auth of nobody: code 4" expect 4 ctl auth nobody $uuid --allow
ctl shrink 1M >/dev/null
say "shrink with nothing to give: code 1" expect 1 ctl shrink 1M
say "shrink --json" expect 1 ctl --json shrink 1M
say "shrink's JSON" is_json
say "changes are logged with who asked" grep -qF "control: uid $(id -u), pid " "$work/log"

# ---- misuse --------------------------------------------------------------------

say "no such guest: code 4" expect 4 ctl stats nobody
say "no such guest: named" said "no guest is called nobody"
say "no such guest to freeze: code 4" expect 4 ctl freeze nobody
say "unknown command: code 2" expect 2 ctl frobnicate
say "no command: code 2" expect 2 ctl
say "too many arguments: code 2" expect 2 ctl list a
say "unknown option: code 2" expect 2 ctl --frobnicate list
say "bad --watch: code 2" expect 2 ctl --watch 0 list
say "watch of a change: code 2" expect 2 ctl --watch 1 freeze a
say "shrink by nothing: code 2" expect 2 ctl shrink 0
say "shrink by what overflows: code 2" expect 2 ctl shrink 16E

# ---- columns -------------------------------------------------------------------

say "list -o" expect 0 ctl list --raw -o name,PHYSICAL,state
say "has these columns in this order" said "NAME PHYSICAL STATE"
say "and their cells" grep -qE '^c 0 listening$' <<<"$out"
say "unknown column: code 2" expect 2 ctl list -o NAME,COLOUR
say "names the columns there are" said "there are NAME STATE"
say "empty column: code 2" expect 2 ctl list -o NAME,
say "-o where there is no table: code 2" expect 2 ctl version -o NAME

watch_goes_on() {
	local seen
	seen=$(timeout 2.5 "$tmemctl" --socket "$run/control.sock" --json --watch 1 list | wc -l)
	[ "$seen" -ge 2 ]
}
say "list --watch" watch_goes_on

cat >"$work/misuse.py" <<'END'
import json, socket, sys
path = sys.argv[1]
def ask(data):
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(path)
    s.sendall(data); s.shutdown(socket.SHUT_WR)
    got = b""
    while True:
        more = s.recv(65536)
        if not more: return [json.loads(l) for l in got.splitlines()]
        got += more
bad = [b"list", b"{", b"[]", b"{}", b"null", b'"list"', b'{"verb":1}', b'{"verb":"nope"}',
       b'{"verb":"list","x":1}', b'{"verb":"list","verb":"list"}', b'{"verb":"stats","guest":7}',
       b'{"verb":"set","guest":"a"}', b'{"verb":"set","guest":"a","values":[]}',
       b'{"verb":"set","guest":"a","values":{"max":-1}}',
       b'{"verb":"set","guest":"a","values":{"max":{}}}', b'{"verb":"shrink"}',
       b'{"verb":"shrink","bytes":-1}', b'{"verb":"shrink","bytes":1e999}', b"\xff\xfe",
       b'{"verb":"\xff"}', b'{"verb":"li\0st"}', b"[" * 5000, b'{"verb":"' + b"\xe2\x82\xac" * 300 + b'"}']
for b in bad:
    r = ask(b + b"\n")
    assert len(r) == 1 and r[0]["ok"] is False and r[0]["code"] == 2 and r[0]["error"], (b[:60], r)
r = ask(b"\n".join(bad) + b'\n{"verb":"version"}\n')
assert len(r) == len(bad) + 1 and r[-1]["ok"] is True
assert ask(b'{"verb":"version"}') == []
r = ask(b'{"verb":"' + b"x" * 65000 + b'"}\n')
assert r[0]["ok"] is False
END
say "malformed requests are each refused, the connection goes on" python3 "$work/misuse.py" "$run/control.sock"

cat >"$work/idle.py" <<'END'
import json, socket, sys
path = sys.argv[1]
def connect():
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(path); return s
idle = []
for i in range(1000):
    s = connect()
    if i % 2: s.sendall(b'{"verb":"li')
    idle.append(s)
s = connect(); s.sendall(b'{"verb":"list"}\n')
assert json.loads(s.makefile().readline())["ok"]
END
say "a thousand idle connections shut nobody out" python3 "$work/idle.py" "$run/control.sock"
say "still answers" expect 0 ctl list

# ---- memory and reasons ---------------------------------------------------------

say "freeable" expect 0 ctl freeable
say "shrink --dry-run" expect 0 ctl shrink 1M --dry-run
say "says what would be given back" said "would be given back"
say "explain the host" expect 0 ctl explain
say "names its sensors" said "Sensors: "
say "explain a guest" expect 0 ctl explain a
say "names its limits" said "Its limits: weight"
say "explain of no guest" expect 4 ctl explain nobody
say "events" expect 0 ctl events
say "has the policy's first decision" said " pressure - the "
say "and what was changed" said " change a uid "
events_of_columns() {
	expect 0 ctl events -o kind,GUEST && [ "$(head -n 1 <<<"$out")" = "KIND     GUEST" ] &&
		grep -qE '^change +a$' <<<"$out" && ! said "uid "
}
stats_of_columns() {
	expect 0 ctl stats a -o counter,persistent --raw --noheadings && grep -qx 'puts_ok 0' <<<"$out" &&
		! said weight && ! grep -q '^$' <<<"$out" &&
		expect 0 ctl stats a -o VALUE,MEMBER --raw && [ "$(head -n 1 <<<"$out")" = "VALUE MEMBER" ] &&
		grep -qx 'a name' <<<"$out" && ! said puts_ok
}
# follows OPTION...: what events -f with these says, of a thaw too that comes while it runs.
follows() {
	local before follower
	before=$(ctl events | grep -cF '"verb":"thaw","guest":"b"')
	"$tmemctl" --socket "$run/control.sock" events -f "$@" >"$work/followed" &
	follower=$!
	for _ in $(seq 100); do
		[ -s "$work/followed" ] && break
		sleep 0.05
	done
	ctl freeze b && ctl thaw b
	for _ in $(seq 100); do
		[ "$(grep -cF '"verb":"thaw","guest":"b"' "$work/followed")" -gt "$before" ] && break
		sleep 0.05
	done
	kill "$follower"
	wait "$follower" 2>/dev/null
	[ "$(grep -cF '"verb":"thaw","guest":"b"' "$work/followed")" -eq $((before + 1)) ]
}
titles_come_once() { follows -o TEXT,KIND && [ "$(grep -cE '^TEXT +KIND' "$work/followed")" -eq 1 ]; }
say "events -f goes on, each event once" follows
say "events -f -o too, its titles once" titles_come_once
say "events -o" events_of_columns
say "events -o of an unknown column" expect 2 ctl events -o NUMBER
say "says which there are" said "there are TIME KIND GUEST TEXT"
say "stats -o, of either table" stats_of_columns

# ---- a daemon that gives less than it is asked for ---------------------------------

cat >"$work/miser.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(4)
print("listens", flush=True)
for given, done in (4096, "true"), (4096, "false"):
    c = s.accept()[0]; c.makefile().readline()
    c.sendall(b'{"ok":true,"reclaimed":{"bytes":%d,"done":%s,"stopped_because":"no more"}}\n'
              % (given, done.encode()))
END
python3 "$work/miser.py" "$work/miser.sock" >"$work/miser.log" &
miser=$!
until [ -s "$work/miser.log" ] || ! kill -0 "$miser" 2>/dev/null; do sleep 0.05; done
say "shrink by less than asked for: code 6" expect 6 "$tmemctl" --socket "$work/miser.sock" shrink 1M
say "says how much it was and why" said "8K given back: no more"
wait "$miser"

# ---- doctor ------------------------------------------------------------------------

found() { tr -s ' ' <<<"$out" | grep -qE "^$1"; }
say "doctor of a host that is well" expect 0 ctl doctor
say "looks at kvm" found '(ok|warn) kvm '
say "looks at psi" found '(ok|warn) psi '
say "looks at the daemon" found "ok daemon version [0-9.]+, pid $daemon"
say "looks at the control socket" found 'ok control mode 0660, group '
say "looks at locked memory" found '(ok|warn) memlock '
say "looks at guests" found 'ok guest a nobody is connected'
say "looks at their sockets" found 'ok socket b mode 0660'
say "doctor --json" expect 0 ctl doctor --json
say "doctor's JSON" is_json
chmod 666 "$run/a.sock"
say "doctor finds a socket that is open to all: code 1" expect 1 ctl doctor
say "names it" found "fail socket a $run/a.sock: mode 0666, anyone may connect"
chmod 660 "$run/a.sock"
say "doctor without a daemon: code 1" expect 1 "$tmemctl" --socket "$work/none.sock" doctor
say "says so" found "fail daemon does not answer at $work/none.sock"

# ---- completion ---------------------------------------------------------------------

# complete_line WORD...: what is offered for the last of these words, in one line.
complete_line() {
	PATH=$(realpath "$build"):$PATH bash -c '
		. hv-backend/tmemctl/completion.bash
		COMP_WORDS=(tmemctl "$@") COMP_CWORD=$#
		_tmemctl
		echo "${COMPREPLY[*]}"' bash "$@"
}
completes() {
	local expected=$1
	shift
	out=$(complete_line "$@")
	[ "$out" = "$expected" ] || { echo "# $*: $out"; return 1; }
}
say "completes commands" completes "status stats" sta
say "completes every command of the help" \
	completes "$(ctl --help | sed -n '/^Commands:/,/^Options:/s/^  \([a-z]\{1,\}\) .*/\1/p' | paste -sd' ')" ""
say "completes guests" completes "c a b" --socket "$run/control.sock" freeze ""
say "completes options of the command" completes "--max" set a --ma
say "and not of others" completes "" list --ma
say "completes columns" completes "NAME,PERSISTENT NAME,PHYSICAL NAME,PUTS" list -o NAME,P
say "completes codecs" completes "lzo lz4" set a --codec l

# ---- readers and administrators --------------------------------------------------

# as_reader COMMAND...: as a member of the socket's group who is neither root nor the daemon's user.
as_reader() { setpriv --reuid 65534 --regid "$(stat -c %g "$run/control.sock")" --clear-groups "$@"; }
reader_is_denied() {
	expect 5 as_reader "$work/tmemctl" --socket "$run/control.sock" "$@" &&
		said "may look, but not change anything"
}
if [ "$(id -u)" -eq 0 ]; then
	cp "$tmemctl" "$work/tmemctl"
	chmod 755 "$work"
	say "reader may look" expect 0 as_reader "$work/tmemctl" --socket "$run/control.sock" list
	say "reader may plan" expect 0 as_reader "$work/tmemctl" --socket "$run/control.sock" shrink 1M --dry-run
	say "reader may not set: code 5" reader_is_denied set a --weight 3
	say "reader may not set the host's: code 5" reader_is_denied set --host --arena 32M
	say "reader may not shrink: code 5" reader_is_denied shrink 1M
	say "reader may not freeze: code 5" reader_is_denied freeze a
	say "is logged" grep -qF "control: uid 65534, pid " "$work/log"
	say "who is in no group is not let in: code 5" expect 5 \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$work/tmemctl" --socket "$run/control.sock" list
else
	count=$((count + 1))
	echo "ok $count - readers and administrators # SKIP needs root"
fi

# ---- the configuration again, and the end --------------------------------------

# reread TEXT COMMAND WANTED PATH...: until tmemctl says what the file does now.
reread() {
	local text=$1 command=$2 wanted=$3
	shift 3
	# shellcheck disable=SC2059
	printf "$text" >"$work/twice.conf"
	kill -HUP "$daemon"
	for _ in $(seq 100); do
		expect 0 ctl "$command" --json
		[ "$(value "$@")" = "$wanted" ] && return 0
		sleep 0.05
	done
	return 1
}
reread_bad() {
	echo 'nonsense' >"$work/twice.conf"
	kill -HUP "$daemon"
	for _ in $(seq 100); do
		grep -qF "configuration not read again: $work/twice.conf:1:" "$work/log" && break
		sleep 0.05
	done
	expect 0 ctl list --json && [ "$(value guests 0 weight)" = 9 ]
}
say "SIGHUP reads the configuration again" reread '[guest c]\nweight = 9\n' list 9 guests 0 weight
say "SIGHUP applies the host's limits" reread '[tmemd]\npersistent-max = 16M\n[guest c]\nweight = 9\n' \
	stats 16777216 host persistent_max_bytes
say "SIGHUP over a broken file changes nothing" reread_bad
say "SIGTERM ends it with 0" stop TERM
say "and nothing is left behind" test ! -e "$run" -a ! -e "$work/b.sock"

say "daemon starts again" start --guest a
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null
say "killed daemon leaves its sockets" test -S "$run/control.sock"
say "the next one starts over them" start --guest a
say "and answers" expect 0 ctl list
say "SIGINT ends it with 0" stop INT

group=$(id -G | awk '{ print $NF }')
say "daemon with a group that may change" start --guest a --control-group "$(getent group "$group" | cut -d: -f1)" \
	--control-group-may change
say "the socket is the group's" test "$(stat -c %g "$run/control.sock")" = "$group"
say "and it ends" stop TERM
daemon=
say "group that does not exist" expect 1 "$tmemd" --run-dir "$run" --arena 16M --control-group no-such-group
say "is named" said "there is no group no-such-group"
daemon=

echo "1..$count"
