#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that is there and does not know the session any more: the module says HELLO
# again.  The host has the pages, so none is lost, and use goes on.
#
# Seen red: no second HELLO; hog lost 102 pages, and the script ended early.
# kernels: 5.10 6.1 6.12 7.2
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
gcc -O2 -Wall -Wextra -Iprotocol -o "$work/stale" ci/guest/stale.c || die "stale builds"
tmemd_start --guest one

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
check "a session that the host does not know is opened again" "$work/stale" "$tmemd_pid" 60
puts=$(host_stat one persistent puts_ok)
check "pages are offered again" await $((20 * slow)) host_puts_above one $((puts + 500))
guest_go end
check "the guest's script ran to its end" guest_wait one
check "the module said so" guest_said one 'does not know this session any more'
check "every page was right" guest_said one '^hog: pages=28160 rounds=1 .* bad=0 lost=0'
check "none was wrong or lost in between" test -z "$(guest_line one '^hog: .* (bad|lost)=[1-9]')"
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
counters "puts=$(guest_stat stats puts) doubtful=$(guest_stat stats puts_doubtful)" \
	"gets=$(guest_stat stats gets)"
test_end
