#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The manual pages have what there is, and ci/check-man notices where they have not.
# TAP.
set -u
# shellcheck source=ci/test/lib.sh
. "$(dirname "$0")/lib.sh"

# notices PAGE COMPLAINT SED-SCRIPT: that the page is not right once it was edited so.
notices() {
	rm -rf "$work/man"
	cp -r docs/man "$work/man"
	sed -i "$3" "$work/man/$1"
	expect 1 ci/check-man "$work/man" && said "$2"
}

say "pages and sources agree" expect 0 ci/check-man
say "an option without entry is noticed" notices tmemd.conf.5.scd 'no entry for poll-us' '/^\*poll-us\*/d'
say "one of a guest too" notices tmemd.conf.5.scd 'no entry for disk-keep' '/^\*disk-keep\*/d'
say "a command without entry is noticed" notices tmemctl.8.scd 'no entry for thaw' 's/, \*thaw\* _GUEST_//'
say "an entry of nothing is noticed" notices tmemctl.8.scd 'has thew, the sources' 's/\*thaw\*/*thew*/'
say "a flag without a word is noticed" notices tmemctl.8.scd 'nothing of --print-xml' 's/--print-xml/--print/'
say "a page that does not parse is noticed" notices tmemd.8.scd 'tmemd.8.scd: ' 's/^\*--config\*/*--config/'

echo "1..$count"
