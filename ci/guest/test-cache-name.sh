#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two functions of the kernel with the name of one to be hooked: the page cache stays off,
# and the log says why.  With the right name it goes on.
#
# Seen red: names not looked at; the page cache went on, over a function of another kind.
# kernels: 5.10 6.1 6.12 7.2
export TMEM_TEST=1
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
test_begin
tmemd_start --guest one

guest_start one 64M 120 "$(cache_script one <<'EOS'
dmesg -n 7
grep -c ' type_show$' /proc/kallsyms >/host/names
grep -c ' read_pages$' /proc/kallsyms >>/host/names
insmod /tmem.ko cache_break=64 || exit 10
echo 1 >/sys/kernel/tmem/cache 2>/dev/null
cat /sys/kernel/tmem/cache >/host/ambiguous
echo 0 >/sys/module/tmem/parameters/cache_break
start=$(cut -d. -f1 /proc/uptime)
echo 1 >/sys/kernel/tmem/cache || exit 11
echo $(($(cut -d. -f1 /proc/uptime) - start)) >/host/seconds
cat /sys/kernel/tmem/cache >/host/alone
rmmod tmem
EOS
)"
guest_wait one
check "the guest's script ran to its end" guest_said one '^guest: test ended with 0'
check "this kernel has functions of one name" above "$(head -n 1 "$work/share/names")" 1
check "and one to be hooked" is "$(tail -n 1 "$work/share/names")" 1
check "the page cache stays off where a name is not one function's" is "$(cat "$work/share/ambiguous")" 0
check "one line says why" guest_said one 'tmem: this kernel has more than one function type_show'
check "another what follows" guest_said one 'tmem: the page cache stays off'
check "with the right name it goes on" is "$(cat "$work/share/alone")" 1
counters "names=$(tr '\n' ' ' <"$work/share/names")seconds_to_switch_on=$(cat "$work/share/seconds")"
test_end
