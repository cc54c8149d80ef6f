#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd as a service: what `make install` installs, on a Debian with systemd, from
# the first start over a hung daemon to the last stop.
#
# slow
# kernels: 6.1
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
guest_root=small
guest_systemd=1
guest_bare=1
test_begin

lender_build
make -s O="$build" DESTDIR="$work/share/tree" PREFIX=/usr install || die "make install"
guest_start one 192M 300 "$(script one <<'EOS'
show() { systemctl show --value --property "$1" tmemd; }
is() { [ "$1" = "$2" ]; }
# Another process than PID serves.
succeeded() { ! is "$(show MainPID)" "$1" && is "$(show ActiveState)" active && tmemctl version >/dev/null; }
of_process() { sed -n "s/^$1:[[:space:]]*//p" /proc/$(show MainPID)/status; }

cp -a /host/tree/. / && systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload || exit 10
printf '\n[guest web]\n' >>/etc/tmemd/tmemd.conf
mkdir -p /etc/systemd/system/tmemd.service.d
printf '[Service]\nWatchdogSec=8\n' >/etc/systemd/system/tmemd.service.d/test.conf
useradd --groups tmemd watcher && useradd stranger || exit 11

try "the unit is valid" systemd-analyze verify --man=no tmemd.service
try "the service starts" systemctl enable --now tmemd
systemctl --quiet is-active tmemd || { journalctl -u tmemd --no-pager -o cat | head -n 20; exit 12; }
try "it is up only when it serves" tmemctl status
try "it says in a line what it does" is "$(show StatusText | cut -d';' -f1)" "0 of 1 guests connected"
try "it runs as a user of its own" is "$(ps -o user= -p "$(show MainPID)")" tmemd
try "it cannot gain privileges" is "$(of_process NoNewPrivs) $(of_process Seccomp)" "1 2"
try "it confines itself, within what the unit leaves" sh -c 'journalctl -u tmemd | grep -q "confined: uid"'
try "its pages are not swapped" is "$(cat /sys/fs/cgroup/system.slice/tmemd.service/memory.swap.max)" 0
try "it is killed last" is "$(cat /proc/$(show MainPID)/oom_score_adj)" -900
try "a member of its group may look" runuser -u watcher -- tmemctl list
try "but not change" is "$(runuser -u watcher -- tmemctl freeze web >/dev/null 2>&1; echo $?)" 5
try "nobody else may" is "$(runuser -u stranger -- tmemctl list >/dev/null 2>&1; echo $?)" 5
try "root may change" tmemctl freeze web
try "and back" tmemctl thaw web
try "a change is written to the configuration" tmemctl set web --weight 300 --config
try "and is there" grep -q '^weight *= *300' /etc/tmemd/tmemd.conf

pid=$(show MainPID)
try "it reads its configuration again" systemctl reload tmemd
try "as the same process" is "$(show MainPID)" "$pid"
try "it restarts" systemctl restart tmemd
try "as another process" succeeded "$pid"
try "a guest puts pages" lend /run/tmemd/web.sock 200 500
pid=$(show MainPID)
kill -KILL "$pid"
try "one that is killed comes back" within 60 succeeded "$pid"
try "with the guest and all that it must have back" ask check 'persistent=500 bad=0'
pid=$(show MainPID)
kill -STOP "$pid"
try "one that hangs is replaced" within 120 succeeded "$pid"
try "by the watchdog" sh -c 'journalctl -u tmemd | grep -qi "watchdog timeout"'
try "a configuration in error stops no running one" sh -c '
	echo "arena = no size" >>/etc/tmemd/tmemd.conf && systemctl reload tmemd; tmemctl status >/dev/null'
sed -i '/no size/d' /etc/tmemd/tmemd.conf
unlend
try "it stops" systemctl stop tmemd
try "without an error" is "$(show ActiveState) $(show Result)" "inactive success"
try "it starts once more" systemctl start tmemd
try "and serves" lend /run/tmemd/web.sock 20 10
unlend
try "its exposure is small" sh -c 'systemd-analyze security --threshold=20 tmemd.service >/host/security'
journalctl -u tmemd --no-pager >/host/journal
EOS
)"
check "the guest's script ran to its end" guest_wait one
guest_checks one
counters "$(grep -o 'Overall exposure.*: [0-9.]*' "$work/share/security")"
test_end
