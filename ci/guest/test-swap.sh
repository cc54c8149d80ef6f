#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest whose work needs twice its memory swaps into the host, and every page
# comes back as it was.
#
# Seen red: a host that changed a byte in one page of 64 it gave back; hog found 1442.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

guest_start one 64M 300 "$(script one <<'EOS'
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
hog --mb 128 --rounds 2 || exit 12
cat /sys/kernel/tmem/stats >/host/stats
meet measured || exit 13
# One byte changed behind its back: can the checker tell?
hog --mb 16 --rounds 1 --corrupt && exit 14
swap_stop && rmmod tmem
EOS
)"
guest_at measured
host_puts=$(host_stat one persistent puts_ok)
host_gets=$(host_stat one persistent gets_ok)
doctor=$(tmemctl doctor)
guest_go measured

check "the guest's script ran to its end" guest_wait one
check "every page was right" guest_said one '^hog: pages=32768 rounds=2 .* bad=0 lost=0'
check "a wrong byte would have been seen" guest_said one '^hog: pages=4096 .* bad=[1-9]'
check "the guest's puts were taken" above "$(guest_stat stats puts)" 1000
check "the guest's gets were answered" above "$(guest_stat stats gets)" 1000
# The shell swaps a little too between the two looks.
check "the host took as many puts" near "$host_puts" "$(guest_stat stats puts)" 500
check "the host answered as many gets" near "$host_gets" "$(guest_stat stats gets)" 500
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
version=${kernel/uml/6.1}	# without what it was built for
check "the doctor was told of its driver and kernel" \
	grep -Eq "ready; its driver is [0-9.]+ on Linux ${version%%-*}[0-9.]*, [0-9]+ queues" <<<"$doctor"
check "tmemd ends cleanly" tmemd_stop
counters "puts=$host_puts gets=$host_gets disk_writes=$(guest_stat stats disk_writes)" \
	"disk_reads=$(guest_stat stats disk_reads) polled=$(guest_stat stats polled)" \
	"slept=$(guest_stat stats slept)" \
	"seconds=$(hog_field "$(guest_line one '^hog: pages=32768')" seconds)"
test_end
