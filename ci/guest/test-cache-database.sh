#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# PostgreSQL works on files larger than the guest's memory, whose pages come from the
# host.  Its own checks find nothing, and what it dumps is the same without the host.
# kernels: 6.1
# slow
#
#   TMEM_PROGRAM_SECONDS=N  how long pgbench runs (30)
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
guest_root=database
test_begin
tmemd_start --guest one
cache_host_first
cache_disk one 1024

guest_start one 128M 900 "$(cache_script one "seconds=${TMEM_PROGRAM_SECONDS:-30}" <<'EOS'
bin=$(echo /usr/lib/postgresql/*/bin)
as_postgres() { runuser -u postgres -- env PGHOST=/tmp PGDATA=/mnt/db "$@"; }
database_start() {
	as_postgres $bin/pg_ctl -w -t 600 -l /tmp/postgres.log start >/dev/null
}
database_stop() {
	as_postgres $bin/pg_ctl -w -t 600 -m fast stop >/dev/null
	echo 3 >/proc/sys/vm/drop_caches
}
fs_mount || exit 10
mkdir /mnt/db && chown postgres /mnt/db
cache_insert cache_filter=0 || exit 11
as_postgres $bin/initdb -k -A trust >/dev/null || exit 12
printf '%s\n' "shared_buffers = 8MB" "fsync = off" "listen_addresses = ''" \
	"unix_socket_directories = '/tmp'" "autovacuum = off" >>/mnt/db/postgresql.conf
database_start || exit 13
as_postgres createdb bench && as_postgres pgbench -q -i -s 12 bench || exit 14
as_postgres psql -qc 'create extension amcheck' bench || exit 15
as_postgres pgbench -n -c 4 -T $seconds bench >/host/pgbench.log 2>&1
echo "pgbench: ended with $?"
database_stop
database_start || exit 16
as_postgres pg_amcheck --heapallindexed bench
echo "pg_amcheck: ended with $?"
as_postgres pg_dump bench | sha256sum >/host/dump-on
database_stop
as_postgres $bin/pg_checksums --check >/host/checksums 2>&1
echo "pg_checksums: ended with $?"
cat /sys/kernel/tmem/stats >/host/stats
echo 0 >/sys/kernel/tmem/cache
database_start || exit 17
as_postgres pg_dump bench | sha256sum >/host/dump-off
database_stop
umount /mnt && cache_remove
EOS
)"
check "the guest's script ran to its end" guest_wait one
for program in pgbench pg_amcheck pg_checksums; do
	check "$program found nothing wrong" guest_said one "^$program: ended with 0"
done
check "pgbench did something" grep -qE 'transactions actually processed: [1-9][0-9]' \
	"$work/share/pgbench.log"
check "the dump is the same without the host" cmp "$work/share/dump-on" "$work/share/dump-off"
check "pages came from the host" above "$(guest_stat stats cache_hits)" 2000
counters "puts=$(guest_stat stats cache_puts) hits=$(guest_stat stats cache_hits)" \
	"transactions=$(sed -n 's/.*actually processed: \([0-9]*\).*/\1/p' "$work/share/pgbench.log")"
test_end
