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

# Of two guests with each other for peers.
qemu_mac() {
	if [[ $1 < $guest_peer ]]; then echo 52:54:00:00:00:01; else echo 52:54:00:00:00:02; fi
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
		-chardev "pipe,id=monitor,path=$work/$name.monitor,logfile=$work/$name.monitor.log"
		-mon "chardev=monitor,mode=control"
		-drive "file=$work/$name.disk,file.locking=off,format=raw,if=none,id=swap,cache=unsafe"
		-device virtio-blk-pci,drive=swap,serial=swap
		-virtfs "local,path=$work/share,mount_tag=host,security_model=none")
	[ -n "$guest_bare" ] || vm+=(-chardev "socket,id=tmem,path=$work/run/$name.sock"
		-device "ivshmem-doorbell,vectors=$qemu_vectors,chardev=tmem,id=tmem-device")
	# A snapshot: what the guest writes goes to a file of its own, and away with it.  The
	# image itself is never written, so nobody need lock it.
	[ -z "$guest_root" ] || vm+=(-drive "file=$root_image,file.locking=off,format=raw,if=virtio,cache=unsafe,snapshot=on")
	[ -z "$guest_peer" ] || vm+=(-device "virtio-net-pci,netdev=lan,romfile=,mac=$(qemu_mac "$name")"
		-netdev "dgram,id=lan,local.type=unix,local.path=$work/$name.lan,remote.type=unix,remote.path=$work/$guest_peer.lan")
	# Behind the drives, whose names tests know.
	[ -z "$guest_disk" ] || vm+=(
		-object "memory-backend-memfd,id=memory,size=$((memory + $(qemu_overhead "$version")))M,share=on"
		-machine "memory-backend=memory"
		-chardev "socket,id=disk,path=$work/run/$name-disk.sock,reconnect=1"
		-device "vhost-user-blk-pci,chardev=disk,addr=0x10")
}

# ---- the device comes and goes, on the machine pc ------------------------

qemu_answers() {
	grep -cE '^\{"(return|error)":' "$work/$1.monitor.log"
}

qemu_answered() {
	[ "$(qemu_answers "$1")" -gt "$2" ]
}

# qemu_tell NAME COMMAND [ARGUMENTS]: to its monitor, in JSON.  0: it did so.
qemu_tell() {
	local before
	before=$(qemu_answers "$1")
	echo "{\"execute\":\"$2\",\"arguments\":{${3:-}}}" >"$work/$1.monitor.in"
	await 30 qemu_answered "$1" "$before" || return
	grep -E '^\{"(return|error)":' "$work/$1.monitor.log" | tail -n 1 | grep -q '^{"return'
}

# How often the device has left QEMU: the guest let go of it, and nothing of it is left.
qemu_deleted() {
	grep -c '"DEVICE_DELETED".*"tmem-device"' "$work/$1.monitor.log"
}

qemu_deleted_more() {
	[ "$(qemu_deleted "$1")" -gt "$2" ]
}

# qemu_unplug NAME: pull the device out.  0: it is gone.
qemu_unplug() {
	local before
	qemu_answered "$1" 0 || qemu_tell "$1" qmp_capabilities || return
	before=$(qemu_deleted "$1")
	qemu_tell "$1" device_del '"id":"tmem-device"' || return
	# shellcheck disable=SC2154 # slow is lib.sh's
	await $((20 * slow)) qemu_deleted_more "$1" "$before"
}

# qemu_plug NAME: the same device once more, after qemu_unplug.  QEMU keeps the old
# one's connection, on which no handshake comes any more, and would wait for it for ever.
qemu_plug() {
	local socket='"backend":{"type":"socket","data":{"server":false,"addr":{"type":"unix","data":{"path":"'
	qemu_tell "$1" chardev-remove '"id":"tmem"' &&
		qemu_tell "$1" chardev-add "\"id\":\"tmem\",$socket$work/run/$1.sock\"}}}}" &&
		qemu_tell "$1" device_add "\"driver\":\"ivshmem-doorbell\",\"id\":\"tmem-device\",
			\"chardev\":\"tmem\",\"vectors\":$qemu_vectors"
}
