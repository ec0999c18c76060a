# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For cases that hold files open: progs/fds.c beside the script, asked line by line.
#
#	fds_start
#	fd ok open a rw /mnt/a/f	a test: the answer is "ok"
#	fd EIO write a text		another
#	fds_end

fds_start() {
	coproc FDS { exec fds; }
	FDS_IN=${FDS[1]} FDS_OUT=${FDS[0]} FDS_CHILD=$FDS_PID
}

# fds_ask COMMAND...: sets ANSWER
fds_ask() {
	ANSWER='no answer'
	echo "$*" >&"$FDS_IN"
	read -r -t 90 -u "$FDS_OUT" ANSWER
}

# fds_tell COMMAND..., fds_wait WANTED: a test in two steps, with something in between
fds_tell() {
	TOLD=$*
	echo "$*" >&"$FDS_IN"
}
fds_wait() {
	ANSWER='no answer'
	read -r -t 90 -u "$FDS_OUT" ANSWER
	is "fds: $TOLD" "$ANSWER" "$1"
}

# fd WANTED COMMAND...: a test: the command's answer is this; '*' is any
fd() {
	local want=$1
	shift
	fds_ask "$@"
	# shellcheck disable=SC2053
	if [[ $ANSWER == $want ]]; then
		ok "fds: $* -> $ANSWER"
	else
		fail "fds: $*: got '$ANSWER', wanted '$want'"
	fi
}

fds_end() {
	exec {FDS_IN}>&-
	wait "$FDS_CHILD"
}
