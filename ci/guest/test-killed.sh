#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is killed under a swapping guest.  What it held is lost, as I/O errors, never
# as wrong pages; all later pages go to the disk, and the guest lives and can let go.
#
# Over ivshmem nothing tells the guest that the host died: it finds out by one wait that
# was in vain, and waits no more for each page after that.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

guest_start one 64M 300 "$(script one <<'EOS'
swap_load timeout_ms=2000 || exit 10
hog --mb 80 --rounds 1000 --seconds 15
EOS
)" "$(script after <<'EOS'
survive 80
EOS
)"
check "the guest puts pages" await 60 host_puts_above one 2000
kill -KILL "$tmemd_pid"
guest_wait one
check "the guest lived to the end" guest_said one '^guest: after ended with 0'
check "pages were lost" above "$(guest_stat stats gets_failed)" 0
check "later ones went to the disk" above "$(guest_stat stats-after disk_writes)" 1000
check "and came back from there" above "$(guest_stat stats-after disk_reads)" 1000
check "no page was wrong" guest_said one '^hog: pages=20480 rounds=[0-9]+ .* bad=0 lost=[1-9]'
check "none was seen to be wrong on the way" test -z "$(guest_line one '^hog: .* bad=[1-9]')"
check "swap to the disk is whole" guest_said one '^hog: pages=20480 rounds=1 .* bad=0 lost=0'
counters "gets_failed=$(guest_stat stats gets_failed) timeouts=$(guest_stat stats timeouts)" \
	"disk_writes=$(guest_stat stats-after disk_writes)"
test_end
