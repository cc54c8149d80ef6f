# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# qemu.sh - guests with Debian's kernels in stock QEMU, without KVM.
#
# Owns:     how such a guest is put together and started; lib.sh does the rest.
# How:      the same initramfs as on User-mode Linux, with stock modules beside it.
#           tmem comes by an ivshmem-doorbell device, the shared folder by 9p.
# Must not: be timed: guest code runs 10 to 30 times slower here, host code does
#           not.  Count reads, faults and pages instead.
#
# The CPU is "max" without 5-level paging and cmpxchg16b: with them TCG of QEMU
# 7.2 corrupts 6.12 at random.  There must be room for a second one: TCG leaves out
# the guest's memory barriers where there never can be, as if nobody else shared the
# memory, and then doorbells are lost.
#
# The initramfs must not be swapped: a test may lose what is, and the script with it.
#
# Sourced after stock.sh from the top of the tree.

# Everything a guest needs beside tmem.ko, in the order that modprobe gives.  A test
# adds to it what it needs.
qemu_modules='virtio_pci virtio_blk 9pnet_virtio 9p'

# Only on pc can a device on the root bus be pulled out.
qemu_machine=q35

# The device's: one for control, one a queue.
qemu_vectors=3

# What a kernel needs of memory more than User-mode Linux does, in MiB.
qemu_overhead() {
	case $1 in
	*-debug) echo 80 ;;
	5.10*) echo 64 ;;
	6.1) echo 64 ;;
	6.12) echo 80 ;;
	*) echo 96 ;;
	esac
}

# Put a version's modules into TREE/modules, numbered.  Newer kernels' are
# compressed, which their loaders need not be able to undo.
qemu_modules_add() {
	local tree=$1 version=$2 ko n=0 list to ext4=
	# Not a dependency that modprobe would know of.
	[ -z "$guest_root" ] || ext4="$(stock_crc32c "$version") ext4"
	# shellcheck disable=SC2086 # a list of names
	list=$(stock_modules "$version" $qemu_modules $ext4) || return
	mkdir -p "$tree/modules"
	for ko in $list; do
		n=$((n + 1))
		to=$(printf '%s/modules/%02d.ko' "$tree" "$n")
		case $ko in
		*.xz) xz -dc "$ko" >"$to" ;;
		*.zst) zstd -qdc "$ko" >"$to" ;;
		*) cp "$ko" "$to" ;;
		esac
	done
}

# What a guest's script can use that differs from User-mode Linux.
qemu_prelude() {
	cat <<-'EOF'
	driver=/sys/bus/pci/drivers/tmem
	device() { basename "$(dirname "$(grep -l 0x1110 /sys/bus/pci/devices/*/device)")"; }
	EOF
}

# qemu_command NAME VERSION MEGABYTES WORK: the command, into the array vm.  Files are
# those that lib.sh names.
qemu_command() {
	local name=$1 version=$2 memory=$3 work=$4
	local append="console=ttyS0 panic=-1 share9p=host rootfstype=ramfs nowatchdog"
	# A host that is busy stalls its guests: no bug of theirs, hence nowatchdog.  What a
	# debug kernel reports it does as a warning.
	if [[ $version == *-debug ]]; then append+=" loglevel=5"; else append+=" quiet"; fi
	[ -z "$guest_root" ] || append+=" rootdisk=/dev/vdb"
	[ -z "$guest_systemd" ] || append+=" systemd=1"
	mkfifo "$work/$name.monitor.in" "$work/$name.monitor.out"
	# shellcheck disable=SC2034 # lib.sh's
	vm=(env TMPDIR="$work" qemu-system-x86_64 -name "$name" -nodefaults -no-user-config -display none
		-machine "$qemu_machine" -accel "tcg,thread=multi" -cpu "max,la57=off,cx16=off" -smp "1,maxcpus=2"
		-m $((memory + $(qemu_overhead "$version")))
		-kernel "$(stock_image "$version")" -initrd "$work/$name.gz"
		-append "$append" -serial stdio
		-chardev "pipe,id=monitor,path=$work/$name.monitor" -mon chardev=monitor
		-drive "file=$work/$name.disk,format=raw,if=virtio,cache=unsafe"
		-virtfs "local,path=$work/share,mount_tag=host,security_model=none")
	[ -n "$guest_bare" ] || vm+=(-chardev "socket,id=tmem,path=$work/run/$name.sock"
		-device "ivshmem-doorbell,vectors=$qemu_vectors,chardev=tmem,id=tmem-device")
	# A snapshot: what the guest writes goes to a file of its own, and away with it.  The
	# image itself is never written, so nobody need lock it.
	[ -z "$guest_root" ] || vm+=(-drive "file=$root_image,file.locking=off,format=raw,if=virtio,cache=unsafe,snapshot=on")
	# Behind the drives, whose names tests know.
	[ -z "$guest_disk" ] || vm+=(
		-object "memory-backend-memfd,id=memory,size=$((memory + $(qemu_overhead "$version")))M,share=on"
		-machine "memory-backend=memory"
		-chardev "socket,id=disk,path=$work/run/$name-disk.sock,reconnect=1"
		-device "vhost-user-blk-pci,chardev=disk,addr=0x10")
}

# qemu_tell NAME COMMAND...: to a guest's monitor.
qemu_tell() {
	echo "${*:2}" >"$work/$1.monitor.in"
}

# How often a guest whose dmesg is on its console has said that its host came or went.
qemu_said() {
	tr -d '\r' <"$work/$1.log" | grep -c "tmem: host $2"
}

qemu_said_more() {
	[ "$(qemu_said "$1" "$2")" -gt "$3" ]
}

# qemu_unplug NAME: pull the device out, on the machine pc.  0: the guest let go of it.
qemu_unplug() {
	local before
	before=$(qemu_said "$1" detached)
	qemu_tell "$1" device_del tmem-device
	# shellcheck disable=SC2154 # slow is lib.sh's
	await $((20 * slow)) qemu_said_more "$1" detached "$before"
}
