#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Hosts that die under a guest whose swap pages come by the kernel's frontswap.  One that
# a keeper restarts costs a pause.  One that is gone for good takes pages with it: they are
# errors, and what the kernel then could read of the disk is never taken for them.
#
# Seen red: reads that follow a failed load sent to the disk; hog found 10789 wrong pages.
#
# 5.10-cleancache is so small that the second guest would hardly swap.
#
#   KILLS=N   how often it is restarted (6)
# kernels: 5.10
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-6}
tmemd_keeper=1
test_begin
tmemd_start --guest one --guest two

guest_start one 64M 400 "$(script one <<'EOS'
swap_load swap_source=frontswap || exit 10
hog --mb 96 --rounds 1000000 --seconds 100000 &
hog=$!
until [ -e /host/enough ]; do sleep 0.5; done
kill $hog
hog --mb 96 --rounds 1 --seed 7 || exit 12
cat /sys/kernel/tmem/stats >/host/stats
EOS
)"
check "the guest puts pages" await $((60 * slow)) host_puts_above one 2000
check "tmemd dies $kills times" tmemd_kill "$kills"
echo enough >"$work/share/enough"
check "the guest's script ran to its end" guest_wait one
check "every page was right at each look" test -z "$(guest_line one '^hog: .* (bad|lost)=[1-9]')"
check "and at last" guest_said one '^hog: pages=24576 rounds=1 .* bad=0 lost=0'
check "no load failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
check "pages came by frontswap" above "$(guest_stat stats frontswap_loads)" 1000
loads=$(guest_stat stats frontswap_loads)
rm -f "$work"/share/*

# Half of the rounds go to the disk, so that older pages are there to be taken for newer.
guest_start two 64M 200 "$(script two <<'EOS'
swap_load swap_source=frontswap timeout_ms=2000 || exit 10
echo 0 >/sys/kernel/tmem/swap
hog --mb 80 --rounds 1000 --seconds 40 &
until [ "$(stat disk_writes)" -gt 8000 ]; do sleep 0.2; done
echo 1 >/sys/kernel/tmem/swap
held_above 3000
meet held
wait $!
EOS
)" "$(script after <<'EOS'
survive 80
EOS
)"
guest_at held
kill -KILL -- "-$tmemd_pid"
guest_go held
guest_wait two
check "the guest lived to the end" guest_said two '^guest: after ended with 0'
check "loads failed" above "$(guest_stat stats frontswap_passes)" 0
check "pages were lost" above "$(guest_stat stats gets_failed)" 0
check "no page was wrong" guest_said two '^hog: pages=20480 rounds=[0-9]+ .* bad=0 lost=[1-9]'
check "none was seen to be wrong on the way" test -z "$(guest_line two '^hog: .* bad=[1-9]')"
check "later ones went to the disk" above "$(guest_stat stats-after disk_writes)" 1000
check "and came back from there" above "$(guest_stat stats-after disk_reads)" 1000
check "swap to the disk is whole" guest_said two '^hog: pages=20480 rounds=1 .* bad=0 lost=0'
counters "kills=$died loads=$loads passes=$(guest_stat stats frontswap_passes)" \
	"gets_failed=$(guest_stat stats gets_failed) timeouts=$(guest_stat stats timeouts)"
test_end
