#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that swaps is drained, its device pulled out and put in again, and it swaps
# into the host as before: twice with the same tmemd, then with a new one that
# was started while the device of the old was still there.  Every page is right.
#
# Seen red: DEVICE_DELETED not waited for; QEMU would not take the device again.
#
# Without KVM this QEMU keeps the handlers of an unplugged device's event descriptors, and
# can crash when another file gets their number: so nobody looks into /host meanwhile.
# kernels: 5.10 6.1 6.12 7.2 6.1-debug
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

qemu_machine=pc

guest_start one 64M 200 "$(script one <<'EOS'
dmesg -n 7
swap_load || exit 10
work_start 1
held_above 2000
arrive swapping
wait $work || exit 11
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem
EOS
)"

# swaps_again NAME: pages go to the host since the device came back, and come from it.
swaps_again() {
	local puts gets
	puts=$(host_stat one persistent puts_ok)
	gets=$(host_stat one persistent gets_ok)
	check "$1: it offers pages" await $((20 * slow)) host_puts_above one $((puts + 1000))
	check "$1: it reads them again" await $((20 * slow)) host_gets_above one $((gets + 500))
}

host_gets_above() {
	[ "$(host_stat "$1" persistent gets_ok)" -gt "$2" ]
}

guest_at swapping
for round in 1 2; do
	check "round $round: the guest drains" drain one
	check "round $round: the host holds nothing" host_pages_are one 0
	check "round $round: the device goes" qemu_unplug one
	check "round $round: the device comes" qemu_plug one
	swaps_again "round $round"
done
check "the guest drains once more" drain one
check "tmemd ends" tmemd_stop
tmemd_start --guest one
check "the device of the tmemd that ended goes" qemu_unplug one
check "one of the new tmemd comes" qemu_plug one
swaps_again "the new tmemd"
guest_go end
check "the guest's script ran to its end" guest_wait one
check "work went on and every page was right" guest_said one '^hog: pages=28160 rounds=1 .* bad=0 lost=0'
check "none was wrong or lost in between" test -z "$(guest_line one '^hog: .* (bad|lost)=[1-9]')"
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
check "no guest was failed" is "$(host_stat one failures)" 0
counters "puts=$(guest_stat stats puts) gets=$(guest_stat stats gets)" \
	"disk_writes=$(guest_stat stats disk_writes) disk_reads=$(guest_stat stats disk_reads)" \
	"unplugged=$(qemu_deleted one)"
test_end
