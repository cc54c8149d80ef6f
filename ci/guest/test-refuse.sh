#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that has room for about half of a guest's pages: what it refuses goes to
# the guest's disk, and every page comes back as it was.
#
# Seen red: a refusal taken for a yes; those pages were I/O errors, hog lost them.
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
hog --mb 128 --rounds 2 >/host/hog &
hog=$!
sleep 1
until [ -s /host/hog ]; do sleep 0.2; done
meet full
wait $hog || exit 12
cat /host/hog
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem
EOS
)"
# The first round is through: the guest holds as much as it ever will.
guest_at full 240
held=$(host_stat one persistent bytes_physical)
guest_go full
check "the guest's script ran to its end" guest_wait one
check "every page was right" guest_said one '^hog: pages=32768 rounds=2 .* bad=0 lost=0'
check "the host took pages" above "$(guest_stat stats puts)" 1000
check "the host refused pages" above "$(guest_stat stats puts_refused)" 1000
check "refused pages went to the disk" is "$(guest_stat stats disk_writes)" \
	"$(($(guest_stat stats puts_refused) + $(guest_stat stats puts_skipped)))"
check "pages came back from both" test "$(guest_stat stats gets)" -gt 1000 -a \
	"$(guest_stat stats disk_reads)" -gt 1000
check "the host counted the refusals as quota" above "$(host_stat one persistent puts_refused_quota)" 1000
check "the guest was held to its limit, and used it" test "$held" -le 16777216 -a "$held" -gt 12582912
refused=$(guest_stat stats puts_refused)
offered=$(($(guest_stat stats puts) + refused))
check "about half was refused" test $((refused * 4)) -gt "$offered" -a $((refused * 4)) -lt $((offered * 3))
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
counters "held=$held puts=$(guest_stat stats puts) refused=$(guest_stat stats puts_refused)" \
	"gets=$(guest_stat stats gets) disk_writes=$(guest_stat stats disk_writes)" \
	"disk_reads=$(guest_stat stats disk_reads)"
test_end
