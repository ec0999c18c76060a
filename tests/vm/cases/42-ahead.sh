#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What comes ahead of a walk, and of reading many small files: few requests for a tree that is
# not cached; and never an older state than a request of its own would have given.
#
#     web-1  /mnt/a (shared)                  makes the tree, and changes it
#     web-2  /mnt/b (shared, cache_ttl=60)    walks, reads, changes some of it too
#     web-3  /mnt/c (ro)                      walks and reads while it changes

. "$(dirname "$0")/../lib.sh"

# asked OP: requests of that kind that web-2 has sent
asked() {
	awk -v op="$1" '$1 == op { n += $2 } END { print n + 0 }' /sys/kernel/debug/archil/"$ID"/status
}
total() {
	awk '$1 ~ /^(LOOKUP|GETATTR|READDIR|READ|READ_SMALL|STATFS)$/ { n += $2 } END { print n + 0 }' \
		/sys/kernel/debug/archil/"$ID"/status
}
# costs TEXT MOST CMD...: a test: the command sends no more than so many requests
costs() {
	local text=$1 most=$2 before
	shift 2
	before=$(total)
	check "$text" "$@"
	check "$text: $(($(total) - before)) requests" test $(($(total) - before)) -le "$most"
}
# names DIR: what is listed in it
names() { (cd "$1" && echo *); }
# cold: nothing is cached
cold() {
	must umount /mnt/b
	must cmount 2 shared,cache_ttl=60 disk /mnt/b
	ID=$(mount_id /mnt/b)
}
mount_id() { archilctl status --json "$1" | sed -n 's/.*"mount_id": \([0-9]*\).*/\1/p'; }

net_up 3
start_server
for n in 1 2 3; do
	start_agent $n
done
must cmount 1 shared disk /mnt/a
must cmount 2 shared,cache_ttl=60 disk /mnt/b
must cmount 3 ro disk /mnt/c
must mkdir /mnt/a/t
must cp -r /usr/include/linux /mnt/a/t/
for i in $(seq 40); do
	must mkdir -p "/mnt/a/t/deep/$i/a/b"
	ln -s "to/$i" "/mnt/a/t/deep/$i/link"
	echo "$i" >"/mnt/a/t/deep/$i/a/b/f"
done
must mkdir /mnt/a/t/many
for i in $(seq 600); do echo "text $i" >"/mnt/a/t/many/f$i"; done
must sync -f /mnt/a
must archilctl checkin /mnt/a/t
dirs=$(find /mnt/a/t -type d | wc -l)
files=$(find /mnt/a/t -type f | wc -l)
echo "# $dirs directories, $files files"

echo '# ---- a cold tree'
cold
costs 'a walk' $((dirs / 3)) bash -c 'find /mnt/b/t -printf "%P %s %l\n" | sort >/tmp/walk.b'
check 'finds what is there' cmp /tmp/walk.b <(find /mnt/a/t -printf "%P %s %l\n" | sort)
is 'also where links point' "$(grep -c ' to/' /tmp/walk.b)" 40
cold
costs 'reading it' $((dirs / 3 + files / 3)) bash -c 'tar -cf - -C /mnt/b t | tar -xf - -C /tmp'
check 'reads what is there' diff -r --no-dereference /mnt/a/t /tmp/t
must find /mnt/b/t -name x
costs 'a walk of what was just walked' 0 bash -c 'find /mnt/b/t -printf "%P %s %l\n" | sort >/tmp/walk.b'
check 'finds the same' cmp /tmp/walk.b <(find /mnt/a/t -printf "%P %s %l\n" | sort)
costs 'reading it again' 0 bash -c 'tar -cf - -C /mnt/b t | tar -df - -C /mnt/a'
cold
costs 'reading many files, one by one' 40 bash -c 'ls -U /mnt/b/t/many >/dev/null
	for i in $(seq 600); do read -r x </mnt/b/t/many/f$i && [ "$x" = "text $i" ] || exit; done'
cold
must ls /mnt/b/t/many >/dev/null
before=$(asked READ_SMALL)
must cat /mnt/b/t/many/f77 >/dev/null
is 'one file alone brings no others' "$(($(asked READ_SMALL) - before))" 0

echo '# ---- what we do ourselves is seen at once'
cold
must ls /mnt/b/t/deep >/dev/null
must ls /mnt/b/t/deep/1 >/dev/null
before=$(asked READDIR)
is 'the next ones are there' "$(names /mnt/b/t/deep/2; names /mnt/b/t/deep/3)" $'a link\na link'
is 'without asking' "$(($(asked READDIR) - before))" 0
must archilctl checkout /mnt/b/t/deep/5
must touch /mnt/b/t/deep/5/new
must rm /mnt/b/t/deep/5/link
must archilctl checkin /mnt/b/t/deep/5
is 'in what was ours' "$(names /mnt/b/t/deep/5)" 'a new'
must ls /mnt/b/t/deep/6 >/dev/null
must mkdir /mnt/b/t/deep/8/made
is 'and where we made something' "$(names /mnt/b/t/deep/8)" 'a link made'
must archilctl checkin /mnt/b/t/deep/8/made
# a symlink is given to nobody
must ls /mnt/b/t/deep/9 >/dev/null
must ln -s there /mnt/b/t/deep/9/sym
is 'a symlink too' "$(names /mnt/b/t/deep/9)" 'a link sym'
used() { df --output=iused /mnt/b | tail -n 1; }
before=$(used)
is 'room is believed' "$(used; asked STATFS)" "$before"$'\n1'
must archilctl checkout /mnt/b/t/deep/9
must touch /mnt/b/t/deep/9/{1..10}
must archilctl checkin /mnt/b/t/deep/9
is 'until we take of it' $(($(used) - before)) 10

echo '# ---- what others do is seen in time'
must umount /mnt/b
must cmount 2 shared,cache_ttl=2 disk /mnt/b
ID=$(mount_id /mnt/b)
must ls /mnt/b/t/deep >/dev/null
must ls /mnt/b/t/deep/11 >/dev/null
must archilctl checkout /mnt/a/t
must touch /mnt/a/t/deep/12/theirs
must mv /mnt/a/t/deep/13/link /mnt/a/t/deep/13/moved
must sync -f /mnt/a
sleep 2.1
is 'a name' "$(names /mnt/b/t/deep/12)" 'a link theirs'
is 'another' "$(names /mnt/b/t/deep/13)" 'a moved'
must ls -U /mnt/b/t/many >/dev/null
must cat /mnt/b/t/many/f{1,2,3} >/dev/null
check 'f5 came ahead' test "$(asked READ_SMALL)" -gt 0
echo 'text x' >/mnt/a/t/many/f5
echo 'longer than it was' >/mnt/a/t/many/f6
: >/mnt/a/t/many/f7
must sync -f /mnt/a
sleep 2.1
is 'contents' "$(cat /mnt/b/t/many/f5)" 'text x'
is 'longer ones' "$(cat /mnt/b/t/many/f6)" 'longer than it was'
is 'none' "$(cat /mnt/b/t/many/f7)" ''

echo '# ---- a walk that takes longer than anything is believed'
must mkdir /mnt/a/t/wide
must mkdir /mnt/a/t/wide/d{100..499}
for i in $(seq 100 499); do : >"/mnt/a/t/wide/d$i/f"; done
must sync -f /mnt/a
must umount /mnt/b
must cmount 2 shared,cache_ttl=1 disk /mnt/b
ID=$(mount_id /mnt/b)
walk() {
	local i
	for i in $(seq "$1" "$2"); do
		[ "$(names "/mnt/b/t/wide/d$i")" = f ] || return
	done
}
must ls -U /mnt/b/t/wide >/dev/null
costs 'of 200 directories' 100 walk 100 299
must mv /mnt/a/t/wide/d400 /mnt/a/t/wide/x400
must mkdir /mnt/a/t/wide/d400
must touch /mnt/a/t/wide/d400/new /mnt/a/t/wide/d401/new
must rm -r /mnt/a/t/wide/d402
must sync -f /mnt/a
check 'the next ones' walk 300 398
sleep 1.1
must ls /mnt/b/t/wide/d399 >/dev/null
is 'another under its name' "$(names /mnt/b/t/wide/d400)" new
is 'one with more in it' "$(names /mnt/b/t/wide/d401)" 'f new'
check 'one that is gone' test ! -e /mnt/b/t/wide/d402
is 'one that was moved' "$(names /mnt/b/t/wide/x400)" f
check 'and the rest' walk 403 499

echo '# ---- while it changes'
must mkdir /mnt/a/t/turn
for i in $(seq 40); do printf "%03d" {1..100} >"/mnt/a/t/turn/$i"; done
must sync -f /mnt/a
# every file is rewritten, whole, by rename and in place, and names come and go
(
	for round in $(seq 6); do
		for i in $(seq 40); do
			printf "%.0s$((round % 10))" {1..300} >/mnt/a/t/turn/tmp
			mv /mnt/a/t/turn/tmp "/mnt/a/t/turn/$i"
		done
		mkdir -p "/mnt/a/t/turn/d$round/x" && rm -rf "/mnt/a/t/turn/d$((round - 3))"
		sync -f /mnt/a
	done
) & pid=$!
rounds=0 torn=0
while kill -0 $pid 2>/dev/null; do
	rounds=$((rounds + 1))
	find /mnt/c/t/turn >/dev/null 2>&1
	for i in $(seq 40); do
		text=$(cat "/mnt/c/t/turn/$i" 2>/dev/null) || continue
		# one text: a digit 300 times, or the first
		[ -z "${text//${text:0:1}/}" ] || [ "${text:0:9}" = 001002003 ] || torn=$((torn + 1))
		[ ${#text} = 300 ] || torn=$((torn + 1))
	done
done
check 'the writer' wait $pid
is "in $rounds rounds no file is anything but one of its states" $torn 0
sleep 1.1
check 'and in the end it is the last' diff -r /mnt/a/t/turn /mnt/c/t/turn

must umount /mnt/a
must umount /mnt/b
must umount /mnt/c
stop_server
check 'the store is in order' archil-server check "$STORE"
