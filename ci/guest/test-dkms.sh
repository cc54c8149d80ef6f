#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The module is installed and built the way a guest's administrator does it: make
# install-guest, then dkms.  What dkms made loads and swaps.
# kernels: 6.1 6.12
# shellcheck source=ci/guest/lib.sh
. "$(dirname "$0")/lib.sh"
require dkms
test_begin
version=$(sed -n 's/^VERSION := //p' Makefile)
release=$(stock_release "$kernel")
trees=(--dkmstree "$work/dkms" --sourcetree "$work/guest/usr/src" --installtree "$work/guest/lib/modules")

dkms_do() {
	dkms "$@" -m tmem -v "$version" "${trees[@]}" >>"$work/dkms.log" 2>&1
}

check "the sources are laid out" make -s --no-print-directory install-guest DESTDIR="$work/guest"
mkdir -p "$work/dkms"
check "dkms takes them" dkms_do add
check "dkms builds them for $release" dkms_do build -k "$release" \
	--kernelsourcedir "$(stock_build_dir "$kernel")"
module=$(find "$work/dkms/tmem/$version/$release" -name tmem.ko | head -n 1)
[ -n "$module" ] || die "dkms left a module: $(tail -n 3 "$work/dkms.log")"

tmemd_start --guest one
guest_start one 64M 100 "$(script one <<'EOS'
insmod /tmem.ko swap_backing=/dev/ubda || exit 10
swap_start || exit 11
hog --mb 100 --rounds 1 || exit 12
swap_stop && rmmod tmem
EOS
)"
check "it loads, swaps and goes" guest_wait one
check "every page was right" guest_said one '^hog: pages=25600 rounds=1 .* bad=0 lost=0'
counters "release=$release puts=$(host_stat one persistent puts_ok)"
test_end
