#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The device is pulled out of a running guest.  After a drain nothing is lost, and
# work goes on from the disk.  Without one, reads of what only the host had are I/O
# errors and never wrong pages, what the disk had is still there, and the guest lives.
#
# Seen red: pages without a host read from the disk; hog found 10510 wrong ones.
# kernels: 5.10 6.1 6.12 7.2 6.1-debug
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
cat >"$work/tmemd.conf" <<'EOS'
[guest surprised]
persistent-max = 8M
EOS
tmemd_start --config "$work/tmemd.conf" --guest drained --guest surprised

qemu_machine=pc

guest_start drained 64M 120 "$(script drained <<'EOS'
dmesg -n 7
swap_load || exit 10
work_start 2
held_above 2000
meet ready || exit 12
work_end || exit 13
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem
EOS
)"
guest_at ready
check "the guest drains" drain drained
check "the device goes" qemu_unplug drained
sleep 3
guest_go ready
guest_go end
check "the guest's script ran to its end" guest_wait drained
check "every page was right" guest_said drained '^hog: pages=28160 rounds=2 .* bad=0 lost=0'
check "nothing was lost" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
rm -f "$work"/share/*

host_refused_above() {
	[ "$(host_stat "$1" persistent puts_refused_quota)" -gt "$2" ]
}

guest_start surprised 64M 120 "$(script surprised <<'EOS'
dmesg -n 7
swap_load || exit 10
hog --mb 110 --rounds 1000 --seconds 20
EOS
)" "$(script after <<'EOS'
survive 110
EOS
)"
check "the host holds pages" await $((30 * slow)) host_puts_above surprised 2000
check "and refuses some" await $((30 * slow)) host_refused_above surprised 2000
held=$(host_pages surprised)
check "the device goes without asking" qemu_unplug surprised
guest_wait surprised
check "the guest lives to the end" guest_said surprised '^guest: after ended with 0'
check "what only the host had was lost, as errors" above "$(guest_stat stats gets_failed)" 0
lost=$(hog_field "$(guest_line surprised '^hog: .* lost=[1-9]')" lost)
# The host took and gave some between the two looks.
check "and no more than that" test "${lost:-none}" -le $((held + 200))
check "what the disk had was read" above "$(guest_stat stats disk_reads)" 1000
check "no page was wrong" test -z "$(guest_line surprised '^hog: .* bad=[1-9]')"
check "swap to the disk is whole" guest_said surprised '^hog: pages=28160 rounds=1 .* bad=0 lost=0'
counters "held=$held lost=$lost gets_failed=$(guest_stat stats gets_failed)" \
	"disk_writes=$(guest_stat stats disk_writes) disk_reads=$(guest_stat stats disk_reads)"
test_end
