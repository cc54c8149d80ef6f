# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt.sh - a libvirtd of the test's own, and domains in it.
#
# Owns:     the daemon's configuration, its start and end, a domain's XML.
# How:      the whole test runs in mount and process namespaces of its own, where
#           libvirt's directories and /run are empty: libvirtd, its guests and tmemd see
#           nothing of the machine's, leave nothing behind, and end with the test.
#           A domain is a stock kernel with the initramfs of lib.sh, its console in
#           $work/NAME.log, the shared folder by 9p.
# Must not: reach the machine's libvirtd, or need one.
#
# Sourced after lib.sh from the top of the tree.
# shellcheck disable=SC2154 # lib.sh's and qemu.sh's

libvirtd_pid=
domain_shared=	# not empty: the next domain's memory is shared with the host
sock=/run/tmemd/control.sock

# libvirt_enter ARGUMENT...: run this script again within namespaces, once.
libvirt_enter() {
	local tool
	for tool in libvirtd virsh unshare; do
		command -v "$tool" >/dev/null || libvirt_skip "$tool is not there"
	done
	[ "$(id -u)" -eq 0 ] || libvirt_skip "not root"
	[ -z "${TMEM_LIBVIRT_INSIDE:-}" ] || return 0
	unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
		libvirt_skip "namespaces cannot be made here"
	TMEM_LIBVIRT_INSIDE=1 exec unshare --mount --pid --fork --mount-proc --kill-child "$0" "$@"
}

libvirt_skip() {
	echo "ok 1 - $(basename "$0" .sh) # SKIP $*"
	exit 0
}

# What libvirtd finds: no network, no policy, its guests as root like the test.
libvirt_prepare() {
	local dir
	for dir in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /run; do
		mount -t tmpfs none "$dir" || libvirt_skip "nothing can be mounted here"
	done
	mkdir -p /run/lock /etc/libvirt/hooks/qemu.d
	cat >/etc/libvirt/qemu.conf <<-END
	user = "root"
	group = "root"
	security_driver = "none"
	dynamic_ownership = 0
	remember_owner = 0
	namespaces = []
	cgroup_controllers = []
	stdio_handler = "file"
	END
	printf 'auth_unix_rw = "none"\nunix_sock_group = "root"\n' >/etc/libvirt/libvirtd.conf
	ln -s "$build/tmemd-qemu-hook" /etc/libvirt/hooks/qemu.d/tmemd
}

libvirtd_answers() {
	virsh version >/dev/null 2>&1
}

libvirtd_start() {
	libvirtd >>"$work/libvirtd.log" 2>&1 &
	libvirtd_pid=$!
	await 20 libvirtd_answers || libvirt_skip "libvirtd does not run here: $(tail -n 1 "$work/libvirtd.log")"
}

# Guests go on without it.
libvirtd_stop() {
	kill -TERM "$libvirtd_pid"
	wait "$libvirtd_pid"
}

watch_start() {
	"$build/tmemd-libvirt" >>"$work/watch.log" 2>&1 &
}

watch_said() {
	grep -qE "$1" "$work/watch.log"
}

# domain_xml NAME UUID MACHINE [DEVICES [METADATA]]: of a guest by lib.sh's guest_image.
domain_xml() {
	local name=$1 uuid=$2 machine=$3 devices=${4:-} metadata=${5:-}
	cat <<-END
	<domain type='qemu'>
	  <name>$name</name>
	  <uuid>$uuid</uuid>
	  <metadata>$metadata</metadata>
	  ${domain_shared:+<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>}
	  <memory unit='MiB'>$((64 + $(qemu_overhead "$kernel")))</memory>
	  <vcpu current='1'>2</vcpu>
	  <os>
	    <type arch='x86_64' machine='$machine'>hvm</type>
	    <kernel>$(stock_image "$kernel")</kernel>
	    <initrd>$work/$name.gz</initrd>
	    <cmdline>console=ttyS0 quiet panic=-1 share9p=host rootfstype=ramfs</cmdline>
	  </os>
	  <features><acpi/><apic/></features>
	  <cpu mode='maximum'>
	    <feature policy='disable' name='la57'/>
	    <feature policy='disable' name='cx16'/>
	  </cpu>
	  <on_crash>destroy</on_crash>
	  <devices>
	    <controller type='usb' model='none'/>
	    <serial type='file'><source path='$work/$name.log' append='on'/></serial>
	    <disk type='file' device='disk'>
	      <driver name='qemu' type='raw' cache='unsafe'/>
	      <source file='$work/$name.disk'/>
	      <target dev='vda' bus='virtio'/>
	    </disk>
	    <filesystem type='mount' accessmode='passthrough'>
	      <source dir='$work/share'/>
	      <target dir='host'/>
	    </filesystem>
	    <memballoon model='none'/>
	    $devices
	  </devices>
	</domain>
	END
}

# The device that tmemctl attach would make.
domain_device() {
	cat <<-END
	<shmem name='tmem'>
	  <model type='ivshmem-doorbell'/>
	  <server path='/run/tmemd/$1.sock'/>
	  <msi vectors='$qemu_vectors' ioeventfd='on'/>
	</shmem>
	END
}

# domain_define NAME UUID MACHINE SCRIPT [DEVICES [METADATA]]
domain_define() {
	local name=$1 script=$4
	guest_image "$work/$name.gz" "$script"
	[ -e "$work/$name.disk" ] || truncate -s 512M "$work/$name.disk"
	domain_xml "$name" "$2" "$3" "${5:-}" "${6:-}" >"$work/$name.xml"
	virsh define "$work/$name.xml" >/dev/null
}

domain_is() {
	[ "$(virsh domstate "$1" 2>/dev/null | head -n 1)" = "$2" ]
}

# meet_at POINT [SECONDS]: until a guest has come to `meet POINT`.
meet_at() {
	await "${2:-300}" test -e "$work/share/at-$1" || die "a guest comes to $1"
}

tmemctl() {
	"$build/tmemctl" --socket "$sock" "$@"
}

guest_state() {
	tmemctl stats "$1" --json 2>/dev/null | grep -o '"state":"[a-z]*"' | cut -d'"' -f4
}

guest_state_is() {
	[ "$(guest_state "$1")" = "$2" ]
}

# quota_is NAME KEY VALUE
quota_is() {
	tmemctl stats "$1" --json 2>/dev/null | grep -q "\"$2\":\"\\?$3\\b"
}
