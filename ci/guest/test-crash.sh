#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is killed again and again under a swapping guest, with a keeper: the guest
# notices a pause, and not one page is lost or wrong.
#
#   KILLS=N   how often (60; 12 where the guest is slow)
# kernels: uml 6.1
# slow
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-$((slow > 1 ? 12 : 60))}
tmemd_keeper=1
test_begin
tmemd_start --guest one

guest_start one 64M 600 "$(script one <<'EOS'
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
hog --mb 96 --rounds 1000000 --seconds 100000 &
hog=$!
until [ -e /host/enough ]; do sleep 0.5; done
cat /sys/kernel/tmem/stats >/host/stats
kill $hog
# Nothing is left of it but what it can tell: every page once more.
hog --mb 96 --rounds 1 --seed 7 || exit 12
cat /sys/kernel/tmem/stats >/host/stats-after
swap_stop && rmmod tmem
EOS
)"
puts_above() {
	[ "$(host_stat one persistent puts_ok)" -gt "$1" ]
}
check "the guest puts pages" await $((60 * slow)) puts_above 2000

check "tmemd dies $kills times" tmemd_kill "$kills"
echo enough >"$work/share/enough"
check "the guest's script ran to its end" guest_wait one
check "every page was right at each look" test -z "$(guest_line one '^hog: .* (bad|lost)=[1-9]')"
check "and at last" guest_said one '^hog: pages=24576 rounds=1 .* bad=0 lost=0'
check "no get failed" is "$(guest_stat stats-after gets_failed) $(guest_stat stats-after io_errors)" "0 0"
check "the guest went on putting" above "$(guest_stat stats-after puts)" "$(guest_stat stats puts)"
check "on one connection" is "$(grep -c 'connected by process' "$work/tmemd.log")" 1
check "tmemd ends cleanly" tmemd_stop
counters "kills=$died puts=$(guest_stat stats-after puts) gets=$(guest_stat stats-after gets)" \
	"replayed=$(grep -c 'in flight executed again' "$work/tmemd.log")" \
	"timeouts=$(guest_stat stats-after timeouts)"
test_end
