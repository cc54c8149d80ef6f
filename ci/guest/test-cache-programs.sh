#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs of other people, who know nothing of tmem, verify what they read from files: fio,
# stress-ng and dbench say the same with the page cache in the host and without.
# kernels: 6.1
# slow
#
#   TMEM_PROGRAM_SECONDS=N  how long stress-ng and dbench run (15)
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
guest_root=small
test_begin
tmemd_start --guest one
cache_host_first
cache_disk one 512

guest_start one 96M 600 "$(cache_script one "seconds=${TMEM_PROGRAM_SECONDS:-15}" <<'EOS'
fio_run() {
	fio --minimal --name=file --filename=/mnt/fio --bs=4k --ioengine=psync --fallocate=none \
		--verify=crc32c --verify_fatal=1 --verify_dump=0 --randrepeat=1 --refill_buffers \
		--buffer_compress_percentage=60 "$@" >>/host/fio.log 2>&1
}
programs() {
	rm -rf /mnt/*
	fio_run --rw=randwrite --size=160M
	echo "$1 fio write: ended with $?"
	for pass in 1 2; do
		fio_run --rw=randwrite --size=160M --verify_only
		echo "$1 fio verify $pass: ended with $?"
	done
	fio_run --rw=randwrite --size=96M --direct=1
	echo "$1 fio direct: ended with $?"
	rm -rf /mnt/*
	stress-ng --hdd 2 --hdd-bytes 64M --hdd-opts wr-rnd,rd-rnd --verify --timeout $seconds \
		--temp-path /mnt >/host/stress-ng-$1.log 2>&1
	echo "$1 stress-ng: ended with $?"
	dbench -c /usr/share/dbench/client.txt -D /mnt -t $seconds 2 >/host/dbench-$1.log 2>&1
	echo "$1 dbench: ended with $?"
}
# fio's libraries ask for more than there is, and use little of it.
echo 1 >/proc/sys/vm/overcommit_memory
fs_mount || exit 10
cache_insert cache_filter=0 || exit 11
programs on
cat /sys/kernel/tmem/stats >/host/stats
# One byte changed behind its back: can fio tell?
fio_run --rw=randwrite --size=16M
printf x | dd of=/mnt/fio bs=1 seek=2000001 conv=notrunc 2>/dev/null
fio_run --rw=randwrite --size=16M --verify_only
echo "fio changed: ended with $?"
echo 0 >/sys/kernel/tmem/cache
programs off
umount /mnt && cache_remove
EOS
)"
check "the guest's script ran to its end" guest_wait one
for program in 'fio write' 'fio verify 1' 'fio verify 2' 'fio direct' stress-ng dbench; do
	for state in on off; do
		check "$program found nothing wrong, page cache $state" \
			guest_said one "^$state $program: ended with 0"
	done
done
check "fio would have seen a wrong byte" guest_said one '^fio changed: ended with [1-9]'
check "pages came from the host" above "$(guest_stat stats cache_hits)" 1000
counters "puts=$(guest_stat stats cache_puts) hits=$(guest_stat stats cache_hits)" \
	"dropped=$(guest_stat stats cache_puts_dropped)"
test_end
