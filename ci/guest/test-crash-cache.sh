#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is killed again and again while it keeps a guest's file pages and the files
# change in every way there is: no page is ever wrong, and pages go on coming back.
#
#   KILLS=N   how often (8)
# kernels: 6.1
# slow
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
kills=${KILLS:-8}
tmemd_keeper=1
test_begin
tmemd_start --guest one
cache_disk one 512

guest_start one 64M 300 "$(cache_script one <<'EOS'
fs_mount || exit 10
insmod /tmem.ko cache=1 cache_filter=0 || exit 11
stress() {
	cachestress stress /mnt --seconds $2 --processes 3 --files 3 --mb 24 --direct --ranges --drop --seed $1
}
arrive stress
n=0
until [ -e /host/enough ]; do
	n=$((n + 1))
	stress $n 10 || exit 12
done
cat /sys/kernel/tmem/stats >/host/stats
stress 77 10 || exit 13
cat /sys/kernel/tmem/stats >/host/stats-after
umount /mnt && rmmod tmem
EOS
)"
guest_at stress
check "tmemd dies $kills times" tmemd_kill "$kills"
echo enough >"$work/share/enough"
check "the guest's script ran to its end" guest_wait one
check "no page was wrong" test -z "$(guest_line one '^cachestress: .* bad=[1-9]')"
check "pages were looked at" guest_said one '^cachestress: stress .* bad=0'
check "pages came from the host" above "$(guest_stat stats cache_hits)" 100
check "and do after the last death" above "$(guest_stat stats-after cache_hits)" "$(guest_stat stats cache_hits)"
check "on one connection" is "$(grep -c 'connected by process' "$work/tmemd.log")" 1
check "tmemd ends cleanly" tmemd_stop
counters "kills=$died hits=$(guest_stat stats-after cache_hits) puts=$(guest_stat stats-after cache_puts)"
test_end
