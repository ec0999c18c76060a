#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Files in large folios, where the kernel has them: what is written, stored, cut and punched in them is
# right, here and elsewhere, and who changes 4 KiB of one sends 4 KiB.
#
#     web-1  /mnt/a (shared)   owns /t and works there, under memory that is taken away
#     web-2  /mnt/b (shared)   reads

. "$(dirname "$0")/../lib.sh"

TRACING=/sys/kernel/tracing
SEED=${SEED:-$RANDOM}
LONG=${ARCHIL_LONG:+200}
echo "# seed $SEED"

counter() { archilctl status /mnt/a --json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -n 1; }
large() { grep -c 'order=[1-9]' $TRACING/trace; }

# sends TEXT MOST COMMAND...: it works, and no more bytes than MOST go to the server
sends() {
	local text=$1 most=$2 before sent
	shift 2
	must sync -f /mnt/a
	before=$(counter bytes_sent)
	check "$text" "$@"
	sent=$(($(counter bytes_sent) - before))
	check "$text: $sent bytes are sent, at most $most" test $sent -le "$most"
}

# changes N: N pages of big here and there, each synced
changes() {
	perl -MIO::Handle -e '
		open(my $f, "+<", "/mnt/a/t/big") or die $!;
		for (1..$ARGV[0]) {
			seek($f, 4096 * int(rand(4096)), 0);
			syswrite($f, chr(65 + $_ % 26) x 4096) == 4096 && $f->sync or die $!;
		}' "$1"
}

# ends: both ends of each 512 KiB
ends() {
	perl -MIO::Handle -e '
		open(my $f, "+<", "/mnt/a/t/big") or die $!;
		for (0..31) {
			seek($f, ($_ << 19), 0);
			syswrite($f, "first") or die $!;
			seek($f, ($_ + 1 << 19) - 4, 0);
			syswrite($f, "last") or die $!;
		}
		$f->sync or die $!'
}

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/t
mount -t tracefs none $TRACING 2>/dev/null

echo '# ---- they are large'
if [ -d /sys/kernel/mm/transparent_hugepage ]; then
	echo 1 >$TRACING/events/filemap/mm_filemap_add_to_page_cache/enable
	must dd if=/dev/urandom of=/mnt/a/t/big bs=1M count=16 status=none
	check "writing made $(large) large folios" test "$(large)" -ge 8
	must sync -f /mnt/a
	echo 1 >/proc/sys/vm/drop_caches
	echo >$TRACING/trace
	must cat /mnt/a/t/big >/dev/null
	check "reading made $(large) large folios" test "$(large)" -ge 4
	echo 0 >$TRACING/events/filemap/mm_filemap_add_to_page_cache/enable
else
	echo '# this kernel has none'
	must dd if=/dev/urandom of=/mnt/a/t/big bs=1M count=16 status=none
fi

echo '# ---- what was changed is sent, and not what is beside it'
sends '100 pages of what was read ahead' $((100 * 4096 * 2)) changes 100
must dd if=/dev/urandom of=/mnt/a/t/big bs=1M count=16 status=none
sends '100 pages of what was written' $((100 * 4096 * 2)) changes 100
same() { cmp /mnt/a/t/big /mnt/b/t/big; }
check 'the other reads the same' same
check 'both ends of something large' ends
check 'the other reads the same, when what it has is too old' wait_until 20 same
is 'the first of them' "$(head -c 5 /mnt/b/t/big)" first
is 'the last' "$(tail -c 4 /mnt/b/t/big)" last

echo '# ---- everything, at random, with memory taken away'
takers=
while :; do echo 3 >/proc/sys/vm/drop_caches; sleep 0.3; done & takers+=" $!"
while :; do sync -f /mnt/a; sleep 0.1; done & takers+=" $!"
for n in $(seq "${LONG:-4}"); do
	seed=$((SEED * 1000 + n))
	check "seed $seed" fsx /mnt/a/t/file $seed 2000
	must cmp should /mnt/b/t/file
	must rm /mnt/a/t/file
done
# shellcheck disable=SC2086
kill $takers
check 'a small one, in a place of its own' fsx /mnt/a/t/file $((SEED * 1000)) 2000
must sync -f /mnt/a
echo 3 >/proc/sys/vm/drop_caches
check 'read again from the server' cmp should /mnt/a/t/file
check 'and by the other' cmp should /mnt/b/t/file
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
