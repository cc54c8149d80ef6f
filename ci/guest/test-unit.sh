#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A Debian with systemd boots with the unit and the module that docs/guest.md has it
# install: swap is there when the system is up, and goes into the host.
#
# slow
# kernels: 5.10 6.1 6.12 7.2
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
guest_root=small
guest_systemd=1
test_begin
tmemd_start --guest one

make -s --no-print-directory install-guest DESTDIR="$work/share/tree" || die "make install-guest"
guest_start one 96M 400 "$(script one <<'EOS'
disk=/dev/disk/by-id/virtio-swap
unit=tmem-swap@$(systemd-escape -p $disk).service
is() { [ "$1" = "$2" ]; }
swaps() { swapon --noheadings --show=NAME,PRIO | tr -s ' '; }

if [ ! -e /installed ]; then
	modules=/lib/modules/$(uname -r)
	mkdir -p $modules/updates && cp /tmem.ko $modules/updates/ || exit 10
	depmod 2>/dev/null
	cp -a /host/tree/. / && systemctl daemon-reload && systemctl enable $unit || exit 11
	systemd-analyze verify --man=no $unit || exit 12
	touch /installed && sync
	systemctl reboot --force --force
	sleep 1000
fi
dmesg | grep tmem
try "the unit is active" is "$(systemctl is-active $unit)" active
try "before swap is said to be there" is "$(systemctl is-active swap.target)" active
try "swap is on, with priority" is "$(swaps)" "/dev/tmemswap0 100"
try "over the disk" is "$(readlink -f $(cat /sys/module/tmem/parameters/swap_backing))" "$(readlink -f $disk)"
try "the host is there" is "$(stat host_ready)" 1
try "nothing failed" is "$(systemctl list-units --failed --no-legend)" ""
hog --mb 140 --rounds 1 &
held_above 1000
meet swapped || exit 13
wait $! || exit 14
cat /sys/kernel/tmem/stats >/host/stats
try "the unit stops" systemctl stop $unit
try "swap is off" is "$(swaps)" ""
try "the module is gone" [ ! -e /sys/module/tmem ]
meet stopped || exit 15
try "it starts again" systemctl start $unit
try "swap is on again" is "$(swaps)" "/dev/tmemswap0 100"
EOS
)"
guest_at swapped
held=$(host_pages one)
guest_go swapped
guest_at stopped
check "the host holds none when the unit is stopped" host_pages_are one 0
guest_go stopped
check "the guest's script ran to its end" guest_wait one
guest_checks one
check "the host held pages of it" above "$held" 500
check "pages came back from there" above "$(guest_stat stats gets)" 5000
check "every page was right" guest_said one '^hog: pages=35840 rounds=1 .* bad=0 lost=0'
check "nothing failed" is "$(guest_stat stats gets_failed) $(guest_stat stats io_errors)" "0 0"
counters "puts=$(guest_stat stats puts) gets=$(guest_stat stats gets) held=$held"
test_end
