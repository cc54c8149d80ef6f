#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A file twice as large as the guest's memory is read again and again: the host has
# what the guest had to drop, the disk is hardly read any more, and every page is right.
# kernels: 5.10 5.10-cleancache 6.1 6.12 7.2
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
test_begin
tmemd_start --guest one
cache_host_first
cache_disk one 512

guest_start one 64M 300 "$(cache_script one <<'EOS'
fs_mount || exit 10
cachestress write /mnt/file --mb 224 || exit 11
cache_insert || exit 12
cache_taken || exit 13
read_file() {
	before=$(disk_kib_read)
	cachestress verify /mnt/file --mb 224 $2 || exit 14
	echo "$1 $(($(disk_kib_read) - before))" >>/host/reads
}
# The first two tell the filter that these pages come back.
read_file first
read_file second
read_file third
read_file mapped --mmap
cat /sys/kernel/tmem/stats >/host/stats
cat /sys/kernel/tmem/cache_fs >/host/taken
echo 0 >/sys/kernel/tmem/cache
read_file off
umount /mnt && cache_remove
EOS
)"
guest_wait one
check "the guest's script ran to its end" guest_said one '^guest: test ended with 0'
check "every page was right, five times" is \
	"$(tr -d '\r' <"$work/one.log" | grep -c '^cachestress: verify pages=57344 bad=0')" 5
first=$(guest_stat reads first) third=$(guest_stat reads third)
mapped=$(guest_stat reads mapped) off=$(guest_stat reads off)
check "at first the disk was read" above "$first" 200000
check "later 80 % less" above "$((first / 5))" "$third"
check "through a mapping as well" above "$((first / 5))" "$mapped"
check "with the cache off it was read again" above "$off" 150000
check "the host had the pages" above "$(guest_stat stats cache_hits)" $((2 * 57344 * 4 / 5))
check "pages read once were not put" above "$(guest_stat stats cache_puts_filtered)" 20000
check "the file system is named" grep -qE "^($fs vda|cleancache private) pool 1$" "$work/share/taken"
check "tmemd ends cleanly" tmemd_stop
counters "kib_read=$first,$third,$mapped,$off puts=$(guest_stat stats cache_puts)" \
	"staged=$(guest_stat stats cache_puts_staged) paced=$(guest_stat stats cache_paced)" \
	"dropped=$(guest_stat stats cache_puts_dropped) lost=$(guest_stat stats cache_puts_lost)" \
	"hits=$(guest_stat stats cache_hits)"
test_end
