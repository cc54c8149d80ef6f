#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libblkio on a guest's disk: see blkio.c.  One disk has more than its guest's quota
# takes, so a part is in its spill; the other has blocks of 512 bytes.
# TAP.  TMEM_BUILD names the build (build).
set -u
# shellcheck source=ci/test/lib.sh
. "$(dirname "$0")/lib.sh"
library=$(ci/libblkio 2>"$work/fetch.log") || {
	tail -n 3 "$work/fetch.log" | sed 's/^/# /'
	echo "ok 1 - libblkio # SKIP no mirror to get it from"
	exit 0
}

size=$((8 << 20))
cat >"$work/tmemd.conf" <<END
[tmemd]
arena = 64M
memory-policy = off
[guest spills]
persistent-max = 2M
disk-size = $size
disk-spill = $work/spill
[guest sectors]
disk-size = $size
disk-block = 512
END

disk() {
	out=$(ctl stats "$1" --json) && value guests 0 disk "$2"
}

emptied() {
	for _ in $(seq 100); do
		[ "$(disk "$1" memory_bytes) $(disk "$1" spilled_bytes)" = "0 0" ] && return
		sleep 0.1
	done
	return 1
}

build_client() {
	"${CC:-gcc}" -O2 -std=gnu11 -Wall -Wextra -isystem "$library/usr/include" -o "$work/blkio" \
		ci/test/blkio.c -Wl,-rpath,"$library/usr/lib/x86_64-linux-gnu" \
		"$library/usr/lib/x86_64-linux-gnu/libblkio.so.1" -pthread
}

say "the client builds" build_client
say "tmemd starts" start --config "$work/tmemd.conf"
for guest in spills sectors; do
	echo "# the disk of $guest"
	"$work/blkio" "$run/$guest-disk.sock" "$size"
	say "$guest: the client ends well" test $? -eq 0
	say "$guest: is emptied when it has ended" emptied "$guest"
	say "$guest: the one error was the one provoked" test "$(disk "$guest" errors)" -eq 1
done
say "a part was in the spill" test "$(disk spills blocks_refused)" -gt 100
say "ends" stop TERM
