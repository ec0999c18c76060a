#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An owner who needs nothing from the server asks it nothing; and what was made and removed
# before it was sent is never sent, nor twice what a file grows by.
#
#     web-1  /mnt/a (shared, commit=60)   owns /t and works there; the root, which nobody owns, it
#                                         need not ask about (cache_ttl=3600)
#            /mnt/f                       a disk that was never used
#     web-2  /mnt/b (shared)              reads what was synced

. "$(dirname "$0")/../lib.sh"

MNT=/mnt/a

# counter NAME: of that mount; of requests by their kind only those are said that there were
counter() {
	local n
	n=$(archilctl status "$MNT" --json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -n 1)
	echo "${n:-0}"
}

# asked: requests so far, but for those of statfs(2), which find and rm make to learn what they are on
asked() { echo $(($(counter requests) - $(counter STATFS))); }

# quiet TEXT COMMAND...: it works, and sends no request
quiet() {
	local text=$1 before after
	shift
	before=$(asked)
	check "$text" "$@"
	after=$(asked)
	is "$text: no request" "$((after - before))" 0
}

walk() { find /mnt/a/t -type f -size +0 | wc -l; }
list() { ls -lR /mnt/a/t; }
missing() { local i; for i in $(seq 200); do [ ! -e "/mnt/a/t/linux/not.$i" ] || return; done; }
read_all() { tar -cf /dev/null -C /mnt/a/t .; }
git_status() { git -C /mnt/a/t status --porcelain; }

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared,commit=60,cache_ttl=3600 disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/t
must cp -r /usr/include/linux /mnt/a/t/
must git -C /mnt/a/t init -q
must git -C /mnt/a/t add .
must git -C /mnt/a/t -c user.name=a -c user.email=a@b commit -qm all
must sync -f /mnt/a
find /mnt/a/t | sort >/tmp/names

echo '# ---- everything is in memory'
quiet 'a walk' walk
before=$(counter requests)
must walk >/dev/null
is 'the next asks not even for room' $(($(counter requests) - before)) 0
quiet 'a listing' list
quiet 'names that are not there' missing
quiet 'reading' read_all
quiet 'git status' git_status
# on a slow machine what git has refreshed may come of age (commit=60) in the middle of what follows
must sync -f /mnt/a
quiet 'creating, writing, renaming, linking, removing' bash -c '
	cd /mnt/a/t && mkdir new && for i in $(seq 100); do echo $i >new/$i; done &&
	mv new newer && ln newer/1 newer/one && rm -r newer/2* && ls -l newer && chmod 700 newer'
quiet 'names that are not there, beside what was replaced, and removed while open' bash -c '
	cd /mnt/a/t && echo 1 >one && echo 2 >two && mv two one && [ ! -e two ] && [ ! -e three ] &&
	exec 3<one && rm one && exec 3<&- && [ ! -e one ] && [ ! -e four ] && ls'
sleep 2
quiet 'a walk after a while' walk

echo '# ---- memory forgets'
echo 2 >/proc/sys/vm/drop_caches
check 'a listing all the same' cmp /tmp/names <(find /mnt/a/t ! -path '*/newer*' | sort)
must ls -lR /mnt/a/t >/tmp/first
before=$(asked)
ls -lR /mnt/a/t >/tmp/second
is 'the next listing asks nothing' "$(($(asked) - before))" 0
check 'and says the same' cmp /tmp/first /tmp/second

echo '# ---- made and removed'
must sync -f /mnt/a
before=$(counter records)
must cp -r /mnt/a/t/linux /mnt/a/t/copy
must rm -rf /mnt/a/t/copy
must sync -f /mnt/a
after=$(counter records)
echo "# $((after - before)) records were sent"
check 'only a time is left of it' test $((after - before)) -le 1

echo '# ---- files that grow'
# 100 files of 24 KiB in pieces of 8: the first two would travel in the log
grow() { local i; mkdir /mnt/a/t/grown && for i in $(seq 100); do
	head -c 24576 /dev/urandom | dd of="/mnt/a/t/grown/$i" bs=8k iflag=fullblock status=none || return; done; }
before=$(counter bytes_sent)
must grow
must sync -f /mnt/a
sent=$(($(counter bytes_sent) - before))
check "all bytes are sent once: $sent for 2457600" test "$sent" -lt 2700000
# one that somebody waits for while it is small, and one that another name waits for
must dd if=/dev/urandom of=/mnt/a/t/grown/synced bs=8k count=1 conv=fsync status=none
must dd if=/dev/urandom of=/mnt/a/t/grown/synced bs=8k count=3 seek=1 status=none
must dd if=/dev/urandom of=/mnt/a/t/grown/new bs=8k count=1 status=none
must mv /mnt/a/t/grown/new /mnt/a/t/grown/1
must dd if=/dev/urandom of=/mnt/a/t/grown/1 bs=8k count=3 seek=1 status=none

echo '# ---- and others see it'
must archilctl checkin /mnt/a/t
tree /mnt/a/t >/tmp/a.tree
tree /mnt/b/t >/tmp/b.tree
check 'the other client has the same tree' cmp /tmp/a.tree /tmp/b.tree

echo '# ---- where there was never anything'
# its attributes are known here from before the other client put something in
must mkdir /mnt/b/used
must stat /mnt/a/used
must touch /mnt/b/used/f
must archilctl checkin /mnt/b/used
must archilctl checkout /mnt/a/used
check 'a directory that others have used is not taken for empty' test -e /mnt/a/used/f
mkdir /mnt/a/used/f 2>/tmp/said
check 'nor can the name be made again' grep -q 'File exists' /tmp/said
disk_create fresh
must cmount 1 commit=60 fresh /mnt/f
MNT=/mnt/f
must mkdir /mnt/f/first
before=$(($(asked) - $(counter INOS)))
check 'names in the root of a disk that was never used' bash -c '
	for i in $(seq 50); do [ ! -e /mnt/f/no$i ] && mkdir /mnt/f/d$i || exit; done; ls /mnt/f'
check 'asks no more than once for them all, and for numbers of inodes' \
	test $(($(asked) - $(counter INOS) - before)) -le 3
is 'all are there' "$(find /mnt/f -mindepth 1 | wc -l)" 51
must umount /mnt/f
must cmount 1 '' fresh /mnt/f
is 'and after a mount' "$(find /mnt/f -mindepth 1 | wc -l)" 51

echo '# ---- what was there before the mount'
must mkdir /mnt/f/old /mnt/f/old/sub
for i in $(seq 300); do echo "$i" >"/mnt/f/old/$i" || break; done
must ln -s 7 /mnt/f/old/link
must umount /mnt/f
must cmount 1 commit=60 fresh /mnt/f
before=$(asked)
in_old() { bash -c '
	cd /mnt/f/old && for i in $(seq 100); do echo new >new$i && [ ! -e not$i ] && [ -s $i ] || exit; done &&
	for i in $(seq 20); do rm 2$i && mv 1$i moved$i || exit; done && ! mkdir 50 2>&- && readlink link'; }
check 'making, looking for, removing and renaming' in_old
after=$(asked)
echo "# $((after - before)) requests"
check 'asks for a few names, then for all of them' test $((after - before)) -le 16
find /mnt/f/old -printf "%f\n" | sort >/tmp/first
must umount /mnt/f
must cmount 1 '' fresh /mnt/f
find /mnt/f/old -printf "%f\n" | sort >/tmp/second
is 'all names are there' "$(wc -l </tmp/second)" 383
check 'and are those that were seen' cmp /tmp/first /tmp/second
must umount /mnt/f
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
