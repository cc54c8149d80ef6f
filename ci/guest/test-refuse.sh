#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that has room for about half of a guest's pages: what it refuses goes to
# the guest's disk, and every page comes back as it was.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
cat >"$work/tmemd.conf" <<'EOS'
[guest one]
persistent-max = 16M
EOS
tmemd_start --config "$work/tmemd.conf" --guest one

guest_start one 64M 300 "$(script one <<'EOS'
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
hog --mb 128 --rounds 2 || exit 12
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem
EOS
)"
check "the guest's script ran to its end" guest_wait one
check "every page was right" guest_said one '^hog: pages=32768 rounds=2 .* bad=0 lost=0'
check "the host took pages" above "$(guest_stat stats puts)" 1000
check "the host refused pages" above "$(guest_stat stats puts_refused)" 1000
check "refused pages went to the disk" is "$(guest_stat stats disk_writes)" \
	"$(($(guest_stat stats puts_refused) + $(guest_stat stats puts_skipped)))"
check "pages came back from both" test "$(guest_stat stats gets)" -gt 1000 -a \
	"$(guest_stat stats disk_reads)" -gt 1000
check "the host counted the refusals as quota" above "$(host_stat one persistent puts_refused_quota)" 1000
check "the guest was held to its limit" test "$(host_stat one persistent pages_max)" -gt 0
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
counters "puts=$(guest_stat stats puts) refused=$(guest_stat stats puts_refused)" \
	"gets=$(guest_stat stats gets) disk_writes=$(guest_stat stats disk_writes)" \
	"disk_reads=$(guest_stat stats disk_reads)"
test_end
