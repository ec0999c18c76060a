#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make bench, in the guest: each work on each file system, all in one boot.
#
#     netns server: nfsd, smbd, archil-server, "limit serve"        10.99.0.1
#     netns c1: nfs4, smb3, archil-owner, the client of "limit"     10.99.0.11
#     netns c2: archil-reader                                       10.99.0.12
#     netns c3 to c16: more clients for the growth table
#
# Between them half of RTT_MS each way. Each store is an ext4 on a null_blk of its own,
# which is memory with a cache that wants flushing and 20 us for each request:
#
#     local   ext4                nfs     what nfsd exports     smb   what smbd shares
#     store   archil-server's     plain   limit's
#
# Arguments: NAME=VALUE of RTT_MS, WORK, FS, LONG, PROFILE. Each measurement is a line
# "result {...}"; tests/bench/run makes the rest of them.
#
# Rules:
# 1. Before a measurement everything dirty is written back, but before "sync", which
#    is what is left of the work before it.
# 2. Cold means that the client has just mounted; for the big file, that the server has
#    nothing of it in memory either.
# 3. Nothing that is timed reads the guest's own disk, which would bring real time in.

. /archil/tests/vm/lib.sh
. "$(dirname "$0")/fs.sh"
. "$(dirname "$0")/growth.sh"

# shellcheck disable=SC2034
RTT_MS=0.3 WORK='' FS='' LONG='' PROFILE=''
for arg; do
	declare "$arg"
done
BENCH=/bench			# stores and mount points
MIB=128				# of the big file
FILES=10000			# empty files in one directory
FSYNCS=100
MEASURED=0
SIZE='' OPERATIONS=''		# of a row of the growth table
MOUNTS=()			# whose requests count; DIR if none

# wanted WORD LIST: an empty list is all
wanted() { [[ -z ${2// } || " $2 " == *" $1 "* ]]; }

# ---- measuring -------------------------------------------------------------

# delta BEFORE AFTER: of what is counted; null if it is not
delta() {
	if [ "$1" = null ] || [ "$2" = null ]; then
		echo null
	else
		awk -v a="$1" -v b="$2" 'BEGIN { d = b - a; printf (d == int(d)) ? "%d" : "%.6f", d }'
	fi
}

# ops_delta BEFORE AFTER: of lists such as "log=12 read=3", as the inside of an object
ops_delta() {
	awk -v a="$1" -v b="$2" 'BEGIN {
		n = split(a, list, " ")
		for (i = 1; i <= n; i++) {
			split(list[i], op, "=")
			had[op[1]] = op[2]
		}
		n = split(b, list, " ")
		for (i = 1; i <= n; i++) {
			split(list[i], op, "=")
			if (op[2] - had[op[1]])
				printf "%s\"%s\": %d", many++ ? ", " : "", op[1], op[2] - had[op[1]]
		}
	}'
}

# result WORK FS SECONDS REQUESTS BYTES FLUSHES CPU RECORDS OPS
result() {
	MEASURED=$((MEASURED + 1))
	printf 'result {"work": "%s", "fs": "%s", "rtt_ms": %s, "seconds": %s, "requests": %s' \
		"$1" "$2" "$RTT_MS" "$3" "$4"
	printf ', "bytes": %s, "flushes": %s, "server_cpu_seconds": %s, "records": %s' \
		"$5" "$6" "$7" "$8"
	[ -z "${9-}" ] || printf ', "requests_by_op": {%s}' "$9"
	[ -z "$SIZE" ] || printf ', "size": %s, "operations": %s' "$SIZE" "$OPERATIONS"
	echo '}'
}

# warm_tools: to start a program, it is looked for in directories, which went with the caches;
# reading them again would bring real time in (the programs themselves are pinned)
warm_tools() {
	local t
	for t in tar find ls git rm sh archilctl; do
		lap "$t" --version >/dev/null 2>&1
	done
}

# measure WORK CMD...: the command prints how many seconds it took
measure() {
	local work=$1 before after secs i deltas=()
	shift
	warm_tools
	mapfile -t before < <(counters "$fs")
	if [ -n "$PROFILE" ]; then
		profile "$work.$fs" "$@"
	else
		secs=$("$@") || { fail "$work on $fs: '$*'"; return; }
	fi
	mapfile -t after < <(counters "$fs")
	for i in 0 1 2 3 4; do
		deltas+=("$(delta "${before[i]}" "${after[i]}")")
	done
	result "$work" "$fs" "$secs" "${deltas[@]}" "$(ops_delta "${before[5]-}" "${after[5]-}")"
}

# profile NAME CMD...: sets secs; where the instructions went is said on the way out.
# Sampling itself takes time: its shares are right, the seconds are too many.
profile() {
	local name=$1 file=/tmp/$1.perf pid
	shift
	perf record -q -a -g -e cpu-clock -F 4999 -o "$file" >&2 &
	pid=$!
	until [ -s "$file" ] || ! kill -0 $pid; do
		sleep 0.1	# its own files come from the guest's disk, in which time no clock runs
	done
	sleep 1
	secs=$("$@") || fail "profile of $name"
	kill -INT $pid
	wait $pid
	echo "profile ==== $name, $secs s"
	profile_part "$file" -g none --percent-limit 1 --sort comm
	profile_part "$file" -g none --percent-limit 0.3 --sort comm,dso,symbol
	profile_part "$file" -g caller,0.5,callee --percent-limit 2 --sort symbol
	rm -f "$file"
}

# what is idle until a packet or the store comes is swapper's
profile_part() {
	perf report -i "$1" --no-children "${@:2}" 2>/dev/null | sed -n '/^ *$/!s/^\([^#]\)/profile \1/p'
	echo profile
}

# settle: nothing is left that a measurement would have to pay for
settle() {
	sync
	sleep 1
}

# ---- what is measured upon -------------------------------------------------

# The tree: what two Debian packages of the guest consist of, C headers and Perl modules.
make_tree() {
	local perl f
	perl=$(cd /var/lib/dpkg/info && ls -d perl-modules-5.*.list)
	must mkdir -p /tmp/tree
	# the guest's root lacks the documents
	sort -u "/var/lib/dpkg/info/$perl" /var/lib/dpkg/info/linux-libc-dev:amd64.list |
		sed -n 's#^/usr/#usr/#p' | while read -r f; do
			[ ! -e "/$f" ] || echo "$f"
		done >/tmp/tree.list
	must tar -C / -cf /tmp/tree.tar --no-recursion --format=gnu --owner=0 --group=0 \
		--mtime=@1700000000 -T /tmp/tree.list
	must tar -C /tmp/tree -xf /tmp/tree.tar
	echo "# the tree: $(wc -l </tmp/tree.list) entries, $(stat -c %s /tmp/tree.tar) bytes of tar"
}

# A repository of the tree, one commit, packed
make_repository() {
	git config --global user.name bench
	git config --global user.email bench@example.org
	git config --global safe.directory '*'
	git config --global gc.auto 0
	must git -C /tmp/tree init -q
	must git -C /tmp/tree add -A
	must git -C /tmp/tree commit -q -m tree
	must git -C /tmp/tree gc -q
	must mv /tmp/tree/.git /tmp/repository.git
}

untar() { lap tar -C "$1" --no-same-owner -xf /tmp/tree.tar; }

# The tree, the clone and the big file, if they are not there; untimed, at the writer
need_tree() {
	[ ! -d "$WRITER/tree" ] || return 0
	mkdir "$WRITER/tree"
	untar "$WRITER/tree" >/dev/null
	sync -f "$WRITER"
}
need_clone() {
	[ ! -d "$WRITER/clone" ] || return 0
	git clone -q --no-hardlinks /tmp/repository.git "$WRITER/clone" || fail 'git clone'
	sync -f "$WRITER"
}
need_big() {
	[ -e "$WRITER/big" ] || stream write "$WRITER/big" "$MIB" >/dev/null
}
need_files() {
	[ ! -d "$DIR/files" ] || return 0
	mkdir "$DIR/files"
	files create "$DIR/files" "$FILES" >/dev/null
}

# warm_up CMD...: tmpfs, ext4 and the owner are measured the second time, the others on
# a client that has just mounted
warm_up() {
	case $fs in
	tmpfs|ext4|archil-owner) "$@" >/dev/null;;
	*) fs_cold "$fs";;
	esac
}

# ---- the works, in order ---------------------------------------------------

work_untar() {
	rm -rf "$DIR/tree"
	mkdir "$DIR/tree"
	settle
	# before a profile of sync has begun, nothing is to be written back by itself
	[ -z "$PROFILE" ] || fs_remount "$fs" commit=600
	measure untar untar "$DIR/tree"
	! wanted sync "$WORK" || measure sync fsyncs syncfs "$DIR" 1
}

work_find() {
	local walk=(lap find "$DIR/tree" -type f -size +0)
	need_tree
	settle
	warm_up "${walk[@]}"
	measure find "${walk[@]}"
}

work_lsr() {
	local walk=(lap ls -lR "$DIR/tree")
	need_tree
	settle
	warm_up "${walk[@]}"
	measure lsr "${walk[@]}"
}

# right after it, while nothing is older than cache_ttl; and when all is
work_find-again() {
	local walk=(lap find "$DIR/tree" -type f -size +0)
	need_tree
	settle
	fs_cold "$fs"
	"${walk[@]}" >/dev/null
	measure find-again "${walk[@]}"
}
work_find-late() {
	local walk=(lap find "$DIR/tree" -type f -size +0)
	need_tree
	"${walk[@]}" >/dev/null
	sleep 2
	measure find-late "${walk[@]}"
}
work_readall-again() {
	need_tree
	settle
	fs_cold "$fs"
	walk "$DIR/tree" >/dev/null
	measure readall-again walk "$DIR/tree"
}
work_readall-late() {
	need_tree
	walk "$DIR/tree" >/dev/null
	sleep 2
	measure readall-late walk "$DIR/tree"
}

work_readall() {
	need_tree
	settle
	warm_up walk "$DIR/tree"
	measure readall walk "$DIR/tree"
}

work_gitclone() {
	rm -rf "$DIR/clone"
	# git and what it reads may have been dropped from memory for an earlier work
	must git clone -q --no-hardlinks /tmp/repository.git /tmp/clone
	rm -rf /tmp/clone
	settle
	measure gitclone lap git clone -q --no-hardlinks /tmp/repository.git "$DIR/clone"
}

work_gitstatus() {
	local status=(lap git -C "$DIR/clone" --no-optional-locks status)
	need_clone
	settle
	git -C "$WRITER/clone" status >/dev/null
	settle
	warm_up "${status[@]}"
	measure gitstatus "${status[@]}"
}

work_rm() {
	need_tree
	settle
	measure rm lap rm -rf "$DIR/tree"
}

untar_rm() { lap sh -c 'mkdir "$1" && tar -C "$1" --no-same-owner -xf /tmp/tree.tar && rm -rf "$1"' \
	sh "$DIR/untar-rm"; }

work_untar-rm() {
	fs_remount "$fs" commit=60
	settle
	measure untar-rm untar_rm
	fs_remount "$fs" ''
}

work_create() {
	rm -rf "$DIR/files"
	mkdir "$DIR/files"
	settle
	measure create files create "$DIR/files" "$FILES"
}

work_stat() {
	need_files
	settle
	measure stat files stat "$DIR/files" "$FILES"
}

work_rename() {
	need_files
	settle
	measure rename files rename "$DIR/files" "$FILES"
}

work_unlink() {
	need_files
	settle
	measure unlink files unlink "$DIR/files" "$FILES"
	rmdir "$DIR/files"
}

work_create-tree() {
	mkdir "$DIR/many"
	settle
	measure create-tree files create-tree "$DIR/many" "$FILES"
	settle
	! wanted unlink-tree "$WORK" || measure unlink-tree files unlink-tree "$DIR/many" "$FILES"
	rm -rf "$DIR/many"
}

work_mkdir() {
	mkdir "$DIR/dirs"
	settle
	measure mkdir files mkdir "$DIR/dirs" $((FILES / 5))
	rm -rf "$DIR/dirs"
}

work_seqwrite() {
	rm -f "$DIR/big"
	settle
	measure seqwrite stream write "$DIR/big" "$MIB"
}

work_seqread() {
	need_big
	settle
	fs_cold "$fs"
	drop_caches
	measure seqread stream read "$DIR/big" "$MIB"
}

work_cachedread() {
	need_big
	settle
	stream read "$DIR/big" "$MIB" >/dev/null
	measure cachedread stream read "$DIR/big" "$MIB"
}

work_cachedwrite() {
	need_big
	settle
	measure cachedwrite stream rewrite "$DIR/big" "$MIB"
}

# fsyncs WORK OPERATION N
in_fresh_dir() {
	mkdir "$DIR/fsyncs"
	settle
	measure "$1" fsyncs "$2" "$DIR/fsyncs" "$3"
	rm -rf "$DIR/fsyncs"
}
work_fsync-append() { in_fresh_dir fsync-append append "$FSYNCS"; }
work_fsync-small() { in_fresh_dir fsync-small small "$FSYNCS"; }
work_fsync-busy() { in_fresh_dir fsync-busy busy "$FSYNCS"; }

# limit WORK OPERATION [FILE] N
limit_row() {
	local work=$1 fs=tcp ready
	shift
	wanted "$work" "$WORK" || return 0
	settle
	exec {ready}< <(in_net server limit serve 7000 "$BENCH/plain")
	read -r <&"$ready"
	measure "$work" in_client 1 limit "$1" "$SERVER_ADDR" 7000 "${@:2}"
	# it ends with its client
	read -r <&"$ready"
	exec {ready}>&-
}

limits() {
	disk_up plain
	limit_row limit-write write /tmp/plain "$MIB"
	if wanted limit-read "$WORK"; then
		wanted limit-write "$WORK" ||
			head -c "${MIB}M" /dev/urandom >"$BENCH/plain/stream"
		sync
		drop_caches
	fi
	limit_row limit-read read /tmp/plain "$MIB"
	limit_row limit-fsync fsync "$FSYNCS"
	rm -f /tmp/plain
}

WORKS='untar sync find lsr readall gitclone gitstatus rm untar-rm create stat rename unlink
	create-tree unlink-tree mkdir seqwrite seqread cachedread cachedwrite
	fsync-append fsync-small fsync-busy'
# it changes nothing
READER_WORKS='find find-again find-late lsr readall readall-again readall-late gitstatus
	seqread cachedread'

growth_wanted() { wanted growth "$WORK" && wanted archil-owner "$FS"; }

# ---- the run ---------------------------------------------------------------

# a wait for the guest's own disk may last as long as its clock can jump
echo 0 >/proc/sys/kernel/hung_task_timeout_secs
# a machine that is not emulated finds it by itself; RocksDB has its own
modprobe crc32c_intel
clients=2
! growth_wanted || clients=16
net_up $clients
set_rtt "$RTT_MS"
pin_tools
make_tree
if wanted gitclone "$WORK" || wanted gitstatus "$WORK"; then
	make_repository
fi

for fs in tmpfs ext4 nfs4 smb3 archil-owner archil-reader; do
	wanted "$fs" "$FS" || continue
	works=$WORKS
	[ $fs != archil-reader ] || works=$READER_WORKS
	fs_up $fs
	for work in $works; do
		wanted "$work" "$WORK" || continue
		case $work in
		# these go with the one before
		sync) wanted untar "$WORK" && continue; work=untar;;
		unlink-tree) wanted create-tree "$WORK" && continue; work=create-tree;;
		esac
		"work_$work"
	done
	fs_down $fs
done
limits
if growth_wanted; then
	fs=archil-owner
	archil_serve
	growth_files
	growth_delegations
	growth_clients
fi
ok "$MEASURED measurements"
