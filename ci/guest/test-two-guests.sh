#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two guests put different contents under the same keys at the same time.  Neither
# ever sees the other's.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one --guest two

start() {
	guest_start "$1" 64M 300 "$(script "$1" <<EOS
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
hog --mb 110 --rounds 2 --seed $2 || exit 12
cat /sys/kernel/tmem/stats >/host/stats-$1
meet full-$1
EOS
)"
}
start one 1001
start two 2002
guest_at full-one
guest_at full-two
check "both have pages on the host at once" test "$(host_pages one)" -gt 0 -a "$(host_pages two)" -gt 0
guest_go full-one
guest_go full-two
check "the first guest's script ran to its end" guest_wait one
check "the second guest's script ran to its end" guest_wait two
check "the first saw its own pages" guest_said one '^hog: pages=28160 rounds=2 .* bad=0 lost=0'
check "the second saw its own pages" guest_said two '^hog: pages=28160 rounds=2 .* bad=0 lost=0'
check "both read from the host" test "$(guest_stat stats-one gets)" -gt 1000 -a \
	"$(guest_stat stats-two gets)" -gt 1000
check "guests that are gone hold nothing" await 5 host_pages_are one 0
check "neither does the other" await 5 host_pages_are two 0
counters "puts=$(guest_stat stats-one puts)+$(guest_stat stats-two puts)" \
	"gets=$(guest_stat stats-one gets)+$(guest_stat stats-two gets)"
test_end
