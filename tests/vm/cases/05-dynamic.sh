#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Dynamic ownership (semantics.md, rule 7): what takes a delegation by itself, what takes
# none, what is not allowed without one; and two clients racing for the same name.
#
#     /             nobody's
#     +-- place     nobody's     both try to make things here
#
#     web-1  /mnt/a (shared)       web-2  /mnt/b (shared)

. "$(dirname "$0")/../lib.sh"

held() { archilctl delegations "$1" | awk 'NR > 1 { print $2, $NF }' | sort; }
# takes PATH CMD...: a test: it works, and takes this by itself, or nothing ("")
takes() {
	local want=${1:+dynamic $1}
	shift
	if run "$@"; then
		is "$* takes '$want'" "$(held /mnt/a)" "$want"
	else
		fail "$*: status $?"
	fi
	[ -z "$want" ] || must archilctl checkin "${want#dynamic }" >/dev/null
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/place
must archilctl checkin /mnt/a/place
cd /mnt/a/place || bail 'no place'

echo '# ---- making: the new thing is owned, the directory is not'
takes "$PWD/file" touch file
takes "$PWD/dir" mkdir dir
takes '' ln -s file link
takes '' mkfifo fifo
takes '' mknod null c 1 3
takes "$PWD/moved" cp -p file moved
mkdir tree
mkdir -p tree/a/b/c
touch tree/a/b/c/f
is 'beneath a new directory everything is owned through it' "$(held /mnt/a)" "dynamic $PWD/tree"
rm -r tree/a
is 'and can be removed' "$(ls -A tree)" ''
must archilctl checkin tree

echo '# ---- changing a file takes the file'
echo 'some text' >file
must archilctl checkin file
takes "$PWD/file" bash -c 'echo more >>file'
takes "$PWD/file" truncate -s 4 file
takes "$PWD/file" chmod 600 file
takes "$PWD/file" chown 1:1 file
takes "$PWD/file" touch -d @5 file
takes "$PWD/file" setfattr -n user.a -v b file
takes "$PWD/file" flock -x file true
takes '' flock -s file true
takes '' bash -c 'exec 5<>null; echo nothing >&5'
takes '' cat file
is 'it did what it should' "$(cat file) $(stat -c '%a %u %Y' file)" 'some 600 1 5'

echo '# ---- who may not write takes nothing'
nobody=(setpriv --reuid 65534 --clear-groups)
must chmod 644 file
check 'a shared lock' "${nobody[@]}" flock -s file true
check 'an exclusive one of what the session owns' "${nobody[@]}" \
	bash -c 'exec 5<file && flock -x -n 5'
shown=$("${nobody[@]}" archilctl delegations --json "$PWD/file")
is 'where a delegation is, its owner is told' "$(grep -c '"path": ""' <<<"$shown")" 1
must archilctl checkin file
# flock(1) opens it for writing when it hears EBADF
fails_with - 'Permission denied' "${nobody[@]}" flock -x file true
fails_with - 'Bad file descriptor' "${nobody[@]}" bash -c 'exec 5<file && flock -x -n 5'
is 'nothing was taken' "$(held /mnt/a)" ''
must chmod 600 file
must archilctl checkin file

echo '# ---- a delegation outlives the close'
echo x >file
is 'it is still held' "$(held /mnt/a)" "dynamic $PWD/file"
expect_errno EBUSY touch /mnt/b/place/file
must archilctl checkin file
check 'now the other can' touch /mnt/b/place/file
expect_errno EBUSY touch file
must archilctl checkin /mnt/b/place/file

echo '# ---- what needs the directory'
expect_errno EROFS rm file
expect_errno EROFS mv file other
expect_errno EROFS rmdir dir
expect_errno EROFS ln file other
expect_errno EROFS chmod 700 dir
expect_errno EROFS chmod 700 .
expect_errno EROFS setfattr -n user.a -v b .
expect_errno EROFS rm link
mkdir again
expect_errno EROFS rmdir again
is 'though it is owned itself' "$(held /mnt/a)" "dynamic $PWD/again"
check 'after checkout of the parent' archilctl checkout .
is 'what was held beneath is swallowed' "$(held /mnt/a)" "checkout $PWD"
check 'all of it works' bash -c 'rmdir again dir tree && mv file other && ln other file &&
	rm moved link && chmod 755 . && setfattr -n user.a -v b . && rm fifo null'
is 'and is done' "$(echo *)" 'file other'
cd / || exit
must archilctl checkin /mnt/a/place
is 'for the other too' "$(ls /mnt/b/place)" $'file\nother'

echo '# ---- names that exist, and that another makes first'
fails_with 1 'File exists' mkdir /mnt/b/place/file
must mkdir /mnt/b/place/new
fails_with 1 'File exists' mkdir /mnt/a/place/new
expect_errno EBUSY touch /mnt/a/place/new/f

echo '# ---- 1,000 races'
check 'exactly one wins each' race /mnt/a /mnt/b "${ARCHIL_LONG:+9}1000"
