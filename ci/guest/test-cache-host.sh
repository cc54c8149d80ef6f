#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that has no room, takes nothing, is slow, stands still for seconds, and dies, all
# while files change: no page is wrong and the guest goes on with its disk.
#
# Nothing here is timed: each state of the host lasts until its counters say that the
# guest has met it, and the guest's work until the host has been through them all.
# kernels: 5.10 6.1 6.12 7.2
# slow
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
test_begin
tmemd_start --guest one --arena 64M
cache_host_first
cache_disk one 512

guest_start one 64M 300 "$(cache_script one <<'EOS'
fs_mount || exit 10
cache_insert cache_filter=0 cache_wait_us=20000 || exit 11
arrive running
n=0
while :; do
	n=$((n + 1))
	rm -rf /mnt/*
	cachestress stress /mnt --seconds 8 --processes 3 --files 3 --mb 20 \
		--direct --ranges --drop --seed $n || exit 12
	cat /sys/kernel/tmem/stats >/host/stats-live
	[ ! -e /host/dead ] || break
done
cachestress write /mnt/file --mb 32 && cachestress verify /mnt/file --mb 32 || exit 13
cat /sys/kernel/tmem/stats >/host/stats
echo 0 >/sys/kernel/tmem/cache || exit 14
umount /mnt && cache_remove
EOS
)"

counted_above() {
	above "$(host_stat one ephemeral "$1")" "$2"
}

# counts KEY N: until so many more of the guest's puts ended like that.
counts() {
	await $((60 * slow)) counted_above "$1" $(($(host_stat one ephemeral "$1") + $2))
}

guest_at running
check "the guest puts pages" counts puts_ok 2000
check "and gets pages" counts gets_ok 200
tmemctl set one --max 2M >/dev/null
check "with little room for it pages are evicted" counts evicted_pages 1000
tmemctl set one --max 4K >/dev/null
check "with none its puts are refused" counts puts_refused_quota 1000
tmemctl set one --max none >/dev/null
check "with room again they are taken" counts puts_ok 1000
for round in 1 2 3; do
	tmemctl freeze one >/dev/null
	check "frozen, its puts are refused, $round" counts puts_refused_frozen 500
	tmemctl thaw one >/dev/null
	check "thawed, they are taken, $round" counts puts_ok 500
done
check "and pages come back" counts gets_ok 200
refused="evicted=$(host_stat one ephemeral evicted_pages)"
refused+=" quota=$(host_stat one ephemeral puts_refused_quota)"
refused+=" frozen=$(host_stat one ephemeral puts_refused_frozen)"
# Slow: still for longer than a read waits, again and again.
for _ in $(seq 40); do
	kill -STOP "$tmemd_pid"
	sleep 0.2
	kill -CONT "$tmemd_pid"
	sleep 0.1
done
kill -STOP "$tmemd_pid"
sleep 15
kill -CONT "$tmemd_pid"
check "after standing still it takes pages again" counts puts_ok 1000
kill -KILL "$tmemd_pid"
touch "$work/share/dead"
tmemd_pid=
guest_wait one
check "the guest's script ran to its end" guest_said one '^guest: test ended with 0'
check "no page was wrong" test -z "$(guest_line one '^cachestress: .* bad=[1-9]')"
check "reads did not wait for the host" above "$(guest_stat stats tardy)" 0
counters "rounds=$(tr -d '\r\000' <"$work/one.log" | grep -c '^cachestress: stress .* bad=0')" \
	"puts=$(guest_stat stats cache_puts) hits=$(guest_stat stats cache_hits) $refused" \
	"dropped=$(guest_stat stats cache_puts_dropped) tardy=$(guest_stat stats tardy)" \
	"late=$(guest_stat stats late)"
test_end
