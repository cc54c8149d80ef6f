#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs of other people, who know nothing of tmem, verify what comes back from
# swap: stress-ng's memory patterns, and fio's checksums over a file in tmpfs (every
# page of which passes through swap) and one in ext4, in a Debian with less memory
# than they want.
#
#   STRESS_SECONDS=N  how long stress-ng runs (20, in a guest in QEMU 5 times as long)
#
# slow
# kernels: uml 5.10 6.1 6.12 7.2
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
guest_root=small
test_begin
tmemd_start --guest one

echo $((${STRESS_SECONDS:-20} * slow)) >"$work/share/seconds"
guest_start one 96M 600 "$(script one <<'EOS'
seconds=$(cat /host/seconds)
fio_run() {
	fio --minimal --bs=4k --rw=randwrite --ioengine=psync --verify=crc32c --verify_fatal=1 \
		--verify_dump=0 --buffer_compress_percentage=60 --refill_buffers --fallocate=none \
		--randrepeat=1 "$@" >>/host/fio.log 2>&1
}
dmesg -n 7
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
mkdir -p /tmp/ram && mount -t tmpfs -o size=256M tmpfs /tmp/ram || exit 12

# Methods that soon have looked at all their memory.
for method in zero-one rand-set ror; do
	stress-ng --vm 2 --vm-bytes 160M --vm-method $method --vm-keep --verify \
		--timeout $((seconds / 3)) --metrics-brief >/host/stress-ng-$method.log 2>&1
	echo "stress-ng $method: ended with $?"
done
cat /sys/kernel/tmem/stats >/host/stats-stress-ng

fio_run --name=ram --filename=/tmp/ram/file --size=160M
echo "fio tmpfs: ended with $?"
cat /sys/kernel/tmem/stats >/host/stats-fio
# One byte changed behind its back: can fio tell?
printf x | dd of=/tmp/ram/file bs=1 seek=20000001 conv=notrunc 2>/dev/null
fio_run --name=ram --filename=/tmp/ram/file --size=160M --verify_only
echo "fio changed: ended with $?"
rm /tmp/ram/file

hog --mb 120 --rounds 1000 --seconds $seconds &
fio_run --name=disk --filename=/var/tmp/file --size=64M
echo "fio ext4: ended with $?"
wait $! || exit 13
cat /sys/kernel/tmem/stats >/host/stats
swap_stop && rmmod tmem
EOS
)"
check "the guest's script ran to its end" guest_wait one
for method in zero-one rand-set ror; do
	check "stress-ng found no wrong memory by $method" guest_said one "^stress-ng $method: ended with 0"
done
# On a busy machine one of them may not have come to the end of a pass.
check "and looked at it" above \
	"$(awk '$4 == "vm" { sum += $5 } END { print sum }' "$work"/share/stress-ng-*.log)" 0
check "its memory went through the host" test "$(guest_stat stats-stress-ng puts)" -gt 2000 -a \
	"$(guest_stat stats-stress-ng gets)" -gt 1000
check "fio found its file in tmpfs as it wrote it" guest_said one '^fio tmpfs: ended with 0'
check "the file went through the host" test \
	$(($(guest_stat stats-fio puts) - $(guest_stat stats-stress-ng puts))) -gt 2000 -a \
	$(($(guest_stat stats-fio gets) - $(guest_stat stats-stress-ng gets))) -gt 2000
check "fio would have seen a wrong byte" guest_said one '^fio changed: ended with [1-9]'
check "fio found its file in ext4 as it wrote it" guest_said one '^fio ext4: ended with 0'
check "every page of the memory beside it was right" guest_said one '^hog: pages=30720 .* bad=0 lost=0'
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
counters "puts=$(guest_stat stats puts) gets=$(guest_stat stats gets)" \
	"refused=$(guest_stat stats puts_refused) disk_writes=$(guest_stat stats disk_writes)"
test_end
