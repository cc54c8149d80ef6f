# shellcheck shell=bash disable=SC2154 # lib.sh's variables
# SPDX-License-Identifier: GPL-2.0-or-later
#
# cache.sh - what the page-cache tests share.
#
# Owns:     a guest's file system on its disk, and its modules in the initramfs.
# How:      the file system is made here, on the disk's image; the guest mounts it on
#           /mnt.  Reads of the disk are counted by the guest's own block layer.
# Must not: know what a test does on it.
#
#   FS=TYPE   ext4 (the default) or xfs
#
# Sourced after lib.sh.

fs=${FS:-ext4}

case $kernel in
5.10 | 6.1 | 6.12) qemu_modules="crc32c_generic $fs $qemu_modules" ;;
*) qemu_modules="$fs $qemu_modules" ;;
esac

# cache_disk NAME MEGABYTES: the guest's disk, with a file system.
cache_disk() {
	require "mkfs.$fs"
	truncate -s "$2M" "$work/$1.disk"
	case $fs in
	ext4) mkfs.ext4 -q -F -E lazy_itable_init=0 "$work/$1.disk" ;;
	xfs) mkfs.xfs -q -f "$work/$1.disk" ;;
	esac || die "a file system is made"
}

# Guest code is slow here and host code is not; but only if it gets a processor.
cache_host_first() {
	renice -n -10 -g "$tmemd_pid" >/dev/null 2>&1
}

# What a guest's script can use; goes before it.
cache_prelude() {
	cat <<-EOF
	fs=$fs
	kernel=$kernel
	disk=\$(basename \$(readlink -f /dev/ubda))
	EOF
	cat <<-'EOF'
	mkdir -p /mnt
	# An emulated guest's timers and interrupts are late, and its time is not the host's.
	cache_insert() { insmod /tmem.ko cache=1 poll_us=500 cache_wait_us=200000 "$@"; }
	fs_mount() { mount -t $fs /dev/ubda /mnt; }
	disk_reads() { awk '{ print $1 }' /sys/block/$disk/stat; }
	disk_kib_read() { awk '{ print $3 / 2 }' /sys/block/$disk/stat; }
	# The kernel's own interface keeps the module for ever.
	cache_remove() { [ $kernel = 5.10-cleancache ] || rmmod tmem; }
	cache_reload() { [ $kernel = 5.10-cleancache ] || { rmmod tmem && cache_insert "$@"; }; }
	# Until the file system has been taken.
	cache_taken() {
		n=0
		until grep -qE "^($fs|cleancache) " /sys/kernel/tmem/cache_fs; do
			n=$((n + 1))
			[ $n -lt 100 ] || return 1
			head -c 100000 /mnt/* >/dev/null 2>&1
			echo 1 >/proc/sys/vm/drop_caches
			sleep 0.2
		done
	}
	EOF
}

# cache_script NAME [LINE]: a script of the guest's: the prelude, a line, standard input.
cache_script() {
	{ cache_prelude; echo "${2:-}"; cat; } | script "$1"
}
