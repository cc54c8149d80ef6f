#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The same sectors are written again and again while the host takes, refuses, is
# not asked, or does not answer: what is read is always what was written last,
# and the host keeps no page that the disk has replaced.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

# 100 sectors, each time a different part of a file that every guest has.
guest_start one 64M 300 "$(script one <<'EOS'
put() { dd if=/bin/busybox of=/dev/tmemswap0 bs=4k skip=$1 seek=1 count=100 oflag=direct 2>/dev/null; }
same() {
	dd if=/bin/busybox bs=4k skip=$1 count=100 2>/dev/null >/tmp/expected
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/dev/tmemswap0 bs=4k skip=1 count=100 2>/dev/null | cmp - /tmp/expected
}
try() { put $1 && same $1 || exit $(($1 + 20)); }
insmod /tmem.ko swap_backing=/dev/ubda timeout_ms=300 || exit 10
offer=/sys/module/tmem/parameters/swap_offer
try 1
same 2 2>/dev/null && exit 11
meet taken || exit 12
try 2
meet refused || exit 13
try 3
meet taken-again || exit 14
echo 0 >$offer
try 4
meet not-asked || exit 15
echo 1 >$offer
try 5
meet stopped || exit 16
put 6 || exit 17
meet continued || exit 18
same 6 || exit 19
meet settled || exit 20
try 7
cat /sys/kernel/tmem/stats >/host/stats
EOS
)"
guest_at taken
check "the host has what it took" host_pages_are one 100
tmemctl freeze one
guest_go taken
guest_at refused
check "it keeps nothing under a key whose page it refused" host_pages_are one 0
tmemctl thaw one
guest_go refused
guest_at taken-again
check "it takes pages over those on the disk" host_pages_are one 100
guest_go taken-again
guest_at not-asked
check "it is told of pages that the disk replaced" await 5 host_pages_are one 0
guest_go not-asked
guest_at stopped
kill -STOP "$tmemd_pid"
guest_go stopped
guest_at continued
kill -CONT "$tmemd_pid"
guest_go continued
guest_at settled
check "nor does it keep what came too late" await 5 host_pages_are one 0
guest_go settled
check "what was read was always what was written last" guest_wait one
check "nothing was lost" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
check "the module waited once, and not for each page" test "$(guest_stat stats timeouts)" -ge 1 -a \
	"$(guest_stat stats timeouts)" -le 4
counters "puts=$(guest_stat stats puts) refused=$(guest_stat stats puts_refused)" \
	"skipped=$(guest_stat stats puts_skipped) doubtful=$(guest_stat stats puts_doubtful)" \
	"owed=$(guest_stat stats flushes_owed)"
test_end
