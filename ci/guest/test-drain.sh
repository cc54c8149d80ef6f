#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The administrator drains a guest that swaps: it takes its pages back to its disk
# while it works, then needs nothing of the host; resumed, it offers pages again, and so
# it does when its device went and came back.
# Without a disk it says that there is no room, and goes on.
#
# Seen red: a drain said to be done with nothing moved; the host still held pages.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

guest_start one 64M 300 "$(script one <<'EOS'
swap_load || exit 10
work_start 3
held_above 5000
meet swapping || exit 12
until [ -e /host/go-again ]; do sleep 0.2; done
device=$(device)
echo $device >$driver/unbind && echo $device >$driver/bind || exit 13
work_end || exit 14
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem || exit 15

insmod /tmem.ko swap_size_mb=64 || exit 20
dd if=/bin/busybox of=/dev/tmemswap0 bs=4k seek=1 count=200 oflag=direct 2>/dev/null || exit 21
meet no-room || exit 22
dd if=/dev/tmemswap0 bs=4k skip=1 count=200 2>/dev/null | cmp -s -n 819200 - /bin/busybox || exit 23
EOS
)"
guest_at swapping
held=$(host_pages one)
check "the host holds pages" above "$held" 1000
guest_go swapping
check "the guest drains" drain one
check "then the host holds none" await 5 host_pages_are one 0
puts=$(host_stat one persistent puts_ok)
sleep 3
check "it offers nothing while it is drained" is "$(host_stat one persistent puts_ok)" "$puts"
check "and goes on when told to" tmemctl resume one
check "it offers pages again" await $((20 * slow)) host_puts_above one $((puts + 500))
check "it drains once more" drain one
puts=$(host_stat one persistent puts_ok)
guest_go again
check "with its device away and back it offers pages by itself" \
	await $((20 * slow)) host_puts_above one $((puts + 500))
guest_go end
guest_at no-room
check "without a disk there is no room" is "$(drain one --json | grep -o '"drain":"[a-z-]*"')" '"drain":"no-room"'
check "and the host keeps them all" host_pages_are one 200
guest_go no-room
check "the guest's script ran to its end" guest_wait one
check "work went on and every page was right" guest_said one '^hog: pages=28160 rounds=3 .* bad=0 lost=0'
check "none was wrong or lost in between" test -z "$(guest_line one '^hog: .* (bad|lost)=[1-9]')"
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
check "no guest was failed" is "$(host_stat one failures)" 0
counters "held=$held disk_writes=$(guest_stat stats disk_writes)" \
	"disk_reads=$(guest_stat stats disk_reads)"
test_end
