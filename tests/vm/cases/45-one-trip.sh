#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An fsync is one request, whatever of one place in the file it is for; and size and times that came
# with the bytes are never put over what was said of the file since.
#
#     web-1  /mnt/a (shared, commit=60)   owns /t and works there
#     web-2  /mnt/b (shared)              looks

. "$(dirname "$0")/../lib.sh"

SEED=${SEED:-$RANDOM}
ROUNDS=${ARCHIL_LONG:+300}
echo "# seed $SEED"

# counter NAME: of requests by their kind only those are said that there were
counter() {
	local n
	n=$(archilctl status /mnt/a --json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -n 1)
	echo "${n:-0}"
}

# trips TEXT LOG WRITE COMMAND...: it works, and sends so many WRITEs, and so many LOGs or up to three
# more: the first fsync may still meet the work behind WRITEs that came before, and leaves some itself then
trips() {
	local text=$1 log=$2 write=$3 logs writes
	shift 3
	must sync -f /mnt/a
	logs=$(counter LOG)
	writes=$(counter WRITE)
	check "$text" "$@"
	logs=$(($(counter LOG) - logs))
	check "$text: $logs LOGs" test "$logs" -ge "$log" -a "$logs" -le $((log + 3))
	is "$text: WRITEs" $(($(counter WRITE) - writes)) "$write"
}

# writes WHERE BYTES: to /t/bulk ten times, fsync behind each
writes() {
	perl -MIO::Handle -e '
		open(my $f, "+<", "/mnt/a/t/bulk") or die $!;
		for (1..10) {
			seek($f, $ARGV[0], 2);
			syswrite($f, chr(64 + $_) x $ARGV[1]) == $ARGV[1] && $f->sync or die $!;
		}' -- "$@"
}

new_files() {
	perl -MIO::Handle -e '
		for (1..10) {
			open(my $f, ">", "/mnt/a/t/new.$_") or die $!;
			syswrite($f, "x" x 4096) == 4096 && $f->sync or die $!;
		}'
}

# same_here_and_there NAME: attributes and contents at both clients
same_here_and_there() {
	stat -c '%s %a %h %y %z' "/mnt/a/t/$1" >/tmp/a.stat
	stat -c '%s %a %h %y %z' "/mnt/b/t/$1" >/tmp/b.stat
	diff /tmp/a.stat /tmp/b.stat && cmp "/mnt/a/t/$1" "/mnt/b/t/$1"
}

# scribble SEED: appends and overwrites, most of them synced
scribble() {
	perl -MIO::Handle -e '
		srand($ARGV[0]);
		open(my $f, "+<", "/mnt/a/t/busy") or die $!;
		for (1..60) {
			rand() < 0.7 ? seek($f, 0, 2) : seek($f, int(rand(40000)), 0);
			syswrite($f, chr(65 + rand(26)) x (1 + rand(6000))) or die $!;
			rand() < 0.8 and ($f->sync or die $!);
		}' "$1"
}

# meddle SEED: all else that is said of a file
meddle() {
	perl -e '
		srand($ARGV[0]);
		my $f = "/mnt/a/t/busy";
		for (1..60) {
			my $r = int(rand(6));
			$r == 0 && !utime(1e9, 1e9 * rand(), $f) and die $!;
			$r == 1 && !chmod(0600 + rand(64), $f) and die $!;
			$r == 2 && !truncate($f, 20000 + rand(60000)) and die $!;
			$r == 3 && !(link($f, "$f.other") && unlink("$f.other")) and die $!;
			$r == 4 && !(rename($f, "$f.moved") && rename("$f.moved", $f)) and die $!;
			select(undef, undef, undef, 0.003 * rand());
		}' "$1"
}

net_up 2
set_rtt 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared,commit=60 disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/t
must dd if=/dev/urandom of=/mnt/a/t/bulk bs=64k count=1 status=none

echo '# ---- how many'
trips 'appending 4 KiB' 0 10 writes 0 4096
trips 'appending 100 bytes' 0 10 writes 0 100
trips 'overwriting' 0 10 writes -50000 1000
trips 'new small files' 10 0 new_files
sleep 2
check 'the other client sees the same' same_here_and_there bulk

echo '# ---- beside other changes of the file'
failed=$FAILED
for round in $(seq "${ROUNDS:-15}"); do
	dd if=/dev/urandom of=/mnt/a/t/busy bs=40k count=1 status=none
	scribble $((SEED + round)) &
	pids=($!)
	scribble $((SEED + round + 5000)) &
	pids+=($!)
	meddle $((SEED + round)) || fail "round $round: meddle"
	for pid in "${pids[@]}"; do
		wait "$pid" || fail "round $round: scribble"
	done
	must sync -f /mnt/a
	sleep 1.2
	same_here_and_there busy || fail "round $round: they differ"
done
check 'what each synced is what the other client sees' test "$FAILED" = "$failed"

echo '# ---- after the server was killed'
size=$(stat -c %s /mnt/a/t/bulk)
must writes 0 4096
must kill_server
must start_server
is 'what was synced has its size' "$(stat -c %s /mnt/b/t/bulk)" $((size + 40960))
check 'and its bytes and times' same_here_and_there bulk
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
