# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Completion of tmemctl's command line.  What there is to complete is asked of tmemctl
# itself: commands from its help, columns from its complaint, guests from the daemon.

# The option's argument on the line, or nothing.
_tmemctl_given() {
	local i
	for ((i = 1; i < COMP_CWORD; i++)); do
		[ "${COMP_WORDS[i]}" = "$1" ] && echo "${COMP_WORDS[i + 1]}"
	done
}

_tmemctl_commands() { tmemctl --help | sed -n '/^Commands:/,/^Options:/s/^  \([a-z]\{1,\}\) .*/\1/p'; }

_tmemctl_guests() {
	local socket
	socket=$(_tmemctl_given --socket)
	tmemctl ${socket:+--socket "$socket"} list --raw --noheadings -o NAME 2>/dev/null
}

# The columns of a command's table behind what the word has already, up to its last comma.
_tmemctl_columns() {
	local done=
	case $2 in *,*) done=${2%,*}, ;; esac
	tmemctl "$1" -o , 2>&1 | sed -n 's/.*; there are //p' | tr ' ' '\n' | sed "s|^|$done|"
}

_tmemctl_command() {
	local i word
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--socket | -o | --output | --watch | --count | --weight | --min | --max | --persistent-max | \
			--arena | --memory-policy | --memory-floor | --memory-low | --memory-high | \
			--codec | --codec-ephemeral | --codec-persistent | --transport | --region | --disk | \
			--connect) i=$((i + 1)) ;;
		-*) ;;
		*) echo "$word"; return ;;
		esac
	done
}

_tmemctl_options() {
	echo --socket --json --bytes --raw --noheadings --help --version
	case $1 in
	list | pools | freeable | top | stats) echo --watch --count --output ;;
	status | explain) echo --watch --count ;;
	set) echo --all --host --live --config --arena --memory-policy --memory-floor --memory-low \
		--memory-high --weight --min --max --persistent-max --codec \
		--codec-ephemeral --codec-persistent --output --connect ;;
	add) echo --transport --region --disk --weight --min --max --persistent-max --codec \
		--codec-ephemeral --codec-persistent ;;
	remove) echo --force ;;
	attach) echo --live --config --print-xml --connect ;;
	detach) echo --live --config --force --connect ;;
	shrink) echo --dry-run ;;
	events) echo --follow --output ;;
	flush) echo --ephemeral ;;
	auth) echo --allow --deny ;;
	doctor) echo --output ;;
	dashboard) echo --read-only ;;
	esac
}

_tmemctl() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command words=
	command=$(_tmemctl_command)
	case $before in
	--socket) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
	--codec*) words='lzo lz4 zstd' ;;
	--transport) words='ivshmem vhost-user' ;;
	--max | --persistent-max) words=none ;;
	--memory-policy) words='on off' ;;
	--arena | --memory-floor | --memory-low | --memory-high) ;;
	--watch | --count | --weight | --min | --region | --disk | --connect) ;;
	-o | --output) words=$(_tmemctl_columns "$command" "$word") ;;
	*)
		case $word:$command in
		-*) words=$(_tmemctl_options "$command") ;;
		*:) words=$(_tmemctl_commands) ;;
		*:stats | *:pools | *:set | *:freeze | *:thaw | *:drain | *:resume | *:flush | *:explain | *:auth | *:remove)
			words=$(_tmemctl_guests) ;;
		*:attach | *:detach) words=$(virsh list --all --name 2>/dev/null) ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _tmemctl tmemctl
