#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The ancestor rule, recursion, swallowing, giving back.
#
#     /                 nobody can own it while ...
#     +-- group         ... nor this
#         +-- models    web-1 owns this
#         +-- data      and web-2 this
#
#     web-1  /mnt/a (shared)       web-2  /mnt/b (shared)

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../fds.sh"

since='\(since [^)]*[0-9]{2}:[0-9]{2}:[0-9]{2}\)'

# held MOUNTPOINT: what it owns, a line each: origin and path
held() { archilctl delegations "$1" | awk 'NR > 1 { print $2, $NF }' | sort; }

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir -p /mnt/a/group/models/m1 /mnt/a/group/data
must archilctl checkin /mnt/a/group

echo '# ---- the ancestor rule'
is 'checkout' "$(archilctl checkout /mnt/a/group/models)" '/mnt/a/group/models: checked out'
is 'is listed' "$(held /mnt/a)" 'checkout /mnt/a/group/models'
fails_with 3 "/mnt/b/group: /mnt/b/group/models is owned by client web-1 $since: ask it to check in, or use --force" \
	archilctl checkout /mnt/b/group
fails_with 3 "group/models is owned by client web-1" archilctl checkout /mnt/b
fails_with 3 "^archilctl: /mnt/b/group/models is owned by client web-1 $since: ask" \
	archilctl checkout /mnt/b/group/models
fails_with 3 "group/models is owned by client web-1" archilctl checkout /mnt/b/group/models/m1
check 'what lies beside it is free' archilctl checkout /mnt/b/group/data
fails_with 3 "/mnt/a/group/data is owned by client web-2" archilctl checkout /mnt/a
fails_with 3 "/mnt/a/group/data is owned by client web-2" archilctl checkout /mnt/a/group
expect_errno EROFS rm -r /mnt/a/group
expect_errno EBUSY touch /mnt/a/group/data/x
fails_with 3 'data is owned.*' archilctl checkout /mnt/a/group/data /mnt/a/group/models
is 'of several paths each is tried' "$(held /mnt/a)" 'checkout /mnt/a/group/models'

echo '# ---- recursion'
check 'what is created beneath is owned' mkdir -p /mnt/a/group/models/m1/x/y/z
check 'at any depth' touch /mnt/a/group/models/m1/x/y/z/f
must sync -f /mnt/a
sleep 1.1
expect_errno EBUSY touch /mnt/b/group/models/m1/x/y/z/f
is 'and needs no delegation of its own' "$(held /mnt/a)" 'checkout /mnt/a/group/models'
is 'checkout of what is owned already' "$(archilctl checkout /mnt/a/group/models)" \
	'/mnt/a/group/models: owned already'
is 'and through what' "$(archilctl checkout /mnt/a/group/models/m1/x)" \
	'/mnt/a/group/models/m1/x: owned already, through /mnt/a/group/models'

echo '# ---- giving back'
fails_with 5 '/mnt/a/group/models/m1 lies in /mnt/a/group/models, which is held as a whole' \
	archilctl checkin /mnt/a/group/models/m1
fails_with 4 'nothing is held' archilctl checkin /mnt/a/group/data
fails_with 4 'nothing is held' archilctl checkin /mnt/b/group/models
is 'it is still held' "$(held /mnt/a)" 'checkout /mnt/a/group/models'
must mkdir /mnt/a/one /mnt/a/two
echo 1 >/mnt/a/group/file
is 'three more, of themselves' "$(held /mnt/a)" 'checkout /mnt/a/group/models
dynamic /mnt/a/group/file
dynamic /mnt/a/one
dynamic /mnt/a/two'
is 'checkin of a directory gives back all beneath' "$(archilctl checkin /mnt/a/group)" \
	'/mnt/a/group: checked in (2 delegations)'
is 'and nothing else' "$(held /mnt/a)" 'dynamic /mnt/a/one
dynamic /mnt/a/two'
is 'it was written back: the other reads it at once' "$(</mnt/b/group/file)" 1
check 'and can own it' archilctl checkout /mnt/b/group/file
must archilctl checkin /mnt/b/group

echo '# ---- swallowing'
fds_start
echo 2 >/mnt/a/one/f
fd ok open f rw /mnt/a/one/f
fd ok map f 4096
fd ok store f 0 3
for i in 1 2 3 4 5 6 7 8 9 10; do
	echo "$i" >"/mnt/a/two/$i"
done
is 'checkout of the root' "$(archilctl checkout /mnt/a)" '/mnt/a: checked out'
is 'swallows what the session held beneath' "$(held /mnt/a)" 'checkout /mnt/a'
fd ok pwrite f 1 swallowed
fd ok store f 0 4
fd ok fsync f
check 'what was held before can be changed' touch /mnt/a/two/11
check 'and what was not' mkdir /mnt/a/group/data/new
check 'rename from one to the other' mv /mnt/a/two/1 /mnt/a/one/1
must archilctl checkin /mnt/a
is 'all of it arrives' "$(cat /mnt/b/one/f /mnt/b/one/1 /mnt/b/two/10)" $'4swallowed1\n10'

echo '# ---- old descriptors after checkin'
must archilctl checkout /mnt/a/one
echo 'some text' >/mnt/a/one/old
for n in w r; do
	fd ok open $n rw /mnt/a/one/old
	fd ok map $n 4096
done
fd ok open ro r /mnt/a/one/old
fd ok store w 0 S
is 'checkin writes back' "$(archilctl checkin /mnt/a/one)" '/mnt/a/one: checked in'
is 'stores too' "$(</mnt/b/one/old)" 'Some text'

# changes ERRNO: each way to change the file through the descriptor
changes() {
	fd "$1" write w x
	fd "$1" pwrite w 5 x
	fd "$1" trunc w 3
	fd "$1" falloc w 0 10000
	fd "$1" punch w 0 5
	fd "$1" chmod w 600
	fd "$1" chmod ro 600
	fd "$1" chown w 5 6
	fd "$1" utime w 1000
	fd "$1" setxattr w user.x y
	fd "$1" flock w ex
	fd "$1" lock w w
	fd SIGBUS store w 0 X
}
echo '# nobody owns it'
changes EROFS
is 'none of these took it' "$(held /mnt/a)" ''
fd ok flock w sh
fd 'Some text?' pread w 0 100
fd 'Some text' load w 0 9
fd ok fsync w
echo '# another owns it'
must archilctl checkout /mnt/b/one/old
changes EBUSY
echo 'from the other' >/mnt/b/one/old
must sync /mnt/b/one/old
sleep 1.1
fd 'from the other?' pread w 0 100
must archilctl checkin /mnt/b/one/old
echo '# opened anew'
fd ok open new rw /mnt/a/one/old
is 'that takes it' "$(held /mnt/a)" 'dynamic /mnt/a/one/old'
fd ok pwrite new 0 From
must archilctl checkin /mnt/a/one/old
echo '# checked out'
must archilctl checkout /mnt/a/one/old
fd ok pwrite w 0 FROM
fd ok store r 1 r
fd ok chmod ro 640
fd ok setxattr w user.x y
fd ok fsync w
fd 'FrOM the other?' pread ro 0 100
must archilctl checkin /mnt/a/one
fds_end

echo '# ---- what cannot be checked out'
must archilctl checkout /mnt/a/one
must mkfifo /mnt/a/one/fifo
must ln -s old /mnt/a/one/link
must archilctl checkin /mnt/a/one
fails_with 1 'neither a regular file nor a directory' archilctl checkout /mnt/a/one/fifo
is 'a symlink is followed' "$(archilctl checkout /mnt/a/one/link)" '/mnt/a/one/link: checked out'
is 'to its target' "$(held /mnt/a)" 'checkout /mnt/a/one/old'
fails_with 1 'No such file' archilctl checkout /mnt/a/nothing
fails_with 7 'not in an archil file system' archilctl checkout /tmp
must chmod 600 /mnt/a/one/old
fails_with 6 'permission' setpriv --reuid 65534 --clear-groups archilctl checkout /mnt/a/two
must archilctl checkin /mnt/a/one/old

echo '# ---- hard links: a file belongs to where its home is'
must archilctl checkout /mnt/a
must mkdir /mnt/a/home /mnt/a/away
echo 'two names' >/mnt/a/home/f
must ln /mnt/a/home/f /mnt/a/away/f
must archilctl checkin /mnt/a
must archilctl checkout /mnt/a/home
must archilctl checkout /mnt/b/away
expect_errno EBUSY chmod 640 /mnt/b/away/f
check 'the owner of the home changes it by either name' chmod 640 /mnt/a/away/f
is 'the owner of the other place cannot, but may remove its name' \
	"$(rm -v /mnt/b/away/f)" "removed '/mnt/b/away/f'"
sleep 1.1
is 'the owner is told of the link count' "$(stat -c %h /mnt/a/home/f)" 1
check 'and can go on' bash -c 'echo more >>/mnt/a/home/f'
must archilctl checkin /mnt/a/home
is 'nothing was lost' "$(</mnt/b/home/f)" $'two names\nmore'

echo '# ---- what is held is given back from where it was moved to'
must archilctl checkin /mnt/b
must archilctl checkout /mnt/a
must mkdir -p /mnt/a/from/dir/held /mnt/a/into
must archilctl checkin /mnt/a
cd /mnt/a/from/dir/held || exit 1
must archilctl checkout /mnt/b
must mv /mnt/b/from/dir /mnt/b/into/dir
must archilctl checkin /mnt/b
is 'what is known by its old name' "$(archilctl checkout .)" '.: checked out'
cd /
must wait_until 10 test -d /mnt/a/into/dir/held
is 'lies beneath the new one' "$(archilctl checkin /mnt/a/into)" '/mnt/a/into: checked in'
is 'and is held no more' "$(held /mnt/a)" ''
