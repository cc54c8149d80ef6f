#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is stopped for longer than the module waits, and goes on later: it then
# executes requests that the guest has given up.  I/O errors are allowed, and
# processes may die of them; a wrong page is not, and the guest lives.
#
# Seen red: a slot given up free at once, tags not compared; late answers were taken for others'.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
tmemd_start --guest one

guest_start one 64M 300 "$(script one <<'EOS'
swap_load timeout_ms=500 || exit 10
hog --mb 110 --rounds 1000 --seconds 20
EOS
)" "$(script after <<'EOS'
survive 110
EOS
)"
check "the guest puts pages" await 60 host_puts_above one 2000
for _ in 1 2 3; do
	kill -STOP "$tmemd_pid"
	sleep 2
	kill -CONT "$tmemd_pid"
	sleep 1
done
puts=$(host_stat one persistent puts_ok)
check "puts are taken again afterwards" await 30 host_puts_above one $((puts + 1000))
guest_wait one
check "the guest lived to the end" guest_said one '^guest: after ended with 0'
check "the module gave up waiting" above "$(guest_stat stats timeouts)" 0
check "and answers came that nobody waited for" is "$(guest_stat stats late)" "$(guest_stat stats timeouts)"
check "no slot is missing" is "$(guest_stat stats overdue)" 0
check "no page was wrong" guest_said one '^hog: pages=28160 rounds=[0-9]+ .* bad=0 lost=[0-9]+'
check "none was seen to be wrong on the way" test -z "$(guest_line one '^hog: .* bad=[1-9]')"
check "swap is whole afterwards" guest_said one '^hog: pages=28160 rounds=1 .* bad=0 lost=0'
counters "timeouts=$(guest_stat stats timeouts) late=$(guest_stat stats late)" \
	"doubtful=$(guest_stat stats puts_doubtful) gets_failed=$(guest_stat stats gets_failed)" \
	"lost=$(hog_field "$(guest_line one '^hog: .* lost=[1-9]')" lost)"
test_end
