#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# swapoff and removing the module are clean, and leave nothing on the host.
#
# Seen red: slots that swap frees not flushed; the guest counted pages after its swapoff.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

guest_start one 64M 300 "$(script one <<'EOS'
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
hog --mb 100 --rounds 1 --seconds 60 >/dev/null &
hog=$!
until [ "$(stat pages_held)" -gt 2000 ]; do sleep 0.1; done
meet holding || exit 12
rmmod tmem 2>/dev/null && exit 13
wait $hog || exit 14
# Equal once nothing is swapped between the two looks.
held_agrees() { [ "$(cat /sys/kernel/tmem/pages_held)" = "$(stat pages_held)" ]; }
within 5 held_agrees || exit 24
swap_stop || exit 15
stat pages_held >/host/held
# Switched off, nothing is offered; on again, it is.
fill() { dd if=/bin/busybox of=/dev/tmemswap0 bs=4k seek=1 count=50 oflag=direct 2>/dev/null; }
echo 0 >/sys/kernel/tmem/swap && fill && [ "$(stat pages_held)" = 0 ] || exit 25
echo 1 >/sys/kernel/tmem/swap && fill && [ "$(stat pages_held)" = 50 ] || exit 26
echo 0 >/sys/kernel/tmem/swap && fill && [ "$(stat pages_held)" = 0 ] || exit 27
[ "$(cat /sys/kernel/tmem/swap)" = 0 ] || exit 28
echo 1 >/sys/kernel/tmem/swap
meet swapped-off || exit 16
# Pages that nobody swaps off: only the module's own leaving returns these.
dd if=/bin/busybox of=/dev/tmemswap0 bs=4k seek=1 count=100 oflag=direct || exit 17
meet written || exit 18
rmmod tmem || exit 19
[ ! -e /dev/tmemswap0 ] || exit 20
meet removed
insmod /tmem.ko swap_backing=/dev/ubda && swap_start && hog --mb 100 --rounds 1
EOS
)"
guest_at holding
check "the host holds pages while the guest swaps" above "$(host_pages one)" 1000
guest_go holding
guest_at swapped-off
check "the guest needs none after swapoff" is "$(cat "$work/share/held")" 0
check "the host holds none after swapoff" await 5 host_pages_are one 0
guest_go swapped-off
guest_at written
check "the host holds pages of a device that is not swapped on" await 5 host_pages_are one 100
guest_go written
guest_at removed
check "the host holds none after the module is gone" host_pages_are one 0
guest_go removed
check "the module in use could not be removed, idle it could, and it loads again" guest_wait one
check "swapping works after that" guest_said one '^hog: pages=25600 rounds=1 .* bad=0 lost=0'
check "no guest was failed" is "$(host_stat one failures)" 0
check "tmemd ends cleanly" tmemd_stop
check "the kernel had nothing to complain about" \
	test -z "$(guest_line one 'WARNING:|BUG:|Call Trace')"
test_end
