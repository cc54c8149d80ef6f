#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two guests are a cluster: ocfs2 on one disk, whose clean pages they share in the host,
# each as soon as it is allowed to.  What one wrote the other reads, and never what was
# there before.
#
# Neither has ocfs2's tools: that a node is configured and its heartbeat started is a few
# files of configfs.
#
# Can it tell?  TMEM_TEST=1 TMEM_BREAK=128 leaves versions out (cache_test.h).  It must fail
# then, and did: three quarters of the pages were older ones.
# kernels: 5.10-cleancache
# slow
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=ci/guest/cache.sh
. ci/guest/cache.sh
require mkfs.ocfs2 debugfs.ocfs2
test_begin
tmemd_start --guest one --guest two
cache_host_first
truncate -s 256M "$work/one.disk"
ln "$work/one.disk" "$work/two.disk"
mkfs.ocfs2 -F -q -N 2 -b 4096 -C 4096 -J size=8M "$work/one.disk" >/dev/null 2>&1 ||
	die "a file system is made"
break=${TMEM_TEST:+cache_break=${TMEM_BREAK:-0}}
uuid=$(debugfs.ocfs2 -R stats "$work/one.disk" | sed -n 's/.*UUID: //p')
beat=$(debugfs.ocfs2 -R 'stat //heartbeat' "$work/one.disk" | awk 'found { print $4 * 8; exit } /Block#/ { found = 1 }')

# cluster_script NAME: of a guest, after what both have.
cluster_script() {
	{
		echo "uuid=$uuid beat=$beat break=$break"
		cat <<-'EOS'
		cluster=/sys/kernel/config/cluster/tmem
		# node NUMBER NAME: known to this guest.
		node() {
			mkdir $cluster/node/$2
			echo 7777 >$cluster/node/$2/ipv4_port
			echo 10.0.0.$1 >$cluster/node/$2/ipv4_address
			echo $1 >$cluster/node/$2/num
		}
		# join NUMBER NAME: this guest is that node, and mounts.  A guest that is emulated is
		# not dead yet because it is late.  With atime each reader would be a writer.
		join() {
			ifconfig lo 127.0.0.1 up
			ifconfig eth0 10.0.0.$1 up
			mount -t configfs none /sys/kernel/config
			mkdir $cluster
			echo 300000 >$cluster/idle_timeout_ms
			node 1 one
			node 2 two
			echo 1 >$cluster/node/$2/local
			echo 150 >$cluster/heartbeat/dead_threshold
			mkdir $cluster/heartbeat/$uuid
			echo 512 >$cluster/heartbeat/$uuid/block_bytes
			echo $beat >$cluster/heartbeat/$uuid/start_block
			echo 16 >$cluster/heartbeat/$uuid/blocks
			exec 7<>/dev/ubda
			echo 7 >$cluster/heartbeat/$uuid/dev
			exec 7>&-
			mount -t ocfs2 -o heartbeat=local,noatime /dev/ubda /mnt
		}
		# did THING, and wait until the other guest did.
		did() { echo >/host/did-$1; }
		after() { within 600 test -e /host/did-$1; }
		switch() { echo 0 >/sys/kernel/tmem/cache && echo 1 >/sys/kernel/tmem/cache; }
		drop() { echo $1 >/proc/sys/vm/drop_caches; }
		# publish SEED: into the file that is there, whose older pages the host may have.
		publish() {
			cachestress write /tmp/new --mb 4 --seed $1 &&
				dd if=/tmp/new of=/mnt/file bs=64k conv=notrunc,fsync 2>/dev/null
		}
		# Out of the page cache and into the host, no more at once than it takes.
		release() {
			drop 1
			part=0
			while [ $part -lt 16 ]; do
				dd if=/mnt/file of=/dev/null bs=256k skip=$part count=1 2>/dev/null
				drop 1
				part=$((part + 1))
			done
		}
		verify() { cachestress verify /mnt/file --mb 4 --seed $1; }
		# write_thrice SEED: the last is not in the host, the one before is.
		write_thrice() { publish $1 && publish $(($1 + 1)) && release && publish $(($1 + 2)); }
		EOS
		cat
	} | cache_script "$1"
}

guest_peer=two
guest_start one 64M 300 "$(cluster_script one <<'EOS'
join 1 one || exit 10
cache_insert cache_filter=0 $break || exit 11
publish 1 && release || exit 12
stat cache_puts >/host/refused-puts
did mount
meet allowed-one
switch
verify 1 && release || exit 13
did share
after read
for round in 10 20 30 40; do
	write_thrice $round || exit 14
	did write-$round
	after write-two-$round
	verify $((round + 5))
	drop 3
done
cat /sys/kernel/tmem/stats >/host/stats-one
did end
after end-two
umount /mnt
EOS
)"
guest_peer=one
guest_start two 64M 300 "$(cluster_script two <<'EOS'
after mount
join 2 two || exit 10
cache_insert cache_filter=0 $break || exit 11
after share
verify 1
stat cache_hits >/host/refused-hits
dmesg | grep -c 'tmem: the host has no pool' >/host/refused-said
drop 3
meet allowed-two
switch
verify 1
cat /sys/kernel/tmem/stats >/host/stats-read
drop 3
did read
for round in 10 20 30 40; do
	after write-$round
	verify $((round + 2))
	drop 3
	write_thrice $((round + 3)) || exit 14
	did write-two-$round
done
cat /sys/kernel/tmem/stats >/host/stats-two
after end
umount /mnt
did end-two
EOS
)"
guest_at allowed-one
check "a guest that is not allowed to share puts nothing" is "$(host_stat one ephemeral pages)" 0
tmemctl auth one "$uuid" --allow
guest_go allowed-one
guest_at allowed-two
check "one that is allowed to does" above "$(host_stat one ephemeral pages)" 400
check "the other one, which is not, reads none of it" is "$(cat "$work/share/refused-hits")" 0
check "and says that it has no pool" above "$(cat "$work/share/refused-said")" 0
tmemctl auth two "$uuid" --allow
guest_go allowed-two
check "the first guest's script ran to its end" guest_wait one
check "the second guest's script ran to its end" guest_wait two
check "what one guest put the other reads" above "$(guest_stat stats-read cache_hits)" 400
for guest in one two; do
	check "guest $guest read nothing but what was written last" \
		test -z "$(guest_line $guest '^cachestress: verify .* bad=[1-9]')"
	check "and read it often" above "$(tr -d '\r\000' <"$work/$guest.log" | grep -c '^cachestress: verify .* bad=0')" 3
done
counters "shared=$(guest_stat stats-read cache_hits)" \
	"puts=$(guest_stat stats-one cache_puts)+$(guest_stat stats-two cache_puts)" \
	"hits=$(guest_stat stats-one cache_hits)+$(guest_stat stats-two cache_hits)"
test_end
