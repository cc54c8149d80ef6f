#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt's qemu hook without libvirt: a domain's XML on standard input, and what
# becomes of it in tmemd.  Whatever it is given, it ends with 0 and in time.  TAP.
set -u
# shellcheck source=ci/test/lib.sh
. "$(dirname "$0")/lib.sh"
if [ ! -x "$build/tmemd-qemu-hook" ]; then
	echo "ok 1 - hook # SKIP built without libvirt"
	exit 0
fi
uuid=01234567-89ab-cdef-0123-456789abcdef
other=11234567-89ab-cdef-0123-456789abcdef
export TMEMD_CONTROL_SOCKET=$run/control.sock

# domain [SED]: a domain's XML, changed.
domain() {
	sed -e "${1:-}" <<-END
	<domain type='qemu'>
	  <name>web1</name>
	  <uuid>$uuid</uuid>
	  <metadata>
	    <app:it xmlns:app='urn:app'><app:quota weight='9'/></app:it>
	    <tmem:guest xmlns:tmem='urn:tmemd:guest:1'>
	      <tmem:quota weight='200' min='1M' max='32M'/>
	      <tmem:codec persistent='zstd'/>
	      <tmem:shared-pool uuid='$other'/>
	    </tmem:guest>
	  </metadata>
	  <devices>
	    <shmem name='foreign'><server path='/run/foreign/web2.sock'/></shmem>
	    <shmem name='tmem'>
	      <model type='ivshmem-doorbell'/>
	      <server path='$run/web1.sock'/>
	      <msi vectors='5' ioeventfd='on'/>
	    </shmem>
	  </devices>
	</domain>
	END
}
# hook XML [OPERATION [SUB-OPERATION]]: what it says is in $out.
hook() {
	out=$("$build/tmemd-qemu-hook" web1 "${2:-prepare}" "${3:-begin}" - 2>&1 <<<"$1")
}
silent() { hook "$@" && [ -z "$out" ]; }
complains() { hook "$1" && said "$2"; }
quota_is() { expect 0 ctl stats web1 --json && [ "$(value guests 0 quota "$1")" = "$2" ]; }
refused() { complains "$(domain "$1")" "domain web1: metadata: $2" && quota_is weight 300; }

mkdir "$run"
disk() {
	domain "s,<devices>,&<disk type='vhostuser'><source type='unix' path='$run/$1-disk.sock'/></disk>,; s,<tmem:codec,<tmem:swap size='$2'/>&,"
}
say "without a daemon the domain starts all the same" complains "$(domain)" "no daemon at $run/control.sock"
say "daemon starts" start --arena 64M
say "at the domain's start" silent "$(domain)"
say "its socket is there" test -S "$run/web1.sock"
say "that of another's device is not" test ! -e "$run/web2.sock"
say "with its weight" quota_is weight 200
say "its max" quota_is max 33554432
say "its codec" quota_is codec_persistent zstd
say "and what it does not name as it comes" quota_is codec_ephemeral lzo
say "other operations are nothing to it" silent "$(domain "s/'200'/'5'/")" started
say "nor other parts of one" silent "$(domain "s/'200'/'5'/")" prepare end
say "so its weight stays" quota_is weight 200
say "when libvirtd is there again, it is told again" silent "$(domain "s/'200'/'300'/")" reconnect
say "and its weight changes" quota_is weight 300

say "out of range: line and reason, old values kept" refused "s/'200'/'0'/" "line 2: Invalid attribute weight"
say "a size that is none" refused "s/'32M'/'32X'/" "line 2: Invalid attribute max"
say "min above max" refused "s/'32M'/'32K'/" "line 2: min (1048576) is above max (32768)"
say "an unknown attribute" refused "s/max=/most=/" "line 2: Invalid attribute most"
say "an unknown element" refused "s/tmem:quota/tmem:share/" "line 2: Did not expect element share"
say "an unknown codec" refused "s/zstd/gzip/" "line 3: Invalid attribute persistent"
say "a UUID that is none" refused "s/'$other'/'1'/" "line 4: Element shared-pool"
say "an element twice" refused "/tmem:quota/p" "line 3: quota: given twice"
say "another root" refused "s/tmem:guest/tmem:vm/" "line 1: Expecting element guest"
say "more mins than arena" complains "$(domain "s/'1M' max='32M'/'1G'/")" "mins add up to more"
say "changes nothing" quota_is weight 300

say "the socket of another domain while it is not used" silent "$(domain "s/$uuid/$other/")"
say "a disk, of the size in the metadata" silent "$(disk web1 16M)"
say "its socket is there" test -S "$run/web1-disk.sock"
say "a disk of a size that will not do" complains "$(disk web1 5000)" "not a multiple of 4096"
say "a disk of another guest" complains "$(disk web9 16M)" "its disk is guest web9's, its <shmem> guest web1's"
say "another device has no guest" silent "$(domain "s,$run/web1,/run/foreign/web1,")"
say "a path that exists: said, and left alone" complains "$(domain "s,web1.sock,control.sock,")" "$run/control.sock is there already"
say "not XML" complains "domain" "line 1: "
say "XML cut short" complains "$(domain "/<devices>/,\$d")" "line "
say "not a domain" complains "<pool/>" "not a domain's XML"
say "entities" complains "<!DOCTYPE d [<!ENTITY a 'b'>]><domain>&a;</domain>" "document type"
say "nothing" complains "" "line "
large() { head -c 5000000 /dev/zero | tr '\0' ' ' | "$build/tmemd-qemu-hook" web1 prepare begin - 2>"$work/err"; }
say "far too much" large
in_time() {
	local from=$SECONDS
	kill -STOP "$daemon"
	complains "$(domain)" "did not answer in time"
	local code=$?
	kill -CONT "$daemon"
	[ $code -eq 0 ] && [ $((SECONDS - from)) -le 5 ]
}
say "a daemon that is stopped is not waited for longer than 3 s" in_time
stop TERM
daemon=
echo "1..$count"
