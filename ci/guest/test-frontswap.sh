#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Swap pages by the kernel's own frontswap: they come back as they were, the kernel's
# counters and the module's say that they went that way, and another swap area's do
# not.  The guest drains and lets go as ever.  What a host refuses goes to the disk.
#
# Seen red: any swap area taken for the device's; 13430 pages of the other were stored.
# kernels: 5.10 5.10-cleancache
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
test_begin
cat >"$work/tmemd.conf" <<'EOS'
[guest full]
persistent-max = 16M
EOS
tmemd_start --config "$work/tmemd.conf" --guest one --guest full
qemu_modules+=' loop'

# Without a disk or with another word the module does not load.  The other area comes
# when the device's is off, and by the number that this had; a group with little memory
# swaps there.
guest_start one 64M 300 "$(script one <<'EOS'
insmod /tmem.ko swap_source=frontswap 2>/dev/null && exit 10
insmod /tmem.ko swap_source=other swap_backing=/dev/ubda 2>/dev/null && exit 11
mkdir /debug /group
mount -t debugfs none /debug && mount -t cgroup -o memory none /group || exit 12
swap_load swap_source=frontswap || exit 13
hog --mb 112 --rounds 1 || exit 14
cat /sys/kernel/tmem/stats >/host/stats
for n in succ_stores loads invalidates; do echo $n $(cat /debug/frontswap/$n); done >/host/kernel
meet measured || exit 15
hog --mb 16 --rounds 1 --corrupt && exit 16

work_start 1
held_above 2000
meet swapping || exit 17
work_end || exit 18
swap_stop || exit 19
stat pages_held >/host/held
rmmod tmem 2>/dev/null && exit 20

dd if=/dev/zero of=/other bs=1M count=24 2>/dev/null
losetup /dev/loop0 /other && mkswap /dev/loop0 >/dev/null && swapon /dev/loop0 || exit 21
stores=$(stat frontswap_stores)
mkdir /group/small && echo 8M >/group/small/memory.limit_in_bytes || exit 22
( echo 0 >/group/small/tasks && exec hog --mb 20 --rounds 1 --seed 3 ) || exit 23
echo $(($(stat frontswap_stores) - stores)) $(cat /debug/frontswap/failed_stores) >/host/other
EOS
)"
guest_at measured
host_puts=$(host_stat one persistent puts_ok)
host_gets=$(host_stat one persistent gets_ok)
guest_go measured
guest_at swapping
check "the guest drains" drain one
check "then the host holds none" await 5 host_pages_are one 0
puts=$(host_stat one persistent puts_ok)
check "and goes on when told to" tmemctl resume one
check "it offers pages again" await $((20 * slow)) host_puts_above one $((puts + 500))
guest_go swapping
guest_go end
check "the guest's script ran to its end" guest_wait one
check "every page was right" guest_said one '^hog: pages=28672 rounds=1 .* bad=0 lost=0'
check "and so they were with the drain" guest_said one '^hog: pages=28160 rounds=1 .* bad=0 lost=0'
check "a wrong byte would have been seen" guest_said one '^hog: pages=4096 .* bad=[1-9]'
stores=$(guest_stat stats frontswap_stores) loads=$(guest_stat stats frontswap_loads)
check "pages were stored" above "$stores" 1000
check "and loaded" above "$loads" 1000
check "the kernel counted the stores" near "$(guest_stat kernel succ_stores)" "$stores" 200
check "the kernel counted the loads" near "$(guest_stat kernel loads)" "$loads" 200
check "the kernel invalidated pages" above "$(guest_stat kernel invalidates)" 1000
check "and the module heard of each" test \
	"$(($(guest_stat stats frontswap_invalidates) + 200))" -ge "$(guest_stat kernel invalidates)"
check "no page was put or got in another way" is \
	"$(guest_stat stats puts) $(guest_stat stats gets)" "$stores $loads"
check "the host took as many" near "$host_puts" "$stores" 500
check "and answered as many" near "$host_gets" "$loads" 500
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
check "the host holds none after swapoff" is "$(cat "$work/share/held") $(host_pages one)" "0 0"
check "of the other area nothing was taken" test "$(cut -d' ' -f1 "$work/share/other")" = 0
check "though the kernel offered it" above "$(cut -d' ' -f2 "$work/share/other")" 1000
check "where every page was right too" guest_said one '^hog: pages=5120 rounds=1 .* bad=0 lost=0'

guest_start full 64M 300 "$(script full <<'EOS'
swap_load swap_source=frontswap || exit 10
hog --mb 112 --rounds 1 || exit 11
cat /sys/kernel/tmem/stats >/host/stats
EOS
)"
check "a guest with a quota ran to its end" guest_wait full
check "every page was right with a quota" guest_said full '^hog: pages=28672 rounds=1 .* bad=0 lost=0'
refused=$(guest_stat stats puts_refused)
check "the host took pages" above "$(guest_stat stats frontswap_stores)" 1000
check "and refused some" above "$refused" 1000
check "each of these went to the disk once" is "$(guest_stat stats disk_writes)" \
	"$((refused + $(guest_stat stats puts_skipped)))"
check "and was offered once" is "$(guest_stat stats puts)" "$(guest_stat stats frontswap_stores)"
check "pages came back from both" test "$(guest_stat stats frontswap_loads)" -gt 1000 -a \
	"$(guest_stat stats disk_reads)" -gt 1000
check "nothing failed with a quota" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
counters "stores=$stores loads=$loads" \
	"refused=$refused disk_writes=$(guest_stat stats disk_writes) disk_reads=$(guest_stat stats disk_reads)"
test_end
