#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Files and directories that lose their last name while they are open: by unlink, by a rename
# over them, or because they never had one (O_TMPFILE); held by a descriptor, or by a mapping
# alone. They work on, changes included, until the last close, the session's end, or a force of
# the place; neither a restart nor a checkin matters. Then nothing of them is left in the store.
#
#     web-1  /mnt/a (shared)   owns /SCENE, holds the files open, takes their names
#     web-2  /mnt/b (shared)   has them open for reading; checks out or forces /SCENE
#
# vm-run: --timeout 400

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../fds.sh"

SEED=${SEED:-$RANDOM}
SECS=${ARCHIL_LONG:+120}
SECS=${SECS:-12}
LONG=12		# a reap delay with time to look
echo "# seed $SEED"

# those of which a descriptor is open
KINDS='small bulk over two tmp fresh'

# count WHAT: in the store, by the server
count() {
	archil-server check --json "$STORE" >/tmp/check || { cat /tmp/check; return 1; }
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" /tmp/check
}
counts() { [ "$(count "$1")" = "$2" ]; }
# ended: no orphan is there any more. What is released is looked at when all is done
ended() { check "$D: none is left open in the store" wait_until 20 counts orphans 0; }

# holds N: so many delegations web-1 has, those of orphans included
holds() {
	[ "$(archilctl status --json /mnt/a | sed -n 's/.*"delegations": \([0-9]*\).*/\1/p')" = "$1" ]
}

# scene NAME: files and a directory of web-1's, open, then without a name
scene() {
	local dir=/mnt/a/$1 f
	D=$1
	echo "# ---- $D"
	must mkdir "$dir" "$dir/sub"
	for f in small bulk over two map; do
		printf 'old-%s' "$f" >"$dir/$f"
	done
	printf 'new-over' >"$dir/new"
	must truncate -s 100000 "$dir/bulk" "$dir/two" "$dir/map" "$dir/new"
	must ln "$dir/two" "$dir/two.2"
	must sync -f /mnt/a
	for f in small bulk over two map; do
		fd ok open "$D.$f" rw "$dir/$f"
		fd ok open "$D.$f.b" r "/mnt/b/$D/$f"
	done
	fd ok map "$D.map" 100000
	fd ok shut "$D.map"
	fd ok open "$D.sub" rD "$dir/sub"
	fd ok open "$D.tmp" rwT "$dir"
	fd ok open "$D.fresh" rwcx "$dir/fresh"
	must rm "$dir/small" "$dir/bulk" "$dir/two" "$dir/two.2" "$dir/map" "$dir/fresh"
	must mv "$dir/new" "$dir/over"
	must rmdir "$dir/sub"
	is 'one name is left' "$(ls "$dir")" over
	fd 0 nlink "$D.sub"
	fd ok write "$D.tmp" old-tmp
	fd ok write "$D.fresh" old-fresh
}

# works TEXT: what has no name can be changed, and is as it was left; 3 letters
works() {
	local f
	for f in $KINDS; do
		fd ok pwrite "$D.$f" 0 "$1"
		fd "$1-$f*" pread "$D.$f" 0 20
		fd 0 nlink "$D.$f"
	done
	fd ok store "$D.map" 50000 "${1:0:1}"
	fd "${1:0:1}" load "$D.map" 50000 1
	fd 'old-map' load "$D.map" 0 7
	fd ok fill "$D.bulk" 60000 70000 "${1:0:1}"
	fd 130000 size "$D.bulk"
	fd ok trunc "$D.bulk" 110000
	fd ok punch "$D.bulk" 100000 5000
	fd 45001 count "$D.bulk" "${1:0:1}"
	fd ok falloc "$D.tmp" 0 70000
	fd 70000 size "$D.tmp"
	fd ok chmod "$D.small" 600
	fd ok setxattr "$D.over" user.tag "$1"
	fd "$1" getxattr "$D.over" user.tag
	fd ok trunc "$D.bulk" 100000
	fd ok fill "$D.bulk" 60000 40000 o
	for f in small bulk tmp; do
		fd ok fsync "$D.$f"
	done
	fd ok msync "$D.map"
	# a directory goes at once; when it is not owned any more the server may say so
	fd '@(0|ESTALE)' nlink "$D.sub"
}

# reads PATTERN: web-2 goes on reading them
reads() {
	local f
	for f in small bulk over two map; do
		fd "$1-$f*" pread "$D.$f.b" 0 20
	done
}

# stale: it does not any more; each goes in its time
is_stale() {
	fds_ask pread "$D.$1.b" 0 9
	[ "$ANSWER" = ESTALE ]
}
stale() {
	local f
	for f in small bulk over two map; do
		check "$D: web-2 reads $f no more" wait_until 30 is_stale "$f"
		fd ok close "$D.$f.b"
	done
}

closes() {
	local f
	for f in $KINDS sub; do
		fd ok close "$D.$f"
	done
	fd ok unmap "$D.map"
}

# lost: the descriptors are good for nothing but their close
lost() {
	local f
	for f in $KINDS; do
		fd EIO pwrite "$D.$f" 0 x
		fd '@(EIO|ok)' fsync "$D.$f"
	done
	fd SIGBUS store "$D.map" 0 x
}

# session N: the number of client N's
session() {
	archil-server session list "$STORE" disk | awk -v c="web-$1" '$2 == c { print $1 }'
}

net_up 2
start_server --reap-delay $LONG
start_agent 1
start_agent 2
must cmount 1 shared,commit=2 disk /mnt/a
must cmount 2 shared disk /mnt/b
fds_start

scene closed
works ONE
reads '@(old|ONE)'
is 'they are in the store' "$(count orphans)" 7
closes
ended
since=$SECONDS
sleep 4
reads '@(old|ONE)'
echo "# $((SECONDS - since)) s later"

scene server
kill_server
start_server --reap-delay $LONG
works TWO
fd ok pwrite server.small 0 TRI
kill_server
fd ok pwrite server.two 0 TRI
fd ok pwrite server.fresh 0 TRI
start_server --reap-delay $LONG
fd 'TRI-small*' pread server.small 0 20
fd 'TRI-two*' pread server.two 0 20
fd 'TRI-fresh*' pread server.fresh 0 20
kill_server
closes
start_server --reap-delay $LONG
ended
D=closed
stale
check 'not before the time' test $((SECONDS - since)) -ge $LONG
kill_server
start_server --reap-delay 1
D=server
stale

scene agent
kill_agent 1
works ONE
kill_server
start_server --reap-delay 1
start_agent 1
works TWO
kill_agent 1
closes
ended
start_agent 1

scene checkin
fd ok pwrite checkin.small 0 ONE
fd ok pwrite checkin.bulk 90000 ONE
fd ok store checkin.map 50001 O
must archilctl checkin /mnt/a/checkin
is 'they are in the store' "$(count orphans)" 7
fd 'ONE-small*' pread checkin.small 0 20
fd ONE pread checkin.bulk 90000 3
works TWO
kill_server
start_server --reap-delay 1
works TRI
must archilctl checkout --force --yes /mnt/b/checkin
fd ok pwrite checkin.two 0 NEW
must touch /mnt/b/checkin/mine
works FOU
must archilctl checkin /mnt/b/checkin
must archilctl checkout --force --yes /mnt/a/checkin
works FIV
kill_server
start_server --reap-delay 1
reads '@(old|ONE|TWO|TRI|FOU|FIV|NEW)'
closes
ended
check 'web-1 does not hold on to them' wait_until 5 holds 4
stale

echo '# ---- linked'
must mkdir /mnt/a/linked
for f in before after never here; do
	fd ok open linked.$f rwT /mnt/a/linked
	fd ok write linked.$f "text-$f"
	fd ok fill linked.$f 50000 100000 "${f:0:1}"
done
fd ok linkat linked.before /mnt/a/linked/before
fd ok linkat linked.here /mnt/a/linked/here
must rm /mnt/a/linked/here
must archilctl checkin /mnt/a/linked
fd EROFS linkat linked.after /mnt/a/linked/after
fd EROFS write linked.before more
fd ok pwrite linked.after 0 TEXT
fd ok pwrite linked.here 0 TEXT
must archilctl checkout /mnt/a/linked
fd ok linkat linked.after /mnt/a/linked/after
fd 1 nlink linked.after
fd ok pwrite linked.after 200000 end
fd ok pwrite linked.before 200000 end
fd 'TEXT-here*' pread linked.here 0 20
must sync -f /mnt/a
check 'what got a name has no delegation of its own any more' holds 7
is 'two are open without a name' "$(count orphans)" 2
must archilctl checkin /mnt/a/linked
fd EROFS pwrite linked.after 0 x
fd EROFS pwrite linked.before 0 x
fd ok pwrite linked.never 0 TEXT
is 'and stay so' "$(count orphans)" 2
is 'web-2 sees the names' "$(ls /mnt/b/linked)" $'after\nbefore'
is 'and the contents' "$(head -c 10 /mnt/b/linked/after; head -c 11 /mnt/b/linked/before)" \
	TEXT-aftertext-before
for f in after before; do
	is "$f is whole" "$(stat -c %s /mnt/b/linked/$f; tail -c 3 /mnt/b/linked/$f;
		tr -cd "${f:0:1}" </mnt/b/linked/$f | wc -c)" $'200003\nend100001'
done
must archilctl checkout --force --yes /mnt/b/linked
fd 'TEXT-never*' pread linked.never 0 20
fd ok fsync linked.never
for f in before after never here; do
	fd ok close linked.$f
done
D=linked
ended

echo '# ---- late: the last close meets the checkin'
D=late
must mkdir /mnt/a/late
fd ok open late.f rwcx /mnt/a/late/f
fd ok fill late.f 0 4000000 x
must rm /mnt/a/late/f
must sync -f /mnt/a
# what is on its way holds the inode that goes, and not the checkin, which a queue of its own and a
# descriptor take past it
exec 9</mnt/a/late
must in_client 1 tc qdisc add dev eth0 root handle 1: tbf rate 4mbit burst 64k latency 10s
must in_client 1 tc qdisc add dev eth0 parent 1:1 fq_codel
fd ok fill late.f 4000000 4000000 y
fd ok start late.f
fds_tell close late.f
sleep 3
check 'checkin' archilctl checkin /proc/self/fd/9
exec 9<&-
fds_wait ok
must in_client 1 tc qdisc del dev eth0 root
ended
check 'nobody is told of what nobody could read' sync -f /mnt/a

echo '# ---- while the place comes and goes, and the server'
must mkdir /mnt/a/storm
show orphans /mnt/a/storm "$SECS" "$SEED"
orphans /mnt/a/storm "$SECS" "$SEED" >/tmp/storm.said 2>&1 & pid=$!
rounds=0
while kill -0 $pid 2>/dev/null; do
	rounds=$((rounds + 1))
	archilctl checkin /mnt/a/storm >/dev/null || fail 'checkin'
	# not if a file was made in between, which is web-1's then
	[ $((rounds % 5)) != 0 ] || ! archilctl checkout /mnt/b/storm >/dev/null 2>&1 ||
		archilctl checkin /mnt/b/storm >/dev/null || fail 'checkin of web-2'
	[ $((rounds % 25)) != 0 ] || { kill_server; start_server --reap-delay 1; }
	archilctl checkout /mnt/a/storm >/dev/null || fail 'checkout'
	sleep 0.1
done
check "in $rounds rounds all was as it was left" wait $pid
cat /tmp/storm.said
must sync -f /mnt/a
D=storm
ended
must archilctl checkin /mnt/a/storm

scene forced
works ONE
must archilctl checkout --force --yes /mnt/b/forced
ended
lost
fd '@(ONE-small*|ESTALE)' pread forced.small 0 9
closes
# what was lost is said once
sync -f /mnt/a 2>/dev/null

scene session
works ONE
fd ok pwrite session.small 0 TWO
must archil-server session end "$STORE" disk "$(session 1)"
ended
lost
closes
must umount /mnt/a
must cmount 1 shared,commit=2 disk /mnt/a

scene aborted
works ONE
check 'abort' timeout 20 archilctl abort /mnt/a
ended
lost
closes
must umount /mnt/a
must cmount 1 shared,commit=2 disk /mnt/a

scene cut
works ONE
cut 1
fd ok pwrite cut.small 0 TWO
fails_with 32 'busy' timeout 20 umount -f /mnt/a
lost
sleep 1
is 'the server has not heard of it' "$(count orphans)" 7
reads '@(old|ONE)'
must archil-server session end "$STORE" disk "$(session 1)"
ended
closes
for D in forced session aborted cut; do
	stale
done
must timeout 20 umount /mnt/a
heal 1
fds_end

echo '# ---- nothing is left'
check 'all that was released is gone' wait_until 20 counts released 0
check 'and its data' wait_until 20 counts intents 0
must umount /mnt/b
must cmount 1 '' disk /mnt/a
files=$(find /mnt/a -type f -size +16k | wc -l)
check 'data files are of large files with a name' test "$(count data_files)" -le "$files"
must rm -r /mnt/a/*
must umount /mnt/a
check 'no data file is left when these are removed' wait_until 20 counts data_files 0
is 'and no inode but the root' \
	"$(archil-server disk list "$STORE" --json | sed -n 's/.*"inodes": \([0-9]*\).*/\1/p')" 1
stop_server
check 'the store is in order' archil-server check "$STORE"
