#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Can the tests of coherence tell?  With one rule broken on purpose (cache_test.h) the
# same programs find pages that are wrong; with none they do not.
#
# A page written to is invalidated twice, when it gets dirty and when it leaves the page cache
# without being put.  Each alone is enough, so both are left out together.
# kernels: 5.10 6.1 6.12 7.2
# slow
export TMEM_TEST=1
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
test_begin
tmemd_start --guest one
cache_host_first
cache_disk one 256

guest_start one 64M 300 "$(cache_script one <<'EOS'
fs_mount || exit 10
cache_insert cache_filter=0 || exit 11
broken=/sys/module/tmem/parameters/cache_break
# Until it finds something, a few times.
finds() {
	for try in 1 2 3 4 5 6; do
		rm -rf /mnt/*
		echo 3 >/proc/sys/vm/drop_caches
		echo $2 >$broken
		$3 >/host/broken-$1
		[ $? = 1 ] && break
	done
	echo 0 >$broken
}
stress='cachestress stress /mnt --seconds 8 --processes 2 --files 2 --mb 6 --direct --ranges --drop'
race='cachestress race /mnt/race --seconds 8 --processes 3'
direct='cachestress race /mnt/race --seconds 8 --processes 3 --direct'
finds generation 1 "$stress"
finds truncate 2 "$stress"
finds invalidate 4 "$direct"
finds writer 8 "$direct"
finds written 48 "$race"
rm -rf /mnt/*
$stress >/host/whole-stress || exit 12
$race >/host/whole-race || exit 13
$direct >/host/whole-direct || exit 14
umount /mnt && cache_remove
EOS
)"
guest_wait one
found() {
	grep -q '^cachestress: .* bad=[1-9]' "$work/share/broken-$1"
}
none() {
	grep -q '^cachestress: .* bad=0' "$work/share/whole-$1"
}
check "the guest's script ran to its end" guest_said one '^guest: test ended with 0'
check "without generations pages are wrong" found generation
check "without invalidation by truncate pages are wrong" found truncate
check "without invalidation by direct writes pages are wrong" found invalidate
check "without the guard against writers pages are wrong" found writer
check "without invalidation of what is written to pages are wrong" found written
check "with all of them none is, under stress" none stress
check "nor where pages are read while they are written" none race
check "nor where they are written by O_DIRECT" none direct
counters "bad:$(for b in generation truncate invalidate writer written; do
	printf ' %s=%s' $b "$(sed -n 's/.* bad=//p' "$work/share/broken-$b" | tail -n 1)"
done)"
test_end
