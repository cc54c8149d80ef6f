#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Files change in every way there is while the host keeps their pages, and while the
# page cache's hooks are placed and removed under them: no page is ever wrong.
# kernels: 5.10 5.10-cleancache 6.1 6.1-debug 6.12 7.2
# slow
#
#   TMEM_STRESS_SECONDS=N   each of the two runs
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
test_begin
tmemd_start --guest one
cache_host_first
cache_disk one 512

guest_start one 64M 300 "$(cache_script one "seconds=${TMEM_STRESS_SECONDS:-40}" <<'EOS'
fs_mount || exit 10
stress() {
	cachestress stress /mnt --seconds $seconds --processes 3 --files 3 --mb 24 \
		--direct --ranges --drop --seed $1
}
cache_insert cache_filter=0 || exit 11
stress 1 || exit 12
cat /sys/kernel/tmem/stats >/host/stats
cachestress race /mnt/race --seconds $seconds --processes 3 --direct || exit 13
cat /sys/kernel/tmem/stats >/host/stats-race

# The hooks, the module and the mount come and go meanwhile.
rm /mnt/*
stress 2 >/host/second &
while kill -0 $! 2>/dev/null; do
	echo 0 >/sys/kernel/tmem/cache
	sleep 1
	echo 1 >/sys/kernel/tmem/cache || exit 14
	sleep 3
	mount -o remount,noatime /mnt || exit 15
	stat cache_hits >>/host/hits-second
	cache_reload cache_filter=0 || exit 16
	sleep 3
done
cat /host/second
umount /mnt && cache_remove
EOS
)"
guest_wait one
check "the guest's script ran to its end" guest_said one '^guest: test ended with 0'
check "no page was wrong under stress" guest_said one '^cachestress: stress .* bad=0'
check "none was stale after a direct write" guest_said one '^cachestress: race .* bad=0'
check "none was wrong while hooks came and went" is \
	"$(grep -c '^cachestress: stress .* bad=0' "$work/share/second")" 1
check "the kernel had nothing to say" test -z "$(guest_line one 'BUG|WARNING|Oops')"
check "pages came from the host" above "$(guest_stat stats cache_hits)" 150
check "and after each change of the hooks" above "$(sort -n "$work/share/hits-second" | tail -n 1)" 0
check "tmemd ends cleanly" tmemd_stop
counters "puts=$(guest_stat stats cache_puts) hits=$(guest_stat stats cache_hits)" \
	"invalidations=$(guest_stat stats cache_invalidations)" \
	"unsafe=$(guest_stat stats-race cache_puts_unsafe)"
test_end
