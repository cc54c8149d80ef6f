# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lib.sh - what the guest tests share.
#
# Owns:     a test's scratch directory, its tmemd and its guests; all three are gone
#           when the test ends, however it ends.
# How:      a test sources this and says what its guests run.  A guest is a kernel
#           with an initramfs of busybox, hog, tmem.ko and that script; its
#           console is $work/NAME.log.  Guest and test share $work/share (the
#           guest's /host) for results and for saying "I am there" and "go on".
#           With guest_root=NAME (build-root's) a guest runs its script in that
#           Debian root file system instead, and with guest_systemd=1 under its
#           systemd; the initramfs is at /initramfs then.  With guest_disk=1 it has
#           the disk that tmemd serves its name (docs/disk.md), found by its serial.
#           In QEMU, with guest_peer=NAME, it has a network with that guest alone; and
#           two guests may have one disk, $work/NAME.disk being a link.
# Must not: end a process it did not start; wait for anything without a bound.
#
#   KERNEL=VERSION  Debian's kernel of that version, or one that build-kernel makes, in
#                   QEMU over ivshmem (qemu.sh); uml, User-mode Linux over vhost-user
#                   (the default)
#   TMEM_BUILD=DIR  the build to test (build)
#   TMEM_TEST=1     the module with the switches of cache_test.h
#   KEEP=1          leave the scratch directory there
#
# Results are TAP.  A line "# counters: ..." is what ci/check-guests shows.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

build=$(realpath -m "${TMEM_BUILD:-build}")
kernel=${KERNEL:-uml}
module=$build/guest/${kernel/#uml/6.1-uml}${TMEM_TEST:+-test}/tmem.ko
slow=1	# how much longer than User-mode Linux a guest may take
if [ "$kernel" != uml ]; then
	. ci/guest/stock.sh
	. ci/guest/qemu.sh
	slow=5
	[[ $kernel != *-debug ]] || slow=15
fi
guest_root=	# set by a test before it begins
guest_systemd=
tmemd_keeper=	# 1: tmemd runs under tmem-keeper, whose process $tmemd_pid is then
guest_bare=	# 1: without a device of this test's tmemd
guest_disk=	# the guest has its disk in host memory too
guest_peer=	# QEMU: the guest at the other end of its network
work=
tests=0
tmemd_pid=
reports=	# what kernels said of themselves that they must not
declare -A guest_pid=()

# ---- TAP -----------------------------------------------------------------

# check NAME COMMAND...: one test, passed if the command succeeds.
check() {
	local name=$1
	shift
	tests=$((tests + 1))
	if "$@"; then
		echo "ok $tests - $name"
	else
		echo "not ok $tests - $name"
		echo "# failed: $*"
	fi
}

# What is missing makes the whole test skipped, visibly.
require() {
	local what
	for what in "$@"; do
		command -v "$what" >/dev/null && continue
		echo "ok 1 - $(basename "$0" .sh) # SKIP $what is not there"
		exit 0
	done
}

die() {
	local name
	tests=$((tests + 1))
	echo "not ok $tests - $*"
	for name in "${!guest_pid[@]}"; do
		guest_tail "$name"
	done
	echo "1..$tests"
	exit 1
}

counters() {
	echo "# counters: $*"
}

# ---- waiting -------------------------------------------------------------

# await SECONDS COMMAND...: until the command succeeds.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

group_gone() {
	! kill -0 -- "-$1" 2>/dev/null
}

# group_end GROUP [SECONDS]: end a process group of ours: kindly, then not.
group_end() {
	kill -CONT -- "-$1" 2>/dev/null
	kill -TERM -- "-$1" 2>/dev/null
	await "${2:-5}" group_gone "$1" || kill -KILL -- "-$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

# ---- the test's own ------------------------------------------------------

test_begin() {
	require busybox cpio gzip gcc
	[ -z "$guest_root" ] || require mmdebstrap mkfs.ext4
	if [ "$kernel" = uml ]; then
		require linux.uml
		O=$build ci/guest/build-uml-module || die "tmem.ko for User-mode Linux builds"
	else
		require qemu-system-x86_64 debootstrap
		O=$build ci/guest/build-module "$kernel" || die "tmem.ko for $kernel builds"
	fi
	work=$(mktemp -d "${TMPDIR:-/dev/shm}/tmem-test-XXXXXX") || exit 1
	trap test_clean EXIT
	trap 'exit 1' INT TERM HUP
	mkdir -p "$work/share" "$work/uml" "$work/run"
	local c
	for c in hog init cachestress; do
		gcc -O2 -Wall -Wextra -static -o "$work/$c" "ci/guest/$c.c" || die "$c builds"
	done
	[ "$kernel" != uml ] || ci/guest/uml --version >/dev/null || die "User-mode Linux starts"
	[ -z "$guest_root" ] || root_image=$(ci/guest/build-root "$guest_root") || die "the root file system is made"
}

test_clean() {
	local name
	for name in "${!guest_pid[@]}"; do
		group_end "${guest_pid[$name]}" 0
	done
	[ -z "$tmemd_pid" ] || group_end "$tmemd_pid"
	if [ "${KEEP:-0}" = 1 ]; then
		echo "# kept: $work"
	else
		rm -rf "$work"
	fi
}

test_end() {
	check "no kernel reported a bug" test -z "$reports"
	[ -z "$reports" ] || printf '# %s\n' "${reports//$'\n'/$'\n'# }"
	echo "1..$tests"
}

# ---- tmemd ---------------------------------------------------------------

# tmemd_start ARGUMENT...: with its sockets in $work/run; answers when this returns.
# Each --guest is given the transport of this kernel's guests.
tmemd_start() {
	[ "$kernel" = uml ] || set -- "${@/#--guest/--guest-ivshmem}" --queues $((qemu_vectors - 1))
	set -- "$build/tmemd" --run-dir "$work/run" "$@"
	[ -z "$tmemd_keeper" ] || set -- "$build/tmem-keeper" -- "$@"
	setsid "$@" >>"$work/tmemd.log" 2>&1 &
	tmemd_pid=$!
	await 10 tmemctl version >/dev/null 2>&1 || die "tmemd starts: $(tail -n 1 "$work/tmemd.log")"
}

# The tmemd that the keeper runs just now.
tmemd_kept() {
	pgrep -P "$tmemd_pid"
}

tmemd_kept_is_not() {
	local kept
	kept=$(tmemd_kept) && [ "$kept" != "$1" ]
}

# tmemd_kill TIMES: kill it, some tenths of a second after it was started, so often.
# 0 if another took over each time; $died is how often it died.
tmemd_kill() {
	local kept
	for ((died = 0; died < $1; died++)); do
		kept=$(tmemd_kept) || return
		sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
		kill -KILL "$kept" || return
		await 20 tmemd_kept_is_not "$kept" || return
	done
}

# 0 if it ended by itself with status 0 when told to.
tmemd_stop() {
	local pid=$tmemd_pid
	tmemd_pid=
	kill -TERM "$pid"
	await 10 group_gone "$pid" || { group_end "$pid"; return 1; }
	wait "$pid"
}

tmemctl() {
	"$build/tmemctl" --socket "$work/run/control.sock" "$@"
}

# stat_field JSON [SECTION] KEY: one integer of an answer of tmemctl.
stat_field() {
	local json=$1
	[ $# -eq 2 ] || json=$(sed -n "s/.*\"$2\":{\([^}]*\)}.*/\1/p" <<<"$json")
	grep -o "\"${!#}\":[0-9]*" <<<"$json" | head -n 1 | cut -d: -f2
}

# host_stat GUEST [SECTION] KEY: one integer of `tmemctl stats GUEST --json`.
host_stat() {
	local json
	json=$(tmemctl stats "$1" --json) || return
	shift
	stat_field "$json" "$@"
}

host_pages() {
	host_stat "$1" persistent pages
}

# host_puts_above GUEST N
host_puts_above() {
	[ "$(host_stat "$1" persistent puts_ok)" -gt "$2" ]
}

# drain GUEST [tmemctl's options]
drain() {
	timeout $((60 * slow)) "$build/tmemctl" --socket "$work/run/control.sock" drain "$@"
}

host_pages_are() {
	[ "$(host_pages "$1")" = "$2" ]
}

# ---- guests --------------------------------------------------------------

# What every guest's script can use.
guest_prelude() {
	cat <<-'EOF'
	stat() { sed -n "s/^$1 //p" /sys/kernel/tmem/stats; }
	swap_start() { mkswap /dev/tmemswap0 >/dev/null && swapon /dev/tmemswap0; }
	swap_stop() { swapoff /dev/tmemswap0; }
	# try NAME COMMAND...: a check that the guest makes; guest_checks reports it.
	try() {
		name=$1
		shift
		if "$@"; then echo "try: ok $name"; else echo "try: not ok $name ($*)"; fi
	}
	# within SECONDS COMMAND...: until the command succeeds.
	within() {
		n=$(($1 * 5))
		shift
		until "$@"; do
			n=$((n - 1))
			[ $n -gt 0 ] || return 1
			sleep 0.2
		done
	}
	# lend SOCKET EPHEMERAL PERSISTENT: start lender.c, if the test built it; ask WORD
	# ANSWER: of it, within 4 minutes; unlend: end it.
	said() { grep -q "^lender: $1" /tmp/lender.log; }
	lend() {
		rm -f /tmp/orders
		mkfifo /tmp/orders
		/host/lender "$@" </tmp/orders >/tmp/lender.log 2>&1 &
		lender=$!
		exec 3>/tmp/orders
		within 240 said full
	}
	ask() {
		: >/tmp/lender.log
		echo "$1" >&3
		within 240 said "$2" && cat /tmp/lender.log
	}
	unlend() {
		exec 3>&-
		wait $lender
	}
	# The module over the guest's disk, with these options, and swap on it.
	swap_load() { insmod /tmem.ko swap_backing=/dev/ubda "$@" && swap_start; }
	held_above() { until [ "$(stat pages_held)" -gt $1 ]; do sleep 0.1; done; }
	# Work that needs swap, in rounds of N, until the test says "go end".
	work_start() {
		( until [ -e /host/go-end ]; do hog --mb 110 --rounds $1 || exit 1; done ) &
		work=$!
	}
	work_end() {
		until [ -e /host/go-end ]; do sleep 0.2; done
		wait $work
	}
	# Counters of a guest whose work of N MiB may have died; then the work once more.
	survive() {
		while pidof hog >/dev/null; do sleep 0.2; done
		cat /sys/kernel/tmem/stats >/host/stats
		hog --mb $1 --rounds 1 --seed 7 || return
		cat /sys/kernel/tmem/stats >/host/stats-after
	}
	driver=/sys/bus/virtio/drivers/tmem
	device() { basename /sys/bus/virtio/devices/virtio*; }
	# Tell the test, and wait until it says go on.
	arrive() { echo there >/host/at-$1; }
	meet() {
		arrive $1
		n=0
		until [ -e /host/go-$1 ]; do
			n=$((n + 1))
			[ $n -lt 1200 ] || return 1
			sleep 0.1
		done
	}
	EOF
	[ "$kernel" = uml ] || qemu_prelude
}

# guest_image OUT SCRIPT [AFTER]: SCRIPT and AFTER are files of shell commands.
guest_image() {
	local tree applet
	tree=$(mktemp -d "$work/tree-XXXXXX")
	mkdir -p "$tree"/{bin,proc,sys,dev,tmp,host}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	for applet in $(busybox --list); do
		ln -s busybox "$tree/bin/$applet" 2>/dev/null
	done
	rm -f "$tree/bin/stat" "$tree/bin/init"
	cp "$work/hog" "$work/cachestress" "$tree/bin/"
	cp "$work/init" "$tree/init"
	ln -s init "$tree/run-test"
	mkdir "$tree/root"
	cp "$module" "$tree/tmem.ko"
	{ guest_prelude; cat "$2"; } >"$tree/test"
	[ $# -lt 3 ] || { guest_prelude; cat "$3"; } >"$tree/after"
	[ "$kernel" = uml ] || qemu_modules_add "$tree" "$kernel" || die "modules of $kernel are there"
	(cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$1"
	rm -rf "$tree"
}

# The command that is the guest NAME, into the array vm.
vm_command() {
	local name=$1 memory=$2
	if [ "$kernel" = uml ]; then
		vm=(ci/guest/uml umid="$name" uml_dir="$work/uml/" mem="$memory"
			initrd="$work/$name.gz" quiet "con0=null,fd:1" con=null ssl=null
			share="$work/share" ubd0="$work/$name.disk"
			virtio_uml.device="$work/run/$name.sock:45")
		[ -z "$guest_disk" ] || vm+=(virtio_uml.device="$work/run/$name-disk.sock:2")
		[ -z "$guest_root" ] || vm+=(rootdisk=/dev/ubdb ubd1="$work/$name.cow,$root_image")
	else
		qemu_command "$name" "$kernel" "${memory%M}" "$work"
	fi
}

# guest_start NAME MEMORY SECONDS SCRIPT [AFTER]: boots with $work/NAME.disk as
# /dev/ubda and the socket of tmemd's guest NAME; ended after SECONDS at the latest.
guest_start() {
	local name=$1 memory=$2 seconds=$3
	shift 3
	guest_image "$work/$name.gz" "$@"
	[ -e "$work/$name.disk" ] || truncate -s 512M "$work/$name.disk"
	vm_command "$name" "$memory"
	setsid timeout -s KILL $((seconds * slow)) "${vm[@]}" \
		>"$work/$name.log" 2>&1 </dev/null &
	guest_pid[$name]=$!
}

# Wait until it powered off.  0 if its script ended with 0; else its last words are shown.
guest_wait() {
	wait "${guest_pid[$1]}" 2>/dev/null
	unset "guest_pid[$1]"
	reports+=$(guest_reports "$1")
	guest_said "$1" 'guest: test ended with 0' || { guest_tail "$1" 50; return 1; }
}

# guest_at POINT [SECONDS]: until a guest has come to `meet POINT` or `arrive POINT`,
# or none is left that could.
guest_at() {
	await $((${2:-280} * slow)) at_or_never "$1"
	[ -e "$work/share/at-$1" ] || die "a guest comes to $1"
}

at_or_never() {
	[ -e "$work/share/at-$1" ] || ! kill -0 "${guest_pid[@]}" 2>/dev/null
}

# Let it go on from `meet POINT`.
guest_go() {
	echo on >"$work/share/go-$1"
}

# A kernel's complaints about its own code, with what follows them.
guest_reports() {
	if [[ $kernel == *-debug ]] && guest_said "$1" '^guest: test ended' &&
		! guest_said "$1" '^guest: locks are checked'; then
		echo "$kernel: locks were not checked to the end"
	fi
	tr -d '\r\000' <"$work/$1.log" |
		grep -E -A 40 'BUG:|WARNING:|Oops|UBSAN|possible .* (lock|unlock)|suspicious RCU|sleeping function'
}

# One test for each `try` of a guest's script.
guest_checks() {
	local said
	while read -r said; do
		check "${said#*ok }" test "${said%% *}" = ok
	done < <(tr -d '\r\000' <"$work/$1.log" | sed -n 's/^.*try: \(\(not \)\{0,1\}ok \)/\1/p')
}

guest_said() {
	tr -d '\r\000' <"$work/$1.log" | grep -qE "$2"
}

# guest_line NAME PATTERN: the last line of its console like that.
guest_line() {
	tr -d '\r\000' <"$work/$1.log" | grep -E "$2" | tail -n 1
}

# guest_stat FILE NAME: from a copy of /sys/kernel/tmem/stats in $work/share.
guest_stat() {
	sed -n "s/^$2 //p" "$work/share/$1"
}

# hog_field LINE KEY
hog_field() {
	grep -o "$2=[0-9.]*" <<<"$1" | head -n 1 | cut -d= -f2
}

# The end of a guest's console, as comments, for whoever reads a failure.
guest_tail() {
	tr -d '\r\000' <"$work/$1.log" | tail -n "${2:-25}" | sed "s/^/# $1: /"
}

# Build lender.c into $work/share, for guests that run a tmemd of their own.
lender_build() {
	gcc -O2 -std=gnu11 -Wall -Wextra -Iprotocol -Iguest-frontend/lib -o "$work/share/lender" \
		ci/guest/lender.c "$build/libtmemfront.a" "$build/libtmemp.a" -pthread || die "lender builds"
}

# ---- comparing -----------------------------------------------------------

above() {
	[ -n "$1" ] && [ "$1" -gt "$2" ]
}

is() {
	[ "$1" = "$2" ]
}

# near A B N: A is B or at most N more.
near() {
	[ -n "$1" ] && [ -n "$2" ] && [ "$1" -ge "$2" ] && [ "$1" -le $(($2 + $3)) ]
}

# In a script of its own: $work/NAME.sh from standard input.
script() {
	cat >"$work/$1.sh"
	echo "$work/$1.sh"
}
