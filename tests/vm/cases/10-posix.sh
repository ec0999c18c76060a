#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Real programs and POSIX: what is done on archil is done on ext4 as well, and must
# give the same; then another client reads what was written, then a new mount.
#
#     web-1  /mnt/a (shared)   owns /p, does everything in /p/t
#     web-2  /mnt/b (shared)   reads /p
#     /var/tmp/t (ext4)        the same things again

. "$(dirname "$0")/../lib.sh"

OURS=/mnt/a/p/t REF=/var/tmp/t OUT=/tmp/posix-out
OPS=${ARCHIL_LONG:+60000}
OPS=${OPS:-1500}
FILES=${ARCHIL_LONG:+2000}
FILES=${FILES:-200}
FIO=${ARCHIL_LONG:+64m}
FIO=${FIO:-6m}
SEED=${SEED:-$RANDOM}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/p
must mkdir -p $OURS $REF $OUT
chmod 755 /var/tmp

# both NAME CMD...: in a directory of that name, here and there; what it says must be the same
both() {
	local name=$1 where status=0
	shift
	show "$@"
	for where in ours ref; do
		local dir=$OURS/$name
		[ $where = ours ] || dir=$REF/$name
		mkdir "$dir"
		# the two are called the same in all that is said
		(cd "$dir" && "$@") 2>&1 | sed "s#$dir#DIR#g" >"$OUT/$name.$where"
		status=$((status + PIPESTATUS[0]))
	done
	compare "$name" $status
}

# compare NAME STATUS
compare() {
	echo "# at $SECONDS s"
	if [ "$2" = 0 ] && diff -U 2 "$OUT/$1.ref" "$OUT/$1.ours"; then
		ok "$1: as on ext4 ($(wc -l <"$OUT/$1.ours") lines)"
	else
		grep -h '^wrong' "$OUT/$1.ours" | head -n 20
		tail -n 5 "$OUT/$1.ours"
		fail "$1: other than on ext4, or a failure (status $2)"
	fi
}

# ---- system calls ----------------------------------------------------------

echo "# seed $SEED"
mkdir $OURS/fileops $OURS/dropped $OURS/gone
check 'attributes of what has no name any more' gone-attr $OURS/gone
# All at once: a log has more than one writer.
declare -A pids
for t in data names attrs; do
	mkdir $OURS/posix-$t $REF/posix-$t
	(
		posix-$t $REF/posix-$t >$OUT/$t.ref 2>&1
		posix-$t $OURS/posix-$t >$OUT/$t.ours 2>&1
	) &
	pids[$t]=$!
done
fileops $OURS/fileops "$OPS" "$SEED" >$OUT/fileops 2>&1 &
ops=$!
for t in data attrs names; do
	wait "${pids[$t]}"
	compare $t $?
done
check "contents changed at random are as remembered" wait $ops || tail -n 45 $OUT/fileops
while sleep 0.2; do echo 1 >/proc/sys/vm/drop_caches; done & dropper=$!
check 'the same while pages are dropped' fileops $OURS/dropped "$((OPS / 3))" "$((SEED + 1))"
kill $dropper

# ---- programs --------------------------------------------------------------

# some files that every Debian has
(cd / && find usr/share/perl usr/lib/git-core etc usr/include -xdev -type f -size -33k 2>/dev/null |
	sort | head -n "$FILES") >/tmp/list
must test "$(wc -l </tmp/list)" = "$FILES"

with_git() (
	export HOME=/tmp GIT_AUTHOR_DATE='2001-01-01 00:00:00 +0000' GIT_CONFIG_NOSYSTEM=1
	export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
	export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
	set -e
	git init -q -b main tree
	tar -C / -cf - -T /tmp/list | tar -C tree -xf -
	cd tree
	git add .
	git commit -q -m one
	git rev-parse HEAD
	git status --porcelain
	mkdir moved
	git mv etc moved/
	echo changed >>"$(git ls-files | head -n 1)"
	git status --porcelain | sort | md5sum
	git commit -q -a -m two
	git checkout -q -b side HEAD^
	git checkout -q main
	git clone -q . ../clone
	cd ../clone
	git fsck --full --strict
	git gc -q
	git fsck --full
	git log --oneline --stat | md5sum
	git status --porcelain
	git ls-files -s | md5sum
	rm -rf .git/index
	git reset -q --hard
	git status --porcelain
)
both git with_git

with_sqlite() {
	local mode
	for mode in wal delete truncate; do
		sqlite3 -bail $mode.db <<-EOF || return
			pragma journal_mode=$mode;
			create table t (id integer primary key, k text unique, v blob);
			create index v on t (v);
			begin;
			with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000)
				insert into t select i, 'key' || i, zeroblob(i % 500) from n;
			commit;
			update t set v = hex(id) where id % 3 = 0;
			delete from t where id % 7 = 0;
			begin;
			update t set k = k || '-undone';
			rollback;
			pragma integrity_check;
			select count(*), sum(id), sum(length(v)) from t;
		EOF
		# two at a time, each row its own transaction
		for who in 1 2; do
			seq 10 | sed "s/.*/insert into t (k) values ('$who-&');/" |
				sqlite3 -bail -cmd '.timeout 20000' $mode.db || echo failed &
		done
		wait
		sqlite3 $mode.db 'pragma integrity_check; select count(*) from t;
			select k from t order by k desc limit 3;'
		[ $mode != wal ] || sqlite3 $mode.db 'pragma wal_checkpoint(truncate); vacuum;'
	done
}
both sqlite with_sqlite

with_fio() {
	fio --minimal --directory=. --size="$FIO" --bs=4k --rw=randwrite --verify=crc32c \
		--randseed=7 --loops=1 --name=buffered --ioengine=psync \
		--name=mapped --ioengine=mmap --name=direct --ioengine=psync --direct=1 --bs=16k \
		>/dev/null && rm ./*.state && stat -c '%n %s' ./*
}
if command -v fio >/dev/null; then
	both fio with_fio
fi

with_copies() (
	set -e
	umask 022
	mkdir from
	cd from
	mkdir -p d/e 'a b' $'new\nline'
	head -c 100000 /dev/zero | tr '\0' z >big
	echo small >'a b/small'
	truncate -s 3M sparse
	echo end >>sparse
	ln big d/hard
	ln -s ../big d/sym
	ln -s /nowhere dangling
	mkfifo fifo
	mknod null c 1 3
	chown 1000:1001 d big
	chown -h 5:6 dangling
	chmod 04711 'a b/small'
	chmod 01777 d/e
	chmod 02750 d
	setfattr -n user.mime -v text/plain big
	setfattr -n trusted.t -v value d
	find . -exec touch -h -d '2020-02-02 02:02:02.020202020' {} +
	touch -d '1999-12-31 23:59:59.123456789' big d 'a b/small'
	touch -h -d '2031-01-01 00:00:00.000000001' dangling
	touch -d '1960-05-05 05:05:05.5' d/e fifo .
	cd ..
	# through pipes and archives, both ways
	tar --format=posix --warning=no-timestamp --xattrs --xattrs-include='*' -C from -cf - . |
		(mkdir tar && tar --warning=no-timestamp --xattrs --xattrs-include='*' -C tar -xpSf -)
	cp -a from cp
	cp -a --sparse=always cp cp2
	diff -r --no-dereference from/d cp2/d
	for copy in tar cp cp2; do
		echo "-- $copy"
		tree $copy
	done
	if command -v rsync >/dev/null; then
		rsync -aHXS --numeric-ids from/ rsync
		tree rsync
		echo more >>from/big
		rm from/fifo
		touch -d '2022-02-22 22:22:22' from from/big
		# what has changed, and nothing else
		rsync -aHXSi --numeric-ids --delete from/ rsync
		rsync -aHXi --numeric-ids --delete from/ rsync
		rsync -acHXin --numeric-ids --delete from/ rsync
	fi
	find from -samefile from/big | sort
	du -s --apparent-size cp2/sparse
	mv cp2 cp3
	rm -r cp3
	ls
)
both copies with_copies

with_compiler() (
	set -e
	cat >one.c <<-EOF
		#include <stdio.h>
		int two(int);
		int main(void) { printf("%d\n", two(21)); return 0; }
	EOF
	echo 'int two(int n) { return 2 * n; }' >two.c
	tcc -c one.c
	tcc -c two.c
	tcc -o prog one.o two.o
	./prog
	tcc -shared -o libtwo.so two.c
	tcc -o prog2 one.c -L. -ltwo
	LD_LIBRARY_PATH=. ./prog2
	# running what is being replaced
	cp prog prog.new
	mv prog.new prog
	./prog
	md5sum ./*.o
)
if command -v tcc >/dev/null; then
	both compiler with_compiler
fi

# ---- who else reads it -----------------------------------------------------

# of ten thousand files the names will do
must mv $OURS/posix-names/listing $OURS/../listing
check 'sync' sync -f /mnt/a
sleep 1.1
names() { find "$1" -printf '%f %y %i\n' | sort; }
check 'another client lists the same names' \
	cmp <(names /mnt/a/p/listing) <(names /mnt/b/p/listing)
echo "# at $SECONDS s"
tree $OURS >$OUT/tree.a || fail "the tree cannot be read"
tree /mnt/b/p/t >$OUT/tree.b
check "another client reads the same ($(wc -l <$OUT/tree.a) entries)" \
	cmp $OUT/tree.a $OUT/tree.b || diff $OUT/tree.a $OUT/tree.b | head -n 20

echo "# at $SECONDS s"
# blocks_of DIR: in 512 bytes, what a file of 20 MiB takes in which little was written
blocks_of() { stat -c %b "$1/posix-data/sparse/sparse"; }
check 'a sparse file takes little, as the other client sees it' test "$(blocks_of /mnt/b/p/t)" -le 64

must umount /mnt/a
must cmount 1 shared disk /mnt/a
check 'and as its owner does after mounting again' test "$(blocks_of $OURS)" -le 64
tree $OURS >$OUT/tree.again
check 'after mounting again it is the same' cmp $OUT/tree.a $OUT/tree.again ||
	diff $OUT/tree.a $OUT/tree.again | head -n 20
must archilctl checkout /mnt/a/p
for mode in wal delete truncate; do
	is "sqlite finds its $mode database whole" \
		"$(sqlite3 $OURS/sqlite/$mode.db 'pragma integrity_check')" ok
done
check 'git finds its repository whole' git -c safe.directory='*' -C $OURS/git/clone fsck --full
must rm -rf $OURS/sqlite
check 'they are removed' test ! -e $OURS/sqlite
echo "# at $SECONDS s"

must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
