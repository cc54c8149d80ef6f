#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest with no driver of ours uses its disk in host memory: by the virtio_blk of
# its own kernel, over two front ends that are not ours either (QEMU, User-mode
# Linux).  It swaps to it, fio verifies it, an ext4 on it holds files; more than the
# guest's quota takes, so a part is in the spill.  In QEMU, which reconnects, tmemd is
# restarted under load, by request and by kill -9: the guest sees a pause.
#
# slow
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
guest_root=small
guest_disk=1
test_begin
cat >"$work/tmemd.conf" <<-CONF
	[tmemd]
	arena = 256M
	arena-file = $work/arena
	memory-policy = off
	[guest one]
	persistent-max = 12M
	disk-size = 256M
	disk-spill = $work/spill
CONF
if [ "$kernel" = uml ]; then
	cp /usr/lib/uml/modules/*/kernel/drivers/block/virtio_blk.ko "$work/share/" ||
		die "User-mode Linux has a virtio_blk"
fi
tmemd_start --config "$work/tmemd.conf" --guest one

# disk_stat KEY: of the guest's disk.
disk_stat() {
	host_stat one disk "$1"
}

guest_start one 96M 500 "$(script one <<'EOS'
[ ! -e /host/virtio_blk.ko ] || insmod /host/virtio_blk.ko || exit 10
for d in /sys/block/vd*; do
	[ "$(cat $d/serial)" != one ] || disk=/dev/${d##*/}
done
[ -b "$disk" ] || exit 11
dmesg -n 7; echo 1 >/proc/sys/vm/overcommit_memory
mkswap $disk >/dev/null && swapon --discard $disk || exit 12
hog --mb 128 --rounds 1 || exit 13
meet swapped || exit 14
if [ -e /host/restarts ]; then
	hog --mb 128 --rounds 100000 --seconds $(cat /host/restarts) >/tmp/hog.log 2>&1 &
	arrive swapping
	wait $! || exit 15
	sed 's/^/restarted /' /tmp/hog.log
	meet restarted || exit 16
fi
# One byte changed behind its back: can the checker tell?
hog --mb 16 --rounds 1 --corrupt && exit 17
swapoff $disk || exit 18

fio_run() {
	fio --minimal --name=raw --filename=$disk --direct=1 --size=24M --rw=randwrite \
		--bsrange=4k-64k --ioengine=psync --verify=crc32c --verify_fatal=1 \
		--buffer_compress_percentage=50 --refill_buffers --randrepeat=1 "$@" \
		>>/host/fio.log 2>&1
}
fio_run
echo "fio raw: ended with $?"
# A byte of the disk changed: can fio tell?
printf x | dd of=$disk bs=1 seek=10000001 conv=notrunc 2>/dev/null
fio_run --verify_only
echo "fio changed: ended with $?"

mkfs.ext4 -q -F $disk && mkdir -p /mnt/disk && mount -o discard $disk /mnt/disk || exit 20
cp -a /usr/bin/[a-m]* /mnt/disk && umount /mnt/disk && mount -o discard $disk /mnt/disk || exit 21
for f in /mnt/disk/*; do
	[ ! -f "$f" ] || cmp -s "$f" "/usr/bin/${f##*/}" || echo "differs: $f"
done
echo "files: $(ls /mnt/disk | wc -l)"
meet files || exit 22
umount /mnt/disk && blkdiscard -f $disk || exit 24
dmesg | grep -c 'I/O error' >/host/io-errors
meet end || exit 25
EOS
)"
guest_at swapped
# All that ever was: some kernels discard at once what the hog gave back.
swapped=$(disk_stat writes) spilled=$(disk_stat spill_writes)
check "the guest swapped" above "$swapped" 250
check "and past its quota into the spill" above "$spilled" 250
if [ "$kernel" = uml ]; then
	guest_go swapped
else
	echo $((20 * slow)) >"$work/share/restarts"
	guest_go swapped
	guest_at swapping
	for how in TERM KILL TERM KILL; do
		sleep 10
		if [ $how = TERM ]; then
			check "tmemd ends cleanly" tmemd_stop
		else
			group_end "$tmemd_pid" 0
		fi
		tmemd_start --config "$work/tmemd.conf" --guest one
	done
	guest_at restarted
	guest_go restarted
fi
guest_at files
check "files are on it" above "$(disk_stat memory_bytes)" 1000000
guest_go files
guest_at end
check "what was discarded is gone" is "$(disk_stat memory_bytes) $(disk_stat spilled_bytes)" "0 0"
errors=$(disk_stat errors)
guest_go end
check "the guest's script ran to its end" guest_wait one
check "every page was right" guest_said one '^hog: pages=32768 rounds=1 .* bad=0 lost=0'
[ "$kernel" = uml ] ||
	check "and over restarts of tmemd" guest_said one '^restarted hog: .* bad=0 lost=0'
check "a wrong byte would have been seen" guest_said one '^hog: pages=4096 .* bad=[1-9]'
check "fio verified the disk" guest_said one '^fio raw: ended with 0'
check "fio would have seen a wrong byte" guest_said one '^fio changed: ended with [^0]'
check "files were copied" guest_said one '^files: [1-9][0-9][0-9]'
check "and came back as they were" is "$(guest_line one '^differs:')" ""
check "nobody saw an I/O error" is "$(cat "$work/share/io-errors") $errors" "0 0"
check "tmemd ends cleanly" tmemd_stop
counters "writes=$swapped spilled=$spilled"
test_end
