#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that has no room, is slow, stands still for seconds, and dies, all while files
# change: no page is wrong and the guest goes on with its disk.
# kernels: 5.10 6.1 6.12 7.2
# slow
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
test_begin
tmemd_start --guest one --arena 4M
cache_host_first
cache_disk one 512

guest_start one 64M 300 "$(cache_script one <<'EOS'
fs_mount || exit 10
cache_insert cache_filter=0 cache_wait_us=20000 || exit 11
arrive running
for n in 1 2 3 4 5 6; do
	rm -rf /mnt/*
	cachestress stress /mnt --seconds 8 --processes 3 --files 3 --mb 20 \
		--direct --ranges --drop --seed $n || exit 12
	cat /sys/kernel/tmem/stats >/host/stats-$n
	[ -e /host/dead ] && break
done
cachestress write /mnt/file --mb 32 && cachestress verify /mnt/file --mb 32 || exit 13
cat /sys/kernel/tmem/stats >/host/stats
echo 0 >/sys/kernel/tmem/cache || exit 14
umount /mnt && cache_remove
EOS
)"
puts_above() {
	[ "$(host_stat one ephemeral puts_ok)" -gt "$1" ]
}
guest_at running
check "the guest puts pages" await $((60 * slow)) puts_above 2000
# Slow: still for longer than a read waits, again and again.
for _ in $(seq 40); do
	kill -STOP "$tmemd_pid"
	sleep 0.2
	kill -CONT "$tmemd_pid"
	sleep 0.1
done
host_stat one ephemeral puts_ok >"$work/slow-puts"
kill -STOP "$tmemd_pid"
sleep 15
kill -CONT "$tmemd_pid"
check "after that it puts pages again" await $((60 * slow)) puts_above "$(cat "$work/slow-puts")"
kill -KILL "$tmemd_pid"
touch "$work/share/dead"
tmemd_pid=
guest_wait one
check "the guest's script ran to its end" guest_said one '^guest: test ended with 0'
check "no page was wrong" test -z "$(guest_line one '^cachestress: .* bad=[1-9]')"
check "reads did not wait for the host" above "$(guest_stat stats tardy)" 0
check "pages came from the host" above "$(cat "$work/share"/stats-* | sed -n 's/^cache_hits //p' | sort -n | tail -n 1)" 100
counters "puts=$(guest_stat stats cache_puts) hits=$(guest_stat stats cache_hits)" \
	"dropped=$(guest_stat stats cache_puts_dropped) tardy=$(guest_stat stats tardy)" \
	"late=$(guest_stat stats late)"
test_end
