# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# stock.sh - Debian's own kernels, and some built from its sources, unpacked beside
# the host and never installed.
#
# Owns:     which suite a kernel comes from, and the cache it is kept in.
# How:      the mirror is the one this machine's apt is configured with; only the
#           suite differs.  apt is given a state directory and a source list of
#           its own, so the machine's apt sees nothing of it.
# Must not: name a host; install a kernel; change what is in the cache once it
#           is complete (a directory appears there by one rename).
#
# The cache is $TMEM_CACHE, else build/cache:
#
#   kernel/VERSION/root      the packages, unpacked
#   kernel/VERSION/release   the kernel's full name
#   chroot/SUITE             tools for kernels whose own need a newer libc
#   libblkio                 a front end of vhost-user-blk (ci/libblkio)
#
# Sourced from the top of the tree.

stock_versions='5.10 6.1 6.12 7.2'
stock_built='5.10-cleancache 6.1-debug'
stock_cache=$(realpath -m "${TMEM_CACHE:-build/cache}")

stock_die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# The suite a version is in, and whether its kernels come as security updates.
stock_suite() {
	case ${1%-*} in
	5.10) echo bullseye-security ;;
	6.1) echo bookworm-security ;;
	6.12) echo bookworm-backports ;;
	7.2) echo sid ;;
	*) stock_die "no kernel $1; there are: $stock_versions $stock_built" ;;
	esac
}

# The mirror that this machine's apt uses for a suite of that kind.
stock_mirror() {
	local kind=plain
	[[ $1 == *-security ]] && kind=security
	# shellcheck disable=SC2016 # the $(...) are apt's own
	apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 2>/dev/null |
		awk -v kind="$kind" '
			$1 == "Debian" && ($2 ~ /-security$/ ? "security" : "plain") == kind {
				print $3; found = 1; exit
			}
			END { exit !found }' ||
		stock_die "apt has no $kind Debian mirror configured (apt-get update may be due)"
}

# stock_apt DIR COMMAND...: an apt of our own, whose state is in DIR.
stock_apt() {
	local dir=$1 tool=$2
	shift 2
	"$tool" -q -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$dir/lists" -o Dir::State::status="$dir/status" \
		-o Dir::Cache="$dir" -o Dir::Cache::archives="$dir/archives" \
		-o APT::Sandbox::User=root "$@"
}

stock_apt_init() {
	local dir=$1 suite=$2 mirror
	mirror=$(stock_mirror "$suite") || exit 1
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	: >"$dir/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
		>"$dir/sources.list"
	stock_apt "$dir" apt-get update >&2
}

stock_root() { echo "$stock_cache/kernel/$1/root"; }
stock_release() { cat "$stock_cache/kernel/$1/release"; }
stock_build_dir() { echo "$(stock_root "$1")/usr/src/linux-headers-$(stock_release "$1")"; }

# The kernel image of a version.
stock_image() { echo "$(stock_root "$1")/boot/vmlinuz-$(stock_release "$1")"; }

# The module with crc32c in software, where it is one.
stock_crc32c() {
	modprobe -d "$(stock_root "$1")" -S "$(stock_release "$1")" --resolve-alias crc32c_generic 2>/dev/null
}

# The files of a version's stock modules and of all they need, in the order to
# insert them.  What the kernel has built in is left out.
stock_modules() {
	local version=$1 root release name
	root=$(stock_root "$version") release=$(stock_release "$version")
	shift
	for name in "$@"; do
		modprobe -d "$root" -S "$release" --show-depends "$name" ||
			stock_die "kernel $version has no module $name"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}
