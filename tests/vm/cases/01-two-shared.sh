#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Two shared mounts: whatever one made durable, the other reads byte for byte.
#
#     web-1  /mnt/a (shared)   owns /one     reads /two
#     web-2  /mnt/b (shared)   reads /one    owns /two
#
# A real tree of at least 5,000 files: what this machine has in /usr and /etc,
# small files first, so that it is not too much for an emulated machine.

. "$(dirname "$0")/../lib.sh"

FILES=5000

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b

# the tree: so many files up to 64 KiB, some big ones, all symlinks
(
	cd / || exit
	find usr etc -xdev -type f -size -33k 2>/dev/null | head -n $((FILES + 200))
	find usr -xdev -type f -size +1024k -size -5120k 2>/dev/null | head -n 4
	find usr etc -xdev -type l 2>/dev/null | head -n 500
) >/tmp/list
must test "$(wc -l </tmp/list)" -gt $FILES
must tar -C / -cf /tmp/one.tar --no-recursion --xattrs -T /tmp/list
must mkdir /tmp/one /tmp/two
must tar -C /tmp/one -xpf /tmp/one.tar --xattrs
# what the other client makes: a part of it, and what tar leaves out
(cd / && sed -n '1~9p' /tmp/list | tar -cf /tmp/two.tar --no-recursion -T -)
must tar -C /tmp/two -xpf /tmp/two.tar
for i in 1 2 3; do
	head -c $((i * 700001)) /dev/urandom >/tmp/two/random.$i
	truncate -s $((i * 5))M /tmp/two/random.$i
done
must mknod /tmp/two/dev c 1 3
must mkfifo /tmp/two/fifo
tree /tmp/one >/tmp/one.want
tree /tmp/two >/tmp/two.want
files=$(find /tmp/one -type f | wc -l)
check "the tree has $files files" test "$files" -ge $FILES

must mkdir /mnt/a/one /mnt/b/two
cp -a /tmp/two/. /mnt/b/two/ &
copy=$!
begin=$SECONDS
check 'the first client unpacks its tree' tar -C /mnt/a/one -xpf /tmp/one.tar --xattrs
check 'the second copies its own meanwhile' wait $copy
echo "# unpacking took $((SECONDS - begin)) s"
# unpacking set no times of directories that no archive member stands for
for d in one two; do
	(cd /tmp/$d && find . -type d -print0) >/tmp/$d.dirs
done
(cd /mnt/a/one && xargs -0 touch -c -d @1000000000 <../../../tmp/one.dirs)
(cd /tmp/one && xargs -0 touch -c -d @1000000000 <../one.dirs)
tree /tmp/one >/tmp/one.want

check 'sync on the first' sync -f /mnt/a
check 'sync on the second' sync -f /mnt/b
sleep 1.1

# same N TREE DIR
same() {
	run tree "$3/$2" >"/tmp/$2.$1"
	check "$2 is the same on client $1 ($(wc -l <"/tmp/$2.$1") entries)" \
		cmp "/tmp/$2.$1" "/tmp/$2.want" || diff "/tmp/$2.$1" "/tmp/$2.want" | head -n 20
}
same 2 one /mnt/b
same 1 two /mnt/a
same 1 one /mnt/a

# Nobody sees what is not durable; what is appended and synced arrives.
echo first >/mnt/a/one/grows
must sync /mnt/a/one/grows
sleep 1.1
is 'the first line is there' "$(</mnt/b/one/grows)" first
echo second >>/mnt/a/one/grows
must sync /mnt/a/one/grows
sleep 1.1
is 'and the second' "$(</mnt/b/one/grows)" $'first\nsecond'
exec {fd}</mnt/b/one/grows
echo third >/mnt/a/one/grows
must sync /mnt/a/one/grows
sleep 1.1
is 'a file that is open here and was truncated there' "$(cat <&$fd)" third
exec {fd}<&-

# A third mount, made now, knows nothing from memory.
must umount /mnt/b
must cmount 2 ro disk /mnt/b
same 2 two /mnt/b
expect_errno EROFS touch /mnt/b/one/grows
