#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that runs short, with cgroup v2: tmemd, a guest of it and a program that
# wants memory all run inside a guest of ours.
#
# The same program is run three times beside as many bytes: held by tmemd under its
# memory policy; by tmemd without one, so that the program itself is swapped; and by an
# ordinary process that the host swaps.  Its stall is what its cgroup's
# memory.pressure counted.  Then limits of tmemd's own cgroup are lowered under it.
#
# slow
# kernels: 6.1
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
guest_root=small
guest_bare=1
test_begin

ephemeral=22000 persistent=1500
cp "$build/tmemd" "$build/tmemctl" "$work/share/"
lender_build
echo "ephemeral=$ephemeral persistent=$persistent" >"$work/share/sizes"

guest_start one 184M 600 "$(script one <<'EOS'
cp /host/tmemd /host/tmemctl /usr/local/bin/ && . /host/sizes || exit 10
groups=/sys/fs/cgroup
mount -t cgroup2 cgroup2 $groups && echo +memory >$groups/cgroup.subtree_control || exit 11
mkswap /dev/ubda >/dev/null && swapon /dev/ubda || exit 12
mkdir $groups/tmemd $groups/hog $groups/plain
# As tmemd's unit has it.
echo 0 >$groups/tmemd/memory.swap.max

# into GROUP COMMAND...: become the command in that cgroup.
into() {
	echo 0 >$groups/$1/cgroup.procs
	shift
	exec "$@"
}
stall() { sed -n "s/^$1 .*total=//p" $groups/hog/memory.pressure; }
swapped() { sed -n 's/^pswpout //p' /proc/vmstat; }
ctl() { tmemctl --socket /run/t/control.sock "$@"; }
# number KEY: of the host's part of the statistics
number() { ctl stats --json | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2; }
start() {
	into tmemd tmemd --run-dir /run/t --arena 256M --memory-low 24M --memory-high 36M \
		--memory-floor 12M --guest one "$@" 2>/tmp/tmemd.log &
	tmemd=$!
	within 60 test -S /run/t/control.sock || return 1
	lend /run/t/one.sock $ephemeral $persistent
}
stop() {
	unlend
	kill $tmemd
	wait $tmemd
}

# The program that wants memory; NAME says beside what.
hog_run() {
	some=$(stall some) full=$(stall full) out=$(swapped)
	(into hog hog --mb 120 --rounds 1 >/host/hog-$1)
	hogged=$?
	echo "stall: $1 some=$(($(stall some) - some)) full=$(($(stall full) - full))" \
		"swapped=$(($(swapped) - out)) status=$hogged"
}

try "tmemd takes pages under the policy" start --memory-policy on
before=$(number resident_bytes)
hog_run on
try "ephemeral memory fell" [ $(number resident_bytes) -lt $((before / 2)) ]
try "every persistent page is there as it was" ask check "persistent=$persistent bad=0"
try "puts are taken again" ask again again=1
stop
cat /tmp/tmemd.log >/host/tmemd-on.log

try "tmemd takes pages without the policy" start --memory-policy off
hog_run off
try "without it nothing is lost either" ask check "persistent=$persistent bad=0"
stop

into plain python3 -c "
import os, time
held = bytearray(os.urandom(1 << 20)) * ($before >> 20)
open('/tmp/held', 'w').close()
time.sleep(3600)" &
plain=$!
within 240 test -e /tmp/held
hog_run plain
kill $plain
wait $plain

swapoff -a
try "tmemd takes pages again" start --memory-policy on
current() { cat $groups/tmemd/memory.current; }
below() { [ "$(current)" -le "$1" ]; }
limit=$(($(current) - 20 * 1048576))
echo $limit >$groups/tmemd/memory.high
try "it keeps to a memory.high that is lowered under it" within 60 below $limit
echo max >$groups/tmemd/memory.high
echo $(($(current) + 8 * 1048576)) >$groups/tmemd/memory.max
# Offered more than that leaves room for.
ask again again=
try "it does not run into a memory.max" grep -q '^oom_kill 0' $groups/tmemd/memory.events
try "and keeps what it must" ask check "persistent=$persistent bad=0"
echo max >$groups/tmemd/memory.max
try "without the limit all is taken again" ask again 'again=1 refused=0'
cat /tmp/tmemd.log >/host/tmemd-limits.log
stop
EOS
)"
field() {
	guest_line one "^stall: $1 " | grep -o "$2=[0-9]*" | cut -d= -f2
}
check "the guest's script ran to its end" guest_wait one
guest_checks one
for run in on off plain; do
	check "the program got its memory, every page right: $run" is \
		"$(field $run status) $(grep -c 'bad=0 lost=0' "$work/share/hog-$run")" "0 2"
done
# Code of a guest in QEMU is slow and its disk is fast: the ratios are larger elsewhere.
on=$(field on some) off=$(field off some) plain=$(field plain some)
check "it stalled less than a third of without the policy" test -n "$on" -a $((on * 3)) -lt "${off:-0}"
check "it stalled less than beside plain swap" test "${on:-1}" -lt "${plain:-0}"
counters "$(for run in on off plain; do echo "$run: stalled $(field $run some) us," \
	"swapped $(field $run swapped) pages;"; done | tr '\n' ' ')"
test_end
