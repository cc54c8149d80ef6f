#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A new boot of a guest's driver, on the connection of the old one and on a new
# connection of the same VMM: the old boot's pages are gone.  The same boot that
# only lost its device for a while finds its pages again.
#
# Seen red: a new boot's nonce ignored; the host still had the old boot's pages.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

# 200 pages in the device, compared; skip the header sector.
guest_start one 64M 300 "$(script one <<'EOS'
fill() { dd if=/bin/busybox of=/dev/tmemswap0 bs=4k seek=1 count=200 oflag=direct 2>/dev/null; }
same() {
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/dev/tmemswap0 bs=4k skip=1 count=200 2>/dev/null | cmp -s -n 819200 - /bin/busybox
}
load() { insmod /tmem.ko swap_backing=/dev/ubda; }

if [ ! -e /host/rebooted ]; then
	load || exit 10
	fill && same || exit 11
	meet filled || exit 12

	device >$driver/unbind || exit 13
	same 2>/dev/null && exit 14
	device >$driver/bind || exit 15
	same || exit 16
	meet same-boot || exit 17

	device >$driver/unbind || exit 18
	rmmod tmem || exit 19
	meet old-boot || exit 20
	load || exit 21
	same && exit 22
	meet new-boot || exit 23

	fill && same || exit 24
	meet filled-again || exit 25
	touch /host/rebooted
	reboot -f
fi
load || exit 30
same && exit 31
meet rebooted || exit 32
fill && same || exit 33
swap_start || exit 34
hog --mb 100 --rounds 1
EOS
)"
guest_at filled
check "the host holds the first boot's pages" host_pages_are one 200
guest_go filled
guest_at same-boot
check "it still does when the device was away and is back" host_pages_are one 200
guest_go same-boot
guest_at old-boot
check "it still does when the driver left without a word" host_pages_are one 200
guest_go old-boot
guest_at new-boot
check "a new driver on the same connection: they are gone" host_pages_are one 0
check "it was the same connection" is "$(host_stat one connections)" 1
guest_go new-boot
guest_at filled-again
check "the host holds the second driver's pages" host_pages_are one 200
guest_go filled-again
guest_at rebooted
check "the guest rebooted: they are gone" host_pages_are one 0
guest_go rebooted
check "the guest's script ran to its end" guest_wait one
check "swapping works after the reboot" guest_said one '^hog: pages=25600 rounds=1 .* bad=0 lost=0'
counters "connections=$(host_stat one connections) puts=$(host_stat one persistent puts_ok)"
test_end
