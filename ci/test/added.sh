#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Guests that come and go while tmemd runs: added, found again after a restart,
# removed, and who may not have a name.  TAP.
set -u
# shellcheck source=ci/test/lib.sh
. "$(dirname "$0")/lib.sh"

# ask JSON: one request to the control socket; its answer in $out, 0 if it is "ok".
ask() {
	out=$(python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\n")
print(s.makefile().readline(), end="")' "$run/control.sock" "$1")
	[ "$(value ok)" = True ]
}
refused() { ! ask "$1" && said "$2"; }
guest_is() { expect 0 ctl stats "$1" --json && [ "$(value guests 0 "${@:2:$#-2}")" = "${!#}" ]; }
one=01234567-89ab-cdef-0123-456789abcdef
two=11234567-89ab-cdef-0123-456789abcdef
add() { ask "{\"verb\":\"add\",\"name\":\"$1\",\"domain\":\"$2\"${3:-}}"; }

cat >"$work/tmemd.conf" <<END
[guest fixed]
transport = ivshmem
END
mkdir "$run"
again() { start --arena 64M --config "$work/tmemd.conf"; }

say "daemon starts" again
say "add" expect 0 ctl add web1 --max 32M --min 1M --codec lz4
say "says what its VMM needs" said "socket $run/web1.sock, 5 vectors"
say "the socket is there" test -S "$run/web1.sock"
say "over ivshmem where not said otherwise" guest_is web1 transport ivshmem
say "with its quota" guest_is web1 quota min 1048576
say "add of one that is there: code 1" expect 1 ctl add web1
say "add with min above max: code 2" expect 2 ctl add web2 --max 1M --min 2M
say "add with more mins than arena: code 2" expect 2 ctl add web2 --min 64M
say "add by a bad name: code 2" expect 2 ctl add ../web2
say "add over no transport: code 2" expect 2 ctl add web2 --transport pigeon
say "add with a region that is no size: code 2" expect 2 ctl add web2 --region much
say "none of these was added" test ! -e "$run/web2.sock"
say "over vhost-user" expect 0 ctl add web3 --transport vhost-user --weight 7
touch "$run/taken.sock"
say "a path that exists is left alone: code 1" expect 1 ctl add taken
say "and is named" said "$run/taken.sock is there already"
say "it is still a file" test -f "$run/taken.sock"
say "set --config of it is refused" expect 2 ctl set web1 --config --min 2M
say "because it is in no file" said "guest web1 stands in no configuration file"

say "a domain's guest" add dom $one ',"values":{"weight":300},"shared_pools":["'$two'"]'
say "is the domain's" guest_is dom domain $one
say "asked for again, its quota changes" add dom $one ',"values":{"weight":200}'
say "to what is asked for" guest_is dom quota weight 200
say "and what is not named to its default" add dom $one ',"values":{"max":"9M"}'
say "as to its weight" guest_is dom quota weight 100
say "without values nothing changes" add dom $one
say "as to its max" guest_is dom quota max 9437184
say "values that will not do change nothing" refused '{"verb":"add","name":"dom","domain":"'$one'","values":{"weight":0}}' "weight"
say "its max is as it was" guest_is dom quota max 9437184
say "another domain has it while no VMM is there" add dom $two
say "with nothing of the first" guest_is dom quota max None
say "a guest of the configuration is any domain's" add fixed $one
say "but over its own transport" refused '{"verb":"add","name":"fixed","domain":"'$one'","transport":"vhost-user"}' "stands in the configuration"
say "a domain is a UUID" refused '{"verb":"add","name":"x","domain":"web1"}' '\"domain\" is not a UUID'
say "so is a shared pool" refused '{"verb":"add","name":"x","shared_pools":["1"]}' "32 hexadecimal digits"

stopped_and_again() { stop TERM && again; }
say "daemon restarts" stopped_and_again
say "the guests are there again" test -S "$run/web1.sock" -a -S "$run/web3.sock"
say "with their quotas" guest_is web1 quota min 1048576
say "their codecs" guest_is web1 quota codec_persistent lz4
say "their transports" guest_is web3 transport vhost-user
say "and their domains" guest_is dom domain $two

# A VMM is there.
python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
time.sleep(60)' "$run/dom.sock" &
vmm=$!
connected() { for _ in $(seq 100); do guest_is dom state connected && return; sleep 0.05; done; return 1; }
say "a VMM connects" connected
say "another domain may not have it" refused '{"verb":"add","name":"dom","domain":"'$one'"}' "guest dom is domain $two's"
say "nor may it be removed: code 1" expect 1 ctl remove dom
say "because of its VMM" said "VMM (process $vmm) is there"
say "but by force" expect 0 ctl remove dom --force
kill $vmm
say "remove" expect 0 ctl remove web1
say "the socket is gone" test ! -e "$run/web1.sock"
say "remove of nobody: code 4" expect 4 ctl remove web1
say "remove of one of the configuration: code 1" expect 1 ctl remove fixed
say "daemon restarts" stopped_and_again
say "what was removed is not there" test ! -e "$run/web1.sock" -a ! -e "$run/dom.sock"
stop TERM

echo 'weight = many' >>"$run/guests.conf"
say "daemon starts though the file is damaged" again
say "and says so" grep -q "guests added before are forgotten: $run/guests.conf:.*weight" "$work/log"
stop TERM
daemon=
echo "1..$count"
