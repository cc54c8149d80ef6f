#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that is there and does not know the session any more: the module says HELLO
# again.  The host has the pages, so none is lost, and use goes on.
# A device whose ring goes away with flushes in it that a stopped host has not seen: they
# are sent when it is back, so that the host keeps no page that nobody needs.
#
# Seen red: no second HELLO; hog lost 102 pages, and the script ended early.  Flushes of a
# ring that went not owed; the host kept the 50 pages.
# kernels: 5.10 6.1 6.12 7.2
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
gcc -O2 -Wall -Wextra -Iprotocol -o "$work/stale" ci/guest/stale.c || die "stale builds"
tmemd_start --guest one --guest two

guest_start one 64M 200 "$(script one <<'EOS'
dmesg -n 7
swap_load || exit 10
work_start 1
held_above 2000
arrive swapping
work_end || exit 11
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem
EOS
)"
guest_at swapping
# One request at a time, until the guest has been told so.
session_unknown() {
	"$work/stale" "$tmemd_pid" 5
	sleep 0.5
	guest_said one 'saying HELLO again'
}
check "a session that the host does not know is opened again" await $((20 * slow)) session_unknown
puts=$(host_stat one persistent puts_ok)
check "pages are offered again" await $((20 * slow)) host_puts_above one $((puts + 500))
guest_go end
check "the guest's script ran to its end" guest_wait one
check "the module said so" guest_said one 'does not know this session any more'
check "every page was right" guest_said one '^hog: pages=28160 rounds=1 .* bad=0 lost=0'
check "none was wrong or lost in between" test -z "$(guest_line one '^hog: .* (bad|lost)=[1-9]')"
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
puts=$(guest_stat stats puts) doubtful=$(guest_stat stats puts_doubtful) gets=$(guest_stat stats gets)

# 50 pages, fewer than slots; switched off, the same places are written to the disk, for nobody to wait.
guest_start two 64M 120 "$(script two <<'EOS'
fill() { dd if=/bin/busybox of=/dev/tmemswap0 bs=4k seek=1 count=50 oflag=direct 2>/dev/null; }
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
fill || exit 11
meet filled || exit 12
echo 0 >/sys/kernel/tmem/swap
fill || exit 13
cp /sys/kernel/tmem/stats /host/stats-in-ring
device=$(device)
echo $device >$driver/unbind || exit 14
cp /sys/kernel/tmem/stats /host/stats-dropped
echo $device >$driver/bind &
sleep 2
meet dropped || exit 15
wait $! || exit 16
meet back
EOS
)"
guest_at filled
check "the host holds pages" host_pages_are two 50
kill -STOP "$tmemd_pid"
guest_go filled
guest_at dropped
kill -CONT "$tmemd_pid"
guest_go dropped
guest_at back
check "pages given up while it was stopped go" await $((5 * slow)) host_pages_are two 0
guest_go back
check "that guest's script ran to its end" guest_wait two
check "their flushes were in the ring" is "$(guest_stat stats-in-ring flushes) $(guest_stat stats-in-ring flushes_owed)" "50 0"
check "and owed when it went" is "$(guest_stat stats-dropped flushes_owed)" 50
counters "puts=$puts doubtful=$doubtful gets=$gets owed=$(guest_stat stats-dropped flushes_owed)"
test_end
