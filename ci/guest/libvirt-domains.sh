#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Domains of a real libvirtd and their guests of tmemd, from define to undefine.
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/libvirt.sh
. "ci/guest/libvirt.sh"
[ "$kernel" != uml ] || libvirt_skip "libvirt starts no User-mode Linux"
libvirt_enter "$@"
test_begin
libvirt_prepare

uuid_a=0a000000-0000-4000-8000-000000000001
uuid_b=0a000000-0000-4000-8000-000000000002
uuid_c=0a000000-0000-4000-8000-000000000003
uuid_d=0a000000-0000-4000-8000-000000000004
uuid_e=0a000000-0000-4000-8000-000000000005
metadata() { echo "<tmem:guest xmlns:tmem='urn:tmemd:guest:1'>$1</tmem:guest>"; }
# virsh adds the namespace.
metadata_set() { virsh metadata "$1" --uri urn:tmemd:guest:1 --key tmem "${@:3}" --set "<guest>$2</guest>" >/dev/null; }
in_metadata() { virsh metadata "$1" --uri urn:tmemd:guest:1 "${@:3}" 2>/dev/null | grep -q "$2"; }
has_device() { virsh dumpxml "$1" "${@:2}" | grep -q "<shmem name='tmem'>"; }
fails() { ! "$@"; }
# expect CODE TEXT COMMAND...: its exit code, and what it says.
expect() {
	local code=$1 text=$2 said
	said=$("${@:3}" 2>&1)
	[ $? -eq "$code" ] && grep -qF -- "$text" <<<"$said" && return
	echo "# $said"
	return 1
}
vmm_of() { tmemctl stats "$1" --json | grep -o '"vmm_pid":[0-9]*' | cut -d: -f2; }
holds() { [ "$(host_pages "$1")" -gt "$2" ]; }
guest_is_there() { tmemctl list --raw --noheadings -o NAME | grep -qx "$1"; }

found_again() { [ "$(grep -c 'libvirt is there' "$work/watch.log")" = 2 ]; }

# A guest that swaps over tmem until it is told to end, once a boot.
swapping() {
	script "$1" <<-EOS
	dmesg -n 7
	boot=\$((\$(cat /host/boots-$1 2>/dev/null) + 1))
	echo \$boot >/host/boots-$1
	arrive $1-up-\$boot
	until [ -e /host/go-$1-load ]; do sleep 0.2; done
	insmod /tmem.ko ${2:-swap_backing=/dev/ubda} || exit 10
	swap_start || exit 11
	(
		until [ -e /host/go-$1-end ]; do
			hog --mb 92 --rounds 1 || exit 1
		done
	) &
	hog=\$!
	until [ "\$(stat pages_held)" -gt 800 ]; do sleep 0.1; done
	arrive $1-swapping-\$boot
	wait \$hog || exit 13
	cat /sys/kernel/tmem/stats >/host/stats-$1
	swap_stop && rmmod tmem || exit 14
	EOS
}

# A guest without our module, which swaps to a disk of the host's.
plain() {
	script "$1" <<-EOS
	mkswap /dev/vdb >/dev/null && swapon /dev/vdb || exit 10
	hog --mb 92 --rounds 1 || exit 11
	arrive $1-swapping
	until [ -e /host/go-$1-end ]; do sleep 0.2; done
	swapoff /dev/vdb
	EOS
}
disk_device() {
	cat <<-END
	<disk type='vhostuser' device='disk'>
	  <driver name='qemu' type='raw'/>
	  <source type='unix' path='/run/tmemd/$1-disk.sock'><reconnect enabled='yes' timeout='1'/></source>
	  <target dev='vdb' bus='virtio'/>
	</disk>
	END
}

# A guest whose module has no disk to take pages back to.
holding() {
	script "$1" <<-EOS
	dmesg -n 7
	arrive $1-up
	until [ -e /host/go-$1-load ]; do sleep 0.2; done
	insmod /tmem.ko swap_size_mb=64 || exit 10
	dd if=/bin/busybox of=/dev/tmemswap0 bs=4k count=200 oflag=direct 2>/dev/null || exit 11
	arrive $1-holding
	until [ -e /host/go-$1-end ]; do sleep 0.2; done
	dd if=/dev/tmemswap0 bs=4k count=200 2>/dev/null | cmp -s -n 819200 - /bin/busybox || exit 12
	EOS
}
# Behind all that libvirt gives to other devices.
port="<controller type='pci' index='0' model='pcie-root'/>
	<controller type='pci' index='10' model='pcie-root-port'><alias name='ua-tmem'/></controller>"
# Room for the region behind that port: of libvirt's own words, this stands behind all others.
override="<qemu:override><qemu:device alias='ua-tmem'><qemu:frontend>
	<qemu:property name='pref64-reserve' type='unsigned' value='4294967296'/>
	</qemu:frontend></qemu:device></qemu:override>"
with_room() { sed -i "s,<domain type='qemu',& xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0',; s,^</domain>,$(tr -d '\n\t' <<<"$override")</domain>," "$work/$1.xml"; }

tmemd_run() {
	setsid "$build/tmemd" --run-dir /run/tmemd --queues $((qemu_vectors - 1)) --arena 512M >>"$work/tmemd.log" 2>&1 &
	tmemd_pid=$!
	await 10 tmemctl version >/dev/null 2>&1 || die "tmemd starts"
}

# ---- at the start ---------------------------------------------------------------

tmemd_run
libvirtd_start
guest_go a-load
domain_define a $uuid_a q35 "$(swapping a)" "$(domain_device a)" "$(metadata "<tmem:quota weight='300' persistent-max='256M'/>")"
check "nobody has told tmemd of a domain that is only defined" test ! -e /run/tmemd/a.sock
check "a domain with the device starts: the hook had its socket made" virsh -q start a
check "its QEMU is connected" guest_state_is a connected
check "the guest is the domain's" quota_is a domain $uuid_a
check "with the quota of its metadata" quota_is a weight 300

watch_start
check "tmemd-libvirt finds both daemons and the domain" await 10 watch_said 'guest a: announced'

# ---- while it runs --------------------------------------------------------------

domain_define b $uuid_b pc "$(swapping b)"
check "a domain without the device starts" virsh -q start b
check "the device is shown" expect 0 "<server path='/run/tmemd/b.sock'/>" tmemctl attach b --print-xml
check "and for that alone no guest is made" test ! -e /run/tmemd/b.sock
meet_at b-up-1
check "a device is plugged into the running guest" tmemctl attach b --live
check "once" expect 1 "has its device already" tmemctl attach b --live
check "not into its definition" fails has_device b --inactive
check "into its definition" tmemctl attach b --config
check "it is there" has_device b --inactive
guest_go b-load
meet_at a-swapping-1
meet_at b-swapping-1
check "both guests swap into the host" holds b 500

check "metadata that changes is in force" metadata_set a "<quota weight='55' min='1M'/>" --live
check "its weight" await 5 quota_is a weight 55
check "its min" quota_is a min 1048576
check "metadata that will not do" metadata_set a "<quota weight='none'/>" --live
check "is said with line and reason" await 5 watch_said 'domain a: metadata: line 2: Invalid attribute weight'
check "and leaves the old values" quota_is a weight 55
check "set --config writes the domain's metadata" tmemctl set a --config --weight 66 --codec lz4
check "of its definition" in_metadata a "weight=.66" --config
check "not of what runs" quota_is a weight 55
check "set --live --config" tmemctl set a --live --config --weight 77
check "changes what is in force" quota_is a weight 77
check "and the definition" in_metadata a "weight=.77" --config
check "set of what will not do" expect 2 "Invalid attribute max" tmemctl set a --config --max 12X

# ---- daemons that go and come back ----------------------------------------------

check "libvirtd ends" libvirtd_stop
check "tmemd-libvirt sees it" await 10 watch_said 'libvirt is away'
check "guests go on" holds a 100
check "attach says that libvirt is away" expect 3 qemu:///system tmemctl attach b
libvirtd_start
check "tmemd-libvirt finds it again" await 10 found_again
check "metadata is followed again" metadata_set a "<quota weight='88'/>" --live
check "and in force" await 5 quota_is a weight 88

# ---- one socket, two domains ----------------------------------------------------

domain_define c $uuid_c q35 "$(holding c)" "$port $(domain_device a)"
check "a second domain on a's socket does not start" fails virsh -q start c 2>/dev/null
check "tmemd says whose it is" grep -q "guest a is domain $uuid_a's" "$work/tmemd.log"
check "a goes on" guest_state_is a ready

# ---- detach ----------------------------------------------------------------------

check "detach drains the guest and takes its device" timeout $((60 * slow)) "$build/tmemctl" --socket $sock detach b --live
check "the device is gone" fails has_device b
check "tmemd keeps the guest for the domain's next start" guest_is_there b
guest_go b-end
ended() { guest_said "$1" 'guest: test ended with'; }
check "the guest goes on to its end" await $((60 * slow)) ended b
check "every page was right" guest_said b '^hog: pages=23552 rounds=1 .* bad=0 lost=0'
check "and none was wrong or lost" test -z "$(guest_line b '^hog: .* (bad|lost)=[1-9]')"
check "no operation failed" is "$(guest_stat stats-b gets_failed) $(guest_stat stats-b io_errors)" "0 0"

# ---- a crash -----------------------------------------------------------------------

check "a holds pages" holds a 500
kill -KILL "$(vmm_of a)"
check "its QEMU dies" await 10 domain_is a "shut off"
check "its pages go with it" await 5 host_pages_are a 0
check "it starts again under its name" virsh -q start a
check "with nothing of before" host_pages_are a 0
meet_at a-swapping-2
check "and swaps" holds a 500
if [ "${TMEM_QUICK:-0}" = 0 ]; then
	check "a guest is reset" virsh -q reset a
	meet_at a-swapping-3
	check "and swaps" holds a 500
fi
check "every page of every boot was right" test -z "$(guest_line a '^hog: .* (bad|lost)=[1-9]')"
guest_go a-end
check "it goes to its end" await $((60 * slow)) ended a

# ---- a q35 machine with a port for it, and a guest without room -------------------

port_and_no_room() {
	domain_xml c $uuid_c q35 >"$work/c.xml"
	virsh -q define "$work/c.xml"
	check "q35 without a port for it starts" virsh -q start c
	check "but takes no device while it runs" expect 1 "alias ua-tmem" tmemctl attach c --live
	virsh -q destroy c
	rm -f "$work/share/at-c-up"
	domain_xml c $uuid_c q35 "$port" >"$work/c.xml"
	with_room c
	check "q35 with such a port is defined" virsh -q define "$work/c.xml"
	check "and starts" virsh -q start c
	meet_at c-up
	check "a device is plugged into it" tmemctl attach c --live
	guest_go c-load
	meet_at c-holding
	check "the host holds its pages" host_pages_are c 200
	check "detach is refused, with how many there is no room for" expect 1 "no room for 200 of its pages" tmemctl detach c --live
	check "the device stays" has_device c
	check "so do the pages" host_pages_are c 200
	guest_go c-end
	check "and the guest has them" await $((60 * slow)) ended c
	check "each right" guest_said c 'guest: test ended with 0'
	virsh -q destroy c 2>/dev/null
}

# ---- a disk, for a guest without our module ----------------------------------------

disk_without_module() {
	domain_shared=1
	domain_define d $uuid_d q35 "$(plain d)" "$(disk_device d)" "$(metadata "<tmem:swap size='256M'/>")"
	domain_shared=
	check "a domain with a vhost-user disk starts" virsh -q start d
	meet_at d-swapping
	check "and swaps onto it" above "$(tmemctl stats d --json | grep -o '"memory_bytes":[0-9]*' | cut -d: -f2)" 4000000
	check "every page right" guest_said d '^hog: pages=23552 rounds=1 .* bad=0 lost=0'
	guest_go d-end
	check "it goes to its end" await $((60 * slow)) ended d
}

virsh -q destroy c 2>/dev/null
if [ "${TMEM_QUICK:-0}" = 0 ]; then
	port_and_no_room
	disk_without_module
fi

# ---- what cannot be, and what goes --------------------------------------------------------------------------

check "b's device is taken from its definition" tmemctl detach b --config
check "then the guest is gone" await 5 fails guest_is_there b
domain_xml c $uuid_c pc >"$work/c.xml"
virsh -q define "$work/c.xml"
check "an unknown domain" expect 4 "no domain is called nobody" tmemctl attach nobody
check "a domain without a device" expect 1 "has no device of tmemd's" tmemctl detach b
virsh -q undefine a
check "an undefined domain's guest is gone" await 10 fails guest_is_there a
await 10 fails guest_is_there c || die "c's guest goes with its VMM"
touch /run/tmemd/c.sock
check "a socket path that exists is left alone" expect 1 "/run/tmemd/c.sock is there already" tmemctl attach c
check "and the domain gets no device" fails has_device c --inactive
rm /run/tmemd/c.sock
domain_xml e $uuid_e q35 "$(domain_device e)" >"$work/e.xml"
virsh -q define "$work/e.xml"
check "a domain that is defined has its guest" await 10 guest_is_there e
check "tmemd ends" tmemd_stop
check "tmemd-libvirt sees it" await 10 watch_said 'tmemd is away'
rm /run/tmemd/guests.conf
tmemd_run
check "and tells a tmemd that knows nothing of all domains" await 10 guest_is_there e
test_end
