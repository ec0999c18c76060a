#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Force while the owner has dirty data of every kind.
#
#     web-1  /mnt/a (shared, commit=600)   owns /w, writes, does not sync
#     web-2  /mnt/b (shared)               takes /w by force, sees what section 5 of
#                                          semantics.md allows: here what was durable
#
# Twice: with web-1 on the network, and with its cable out.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../fds.sh"

is_taken() { [ "$(number /mnt/a taken)" = "$1" ]; }
held() { archilctl delegations "$1" | awk 'NR > 1 { print $NF }' | sort | tr '\n' ' '; }

# state WHAT CMD...: one step of what the owner did, in order: is it there?
STEPS=() THERE=''
step() {
	local what=$1
	shift
	STEPS+=("$what")
	if "$@"; then THERE+=1; else THERE+=0; fi
}
# steps TEXT: a test: it is what was done up to one moment
steps() {
	local done=${THERE%%0*}
	if [[ $THERE =~ ^1*0*$ ]]; then
		ok "$1: the first ${#done} of ${#STEPS[@]}"
	else
		fail "$1: not from one moment: $THERE of ${STEPS[*]}"
	fi
}
starts() { [[ $(cat "$2") == "$1"* ]]; }
stat_is() { [ "$(stat -c "$1" "$3")" = "$2" ]; }
gone() { [ ! -e "$1" ]; }
number() { archilctl status --json "$1" | sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p"; }

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared,commit=600 disk /mnt/a
must cmount 2 shared disk /mnt/b

# commit=600 is not all: the kernel writes back by itself what is much for a young mount
echo 0 >/proc/sys/vm/dirty_writeback_centisecs

echo '# ---- what is durable'
must mkdir /mnt/a/w /mnt/a/w/dir
for f in over map renamed cut gone xattr clean big synced target source; do
	echo "old $f" >/mnt/a/w/$f
done
must chmod 666 /mnt/a/w/*
must mkdir /mnt/a/w/left
echo 'still here' >/mnt/a/w/left/f
must archilctl checkin /mnt/a/w
must archilctl checkout /mnt/a/w
is 'what is listed is known to be all' "$(ls /mnt/a/w/left)" f

echo '# ---- what is not'
fds_start
for f in over map renamed cut gone xattr clean big synced; do
	fd ok open $f rw /mnt/a/w/$f
done
fd ok open over2 rw /mnt/a/w/over
fd ok open ro r /mnt/a/w/over
fd ok open dir rD /mnt/a/w
fd ok open clean2 r /mnt/a/w/clean
fd ok pwrite synced 0 NEW
fd ok fsync synced
# names first: a rename over a file waits for what the new one holds
must mv /mnt/a/w/renamed /mnt/a/w/newname
must rm /mnt/a/w/gone
must mv /mnt/a/w/source /mnt/a/w/target
for i in $(seq -w 1 40); do
	: >"/mnt/a/w/dir/$i"
done
fd ok open made rwcx /mnt/a/w/made
fd ok write made new
fd ok open tmp rwT /mnt/a/w
fd ok write tmp new
fd ok write gone orphan
fd ok pwrite over 0 NEW
fd ok trunc cut 1
fd ok setxattr xattr user.new value
fd ok chmod xattr 600
fd ok open left rD /mnt/a/w/left
must rm /mnt/a/w/left/f
must rmdir /mnt/a/w/left
# bulk, outside the order
fd ok map map 4096
fd ok store map 0 N
fd ok fill big 0 8000000 N
fd 'NEW over?' pread over 0 100
check 'it is dirty' test "$(number /mnt/a dirty_bytes)" -gt 8000000
check 'and names and attributes are too' test "$(number /mnt/a backlog_records)" -gt 0

echo '# ---- who may force, and how'
fails_with 2 'without a terminal .* needs --yes' archilctl checkout --force /mnt/b/w </dev/null
is 'and nothing was taken' "$(number /mnt/a taken)" 0
fails_with 6 'for root and for the owner' setpriv --reuid 65534 --clear-groups \
	archilctl checkout --force --yes /mnt/b/w/over
fails_with 3 'owned by client web-1.*lost\. Take it away\? \[y/N\].*left as it is' \
	script -qec 'archilctl checkout --force /mnt/b/w' /dev/null <<<n
is 'still nothing was taken' "$(number /mnt/a taken)" 0

echo '# ---- the force'
begin=$SECONDS
is 'force' "$(archilctl checkout --force --yes /mnt/b/w)" '/mnt/b/w: checked out'
check 'without waiting for the owner' test $((SECONDS - begin)) -lt 10
check 'the old owner learns of it' wait_until 10 is_taken 1
is 'it does not list it any more' "$(held /mnt/a)" ''
is 'the new owner does' "$(held /mnt/b)" '/mnt/b/w '

echo '# ---- what the new owner sees'
is 'what was synced is there' "$(cat /mnt/b/w/synced)" 'NEW synced'
is 'what was not touched is there' "$(cat /mnt/b/w/clean)" 'old clean'
(
	cd /mnt/b/w || exit
	step newname test -e newname
	step 'old name' gone renamed
	step unlinked gone gone
	step replaced gone source
	for i in $(seq -w 1 40); do
		step "$i" test -e "dir/$i"
	done
	step made test -e made
	step over starts NEW over
	step cut stat_is %s 1 cut
	step xattr eval 'getfattr -n user.new xattr >/dev/null 2>&1'
	step mode stat_is %a 600 xattr
	steps 'names, attributes and small contents are from one moment'
	exit $FAILED
)
FAILED=$((FAILED + $?)) TESTS=$((TESTS + 1))
is 'the renamed file is whole' "$(cat /mnt/b/w/newname /mnt/b/w/renamed 2>/dev/null)" 'old renamed'
check 'the replaced one is old or new' grep -qxE 'old (source|target)' /mnt/b/w/target
check 'a store is there or not' grep -qx '[oN]ld map' /mnt/b/w/map
is 'a big file has no byte that was never there' \
	"$(tr -d 'N\000' </mnt/b/w/big | sed 's/^old big$//; s/^ *big$//')" ''
for f in /mnt/b/w/*; do
	case ${f##*/} in
	over|map|renamed|cut|gone|xattr|clean|big|synced|target|source|newname|made|dir|left) ;;
	*) fail "$f should not be there";;
	esac
done

echo '# ---- the old owner: each descriptor is told once'
for f in over over2 big; do
	fd EIO fsync $f
	fd ok fsync $f
done
fd EIO msync map
fd ok msync map
fd EIO fsync ro
fd EIO fsync made
fd EIO fdatasync cut
fd EIO fsync xattr
fd EIO fsync dir
fd ok fsync dir
fd EIO syncfs clean
fd ok syncfs clean
fd ok fsync clean2

# lost: nothing can be changed through what was open before. (Of fchmod and the like the
# kernel does not tell a file system through which descriptor they come.)
lost() {
	for f in over over2 map renamed clean made gone tmp; do
		fd EIO write $f x
	done
	fd EIO pwrite big 100000 x
	fd EIO trunc over 3
	fd EIO falloc over 0 9999
	fd EIO punch over 0 3
	fd EIO flock over ex
	fd EIO lock over w
	fd SIGBUS store map 0 X
}
lost
fd '@(EIO|EBUSY)' chmod over 640
fd '@(EIO|EBUSY)' setxattr over user.a b
echo '# ---- and reads what the server has'
server=$(</mnt/b/w/over)
fd "$server?" pread over 0 100
fd "$server?" pread ro 0 100
fd "$(head -c 7 /mnt/b/w/map)" load map 0 7
if [ -e /mnt/b/w/made ]; then want='*'; else want=ESTALE; fi
fd "$want" pread made 0 10
fd 'NEW synced?' pread synced 0 100
sleep 1.1
is 'names too' "$(ls /mnt/a/w)" "$(ls /mnt/b/w)"
is 'in a directory that was removed and held open as well' \
	"$(cat /mnt/a/w/left/f)" "$(cat /mnt/b/w/left/f)"
expect_errno EBUSY touch /mnt/a/w/over
echo 'from web-2' >/mnt/b/w/over
must sync /mnt/b/w/over
sleep 1.1
fd 'from web-2?' pread over 0 100
is 'by name as well' "$(cat /mnt/a/w/over)" 'from web-2'

echo '# ---- it can go on elsewhere'
check 'own something else' mkdir /mnt/a/else
check 'and work' bash -c 'echo fine >/mnt/a/else/f && sync /mnt/a/else/f'
is 'nothing was taken from the other' "$(number /mnt/b taken)" 0

echo '# ---- checked out again, old descriptors stay lost'
must archilctl checkin /mnt/b/w
must archilctl checkout /mnt/a/w
lost
fd ok open again rw /mnt/a/w/over
fd ok pwrite again 0 FROM
fd ok fsync again
fd 'FROM web-2?' pread over 0 100
must archilctl checkin /mnt/a/w
is 'what the new one wrote arrived' "$(cat /mnt/b/w/over)" 'FROM web-2'
fds_end

echo '# ---- directories that were known by heart are read anew'
must archilctl checkout /mnt/a/w
for d in forced given; do
	must mkdir /mnt/a/w/$d /mnt/a/w/$d/emptied
	must touch /mnt/a/w/$d/{gone,kept} /mnt/a/w/$d/emptied/gone
done
must sync -f /mnt/a
must archilctl checkout --force --yes /mnt/b/w
must rm /mnt/b/w/forced/{gone,emptied/gone}
must touch /mnt/b/w/forced/new
must sync -f /mnt/b
must archilctl checkout --force --yes /mnt/a/w
must ls /mnt/a/w/given /mnt/a/w/given/emptied
must archilctl checkin /mnt/a/w
must archilctl checkout /mnt/b/w
must rm /mnt/b/w/given/{gone,emptied/gone}
must touch /mnt/b/w/given/new
must archilctl checkin /mnt/b/w
must archilctl checkout /mnt/a/w
for d in forced given; do
	for time in first second; do
		is "$d, for the $time time" "$(cd /mnt/a/w/$d && stat -c %n -- * 2>&1)" \
			$'emptied\nkept\nnew'
	done
	is "$d: nothing is left beneath" "$(ls /mnt/a/w/$d/emptied)" ''
	check "$d: what others have emptied can be removed" rmdir /mnt/a/w/$d/emptied
done
must archilctl checkin /mnt/a/w

echo '# ---- what leads to a file is lost, nothing of its own'
must archilctl checkout /mnt/a/w
must mkdir -p /mnt/a/w/way/to/it /mnt/a/w/way/past
echo first | tee /mnt/a/w/way/to/it/f /mnt/a/w/way/past/f >/mnt/a/w/way/f
must sync -f /mnt/a
fds_start
fd ok open f rw /mnt/a/w/way/to/it/f
fd ok open past rw /mnt/a/w/way/past/f
fd ok open root rD /mnt/a
must chmod 700 /mnt/a/w/way/to
must archilctl checkout --force --yes /mnt/b/w
check 'the old owner learns of it' wait_until 10 is_taken 3
is 'what was not synced is lost' "$(stat -c %a /mnt/b/w/way/to)" 755
fd EIO fsync f
fd ok fsync f
fd ok fsync past
fd EIO syncfs root
must archilctl checkin /mnt/b/w
must archilctl checkout /mnt/a/w
# what lost something may not be in memory any more
must chmod 700 /mnt/a/w/way/past/f
must sh -c 'echo 3 >/proc/sys/vm/drop_caches'
must archilctl checkout --force --yes /mnt/b/w
check 'the old owner learns of it' wait_until 10 is_taken 4
fd EIO syncfs root
fd ok syncfs root
fds_end
must archilctl checkin /mnt/b/w

echo '# ---- taken back at once, while much is still being dropped'
must archilctl checkout /mnt/a/w
must mkdir /mnt/a/w/much
must sync -f /mnt/a
(cd /mnt/a/w/much && seq 10000 | sed 's/^/f/' | xargs touch)
must archilctl checkout --force --yes /mnt/b/w
check 'a new descriptor may write' sh -c 'until archilctl checkout --force --yes /mnt/a/w; do :; done
	echo new >/mnt/a/w/much/new && echo over >/mnt/a/w/over'
fails_with 1 'Input/output error' sync -f /mnt/a
must sync -f /mnt/a
is 'and what was lost is not back' "$(ls /mnt/a/w/much)" new
is 'nor for others' "$(ls /mnt/b/w/much)" new
must archilctl checkin /mnt/a/w
must archilctl checkout /mnt/b/w
must rm -r /mnt/b/w/much
must archilctl checkin /mnt/b/w

echo '# ---- bytes are durable, the size that follows is not: the answer to the WRITE comes while much is dropped'
# data_port: of the connection that is the kernel's own
data_port() {
	in_client 1 ss -tnpH state established dst 10.99.0.1 |
		awk '!/users:/ { n = split($3, a, ":"); print a[n] }'
}
delay_data() {
	run in_net server tc qdisc add dev eth0 root handle 1: prio &&
		run in_net server tc qdisc add dev eth0 parent 1:3 netem delay 6ms limit 100000 &&
		run in_net server tc filter add dev eth0 parent 1: protocol ip u32 \
			match ip dst 10.99.0.11/32 match ip dport "$(data_port)" 0xffff flowid 1:3
}
grown() { [ "$(stat -c %s "$1")" -gt 40000 ]; }
must delay_data
for n in {1..8}; do
	must archilctl checkout --force --yes /mnt/a/w
	must mkdir /mnt/a/w/much"$n"
	(cd /mnt/a/w/much"$n" && seq 2000 | xargs touch && head -c 20000 /dev/zero >grows)
	run sync -f /mnt/a	# hears of the last loss
	must sync -f /mnt/a
	perl -MIO::Handle -e '
		open(my $f, ">>", $ARGV[0]) or die $!;
		my $size = -s $f;
		$size += 4096 while syswrite($f, "x" x 4096) && $f->sync;
		print $size' /mnt/a/w/much"$n"/grows >/tmp/size & pid=$!
	must wait_until 10 grown /mnt/a/w/much"$n"/grows
	sleep 0.0$((RANDOM % 10))
	must archilctl checkout --force --yes /mnt/b/w
	wait $pid
	there=$(stat -c %s /mnt/b/w/much"$n"/grows)
	check "all $(cat /tmp/size) bytes that were synced are among the $there that are there" \
		test "$(cat /tmp/size)" -le "$there"
done
must in_net server tc qdisc del dev eth0 root
must rm -r /mnt/b/w/much*
must archilctl checkin /mnt/b/w

echo '# ---- the cable is out: fenced by number, not by good will'
must archilctl checkout /mnt/a/w
echo 'before the cut' >/mnt/a/w/over
must sync /mnt/a/w/over
fds_start
fd ok open over rw /mnt/a/w/over
cut 1
fd ok pwrite over 0 BEYOND
sync /mnt/a/w/over 2>/tmp/sync.said &
pid=$!
sleep 1
check 'its sync waits' kill -0 $pid
is 'the other takes the place' "$(archilctl checkout --force --yes /mnt/b/w)" '/mnt/b/w: checked out'
is 'and sees what was durable' "$(cat /mnt/b/w/over)" 'before the cut'
echo 'after the cut' >/mnt/b/w/over
must sync /mnt/b/w/over
fd 'BEYOND?the cut?' pread over 0 100
heal 1
check 'back on the network, it learns' wait_until 40 is_taken 14
wait $pid
is 'its sync failed' "$? $(grep -o 'Input/output error' /tmp/sync.said)" '1 Input/output error'
fd EIO fsync over
fd EIO write over x
fd 'after the cut?' pread over 0 100
is 'nothing of it came through' "$(cat /mnt/b/w/over)" 'after the cut'
fds_end

echo '# ---- a size that an fsync covers, while the last page is changed again'
must archilctl checkin /mnt/b/w
must archilctl checkout /mnt/a/w
head -c 35328 /dev/zero | tr '\0' x >/mnt/a/w/grows
fds_start
fd ok open grows rw /mnt/a/w/grows
must in_client 1 tc qdisc add dev eth0 root netem delay 500ms limit 100000
sync /mnt/a/w/grows & pid=$!
sleep 0.2
fd ok pwrite grows 30000 AGAIN
check 'it is synced' wait $pid
cut 1
must archilctl checkout --force --yes /mnt/b/w
is 'the other sees all of it' "$(stat -c %s /mnt/b/w/grows; tr -d xAGIN </mnt/b/w/grows | wc -c)" $'35328\n0'
must in_client 1 tc qdisc del dev eth0 root
heal 1
check 'back on the network, it learns' wait_until 40 is_taken 15
fds_end

echo '# ---- by mounting'
must umount /mnt/b
must archilctl checkout /mnt/a/w
echo 'by mounting' >/mnt/a/w/over
must sync /mnt/a/w/over
echo 'lost' >/mnt/a/w/over
fails_with 32 'owned by client web-1' cmount 2 '' disk /mnt/b
check 'mount -o force' cmount 2 force disk /mnt/b
is 'it sees what was durable' "$(cat /mnt/b/w/over)" 'by mounting'
check 'the old owner learns of it' wait_until 10 is_taken 17
begin=$SECONDS
check 'the old owner can unmount cleanly' umount /mnt/a
check 'at once' test $((SECONDS - begin)) -lt "$(patience 10)"
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
