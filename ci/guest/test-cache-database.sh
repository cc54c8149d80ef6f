#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# PostgreSQL does the same work twice on tables larger than the guest's memory: with the page
# cache in the host, and with it off from the start.  What it dumps is the same to the
# byte, and its own checks (pg_amcheck, the checksums of its pages) find nothing.
#
# The work is the same each time: one client and one seed.  Rows stand far apart, so that
# tables are large and programs, which are emulated, have little to do.
#
# Can it tell?  TMEM_TEST=1 TMEM_BREAK=1 has invalidations end nothing (cache_test.h).  It must
# fail then, and did: pages with wrong checksums in the tables and out of pg_amcheck, a dump that
# ended in the middle.
# kernels: 5.10 6.1 6.12 7.2
# slow
#
#   TMEM_DATABASE_TRANSACTIONS=N  in each of the three parts of the work (500)
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
guest_root=database
test_begin
tmemd_start --guest one
cache_host_first
cache_disk one 1024

break=${TMEM_TEST:+cache_break=${TMEM_BREAK:-0}}
guest_start one 96M 300 "$(cache_script one \
	"transactions=${TMEM_DATABASE_TRANSACTIONS:-500} break=$break" <<'EOS'
bin=$(echo /usr/lib/postgresql/*/bin)
as_postgres() { runuser -u postgres -- env PGHOST=/tmp PGDATABASE=bench "$@"; }
database() { as_postgres $bin/pg_ctl -s -w -t 600 -D /mnt/$1 -l /tmp/postgres.log $2 $3 $4; }
database_stop() {
	database $1 stop -m fast
	echo 3 >/proc/sys/vm/drop_caches
}
# What a program says goes to the host, and how it ended to the console.
run() {
	what=$1
	shift
	as_postgres "$@" >>/host/programs.log 2>&1
	echo "$what: ended with $?"
}
# Everything but the time of day and a random word that pg_dump marks its output with.
dump() {
	{
		as_postgres $bin/pg_dump --exclude-table-data=pgbench_history |
			grep -vE '^\\(un)?restrict '
		as_postgres $bin/psql -c 'copy (select tid, bid, aid, delta from pgbench_history) to stdout'
	} >/tmp/dump
	sha256sum </tmp/dump >/host/dump-$1
	wc -c </tmp/dump >>/host/dump-$1
	rm /tmp/dump
}
work() {
	cp -a /mnt/template /mnt/$1
	database $1 start || return
	run "$1 createdb" $bin/createdb --maintenance-db=postgres bench
	run "$1 load" $bin/pgbench -q -i -I dtGp -s 1 -F 10
	for part in 1 2 3; do
		database_stop $1
		database $1 start || return
		run "$1 pgbench $part" $bin/pgbench -n -c 1 -t $transactions --random-seed=$part
	done
	# Everything is written anew, where the old is given back.
	run "$1 vacuum" $bin/psql -q -c 'vacuum full pgbench_accounts'
	database_stop $1
	database $1 start || return
	run "$1 extension" $bin/psql -qc 'create extension amcheck'
	run "$1 pg_amcheck" $bin/pg_amcheck --heapallindexed bench
	dump $1
	database_stop $1
	run "$1 checksums" $bin/pg_checksums --check -D /mnt/$1
}
fs_mount || exit 10
mkdir -m 777 /mnt/template && chown postgres /mnt/template
as_postgres $bin/initdb -k -N -A trust --no-locale -E UTF8 -D /mnt/template >/dev/null || exit 11
printf '%s\n' "shared_buffers = 8MB" "fsync = off" "listen_addresses = ''" "jit = off" \
	"unix_socket_directories = '/tmp'" "autovacuum = off" "wal_level = minimal" \
	"max_wal_senders = 0" "min_wal_size = 32MB" "max_wal_size = 64MB" \
	>>/mnt/template/postgresql.conf
cache_insert cache_filter=0 $break || exit 12
work on || exit 13
cat /sys/kernel/tmem/stats >/host/stats
echo 0 >/sys/kernel/tmem/cache
# The same once more, from the disk.
database on start || exit 14
dump disk
database on stop -m fast
rm -r /mnt/on
work off || exit 15
umount /mnt && cache_remove
EOS
)"
check "the guest's script ran to its end" guest_wait one
for state in on off; do
	for program in createdb load 'pgbench 1' 'pgbench 2' 'pgbench 3' vacuum pg_amcheck checksums; do
		check "$program found nothing wrong, page cache $state" \
			guest_said one "^$state $program: ended with 0"
	done
done
check "each transaction was done, twice" is 6 "$(grep -c \
	"actually processed: \([0-9]*\)/\1\$" "$work/share/programs.log")"
check "there was something to dump" above "$(sed -n 2p "$work/share/dump-on")" 9000000
check "the dump is the same from the disk" cmp "$work/share/dump-on" "$work/share/dump-disk"
check "and without the host from the start" cmp "$work/share/dump-on" "$work/share/dump-off"
check "pages came from the host" above "$(guest_stat stats cache_hits)" 5000
counters "puts=$(guest_stat stats cache_puts) hits=$(guest_stat stats cache_hits)" \
	"dropped=$(guest_stat stats cache_puts_dropped)" \
	"invalidations=$(guest_stat stats cache_invalidations)" \
	"dump=$(sed -n 2p "$work/share/dump-on") bytes"
test_end
