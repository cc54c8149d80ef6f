# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# qemu.sh - one of Debian's kernels in stock QEMU, without KVM.
#
# Owns:     how such a guest is put together, started and ended.
# How:      an initramfs of busybox, stock modules, tmem.ko and a script.  The
#           script's exit status comes back as a line on the serial console.
# Must not: be timed: guest code runs 10 to 30 times slower here, host code does
#           not.  Count reads, faults and pages instead.
#
# The CPU is "max" without 5-level paging and cmpxchg16b: with them TCG of QEMU
# 7.2 corrupts 6.12 at random.
#
# Sourced after stock.sh from the top of the tree.

# qemu_initramfs OUT VERSION SCRIPT "MODULE..." [FILE...]
#
# SCRIPT runs as /test under /bin/sh with the modules inserted; tmem.ko, if it is
# among the FILEs, lies in / with the others and is the script's to insert.
qemu_initramfs() {
	local out=$1 version=$2 script=$3 modules=$4 tree ko n=0 list
	shift 4
	# shellcheck disable=SC2086 # a list of names
	list=$(stock_modules "$version" $modules) || return
	tree=$(mktemp -d)
	mkdir -p "$tree"/{bin,proc,sys,dev,tmp,modules}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	for ko in $list; do
		n=$((n + 1))
		qemu_module "$ko" "$(printf '%s/modules/%02d.ko' "$tree" "$n")"
	done
	[ $# -eq 0 ] || cp "$@" "$tree/"
	cp "$script" "$tree/test"
	cat >"$tree/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
for ko in /modules/*.ko; do
	[ -e "$ko" ] && insmod "$ko"
done
sh /test
echo "guest: test ended with $?"
sync
poweroff -f
EOF
	chmod +x "$tree/init"
	(cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$out.new"
	mv "$out.new" "$out"
	rm -rf "$tree"
}

# Newer kernels' modules are compressed, which busybox's insmod does not undo.
qemu_module() {
	case $1 in
	*.xz) xz -dc "$1" >"$2" ;;
	*.zst) zstd -qdc "$1" >"$2" ;;
	*) cp "$1" "$2" ;;
	esac
}

# qemu_start LOG VERSION INITRAMFS MEGABYTES [QEMU-OPTION...]
#
# Start a guest in the background; its console goes to LOG, its pid to qemu_pid,
# its monitor to LOG.monitor.
qemu_start() {
	local log=$1 version=$2 initrd=$3 mem=$4
	shift 4
	: >"$log"
	qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
		-accel tcg,thread=multi -cpu max,la57=off,cx16=off -m "$mem" \
		-kernel "$(stock_image "$version")" -initrd "$initrd" \
		-append 'console=ttyS0 panic=-1 quiet' \
		-serial "file:$log" -monitor "unix:$log.monitor,server,nowait" "$@" \
		>"$log.qemu" 2>&1 </dev/null &
	# shellcheck disable=SC2034 # for whoever sources this
	qemu_pid=$!
}

# qemu_wait PID LOG SECONDS: 0 if the script ended with 0 within that time.  The
# guest is gone afterwards in any case.
qemu_wait() {
	local pid=$1 log=$2 deadline=$((SECONDS + $3))
	while kill -0 "$pid" 2>/dev/null; do
		if [ $SECONDS -ge "$deadline" ]; then
			echo "guest: no end within $3 s" >>"$log"
			kill -9 "$pid"
			break
		fi
		sleep 0.2
	done
	wait "$pid" 2>/dev/null
	grep -q '^guest: test ended with 0' "$log"
}
