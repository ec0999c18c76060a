#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Exactly once. First the reply to each kind of request is lost, one at a time: it is asked
# again, and carried out once. Then the server is killed again and again, at random, while two
# clients change things, and take a directory from each other.
#
#     web-1  /mnt/a (shared) --- lossproxy ---+--- server
#     web-2  /mnt/b (shared) -----------------+

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lossproxy.sh"

KILLS=${ARCHIL_LONG:+200}
KILLS=${KILLS:-20}

# stat_of NAME: a counter of the server's
stat_of() {
	archil-server session list "$STORE" disk --json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" |
		head -n 1
}
has_lost() { [ "$(grep -c "^lost $1\$" $SAID)" -gt "$2" ]; }

# lost OP CMD...: the reply to its first request OP is lost; it succeeds all the same
lost() {
	local op=$1 before
	before=$(grep -c "^lost $op\$" $SAID)
	shift
	echo "lose $op" >&9
	sleep 0.1
	check "without the reply to $op: $*" "$@"
	check 'which was lost' wait_until 5 has_lost "$op" "$before"
}

# once OP CMD...: the same, and the server has carried out one request and answered one again
once() {
	local changes repeated
	changes=$(stat_of changes) repeated=$(stat_of repeated)
	lost "$@"
	is 'carried out once, and answered again once' \
		"$(($(stat_of changes) - changes)) $(($(stat_of repeated) - repeated))" '1 1'
}

append() { echo "$1" >>"$2"; }
append_synced() { echo "$1" >>"$2" && sync "$2"; }

net_up 2
start_server
start_agent 1
start_agent 2
start_proxy

echo '# ---- a mount'
for op in OPEN_SESSION BIND CREDIT; do
	lost $op proxied /mnt/x
	must umount /mnt/x
done
must proxied /mnt/x
lost INOS touch /mnt/x/f
must sync -f /mnt/x
lost STATFS df /mnt/x
lost CLOSE_SESSION umount /mnt/x
is 'no session is left' "$(archil-server session list "$STORE" disk | grep -c web-)" 0

echo '# ---- ownership and names'
must proxied /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/b/free /mnt/b/theirs
echo old >/mnt/b/free/old
must sync -f /mnt/b
must archilctl checkin /mnt/b/free
once CHANGE mkdir /mnt/a/p
once CHANGE mkdir /mnt/a/q
once CHANGE touch /mnt/a/free/new
once CHANGE ln -s target /mnt/a/free/symlink
echo x >/mnt/a/p/x
echo y >/mnt/a/q/y
for n in 1 2 3; do
	once CHANGE exchange /mnt/a/p/x /mnt/a/q/y
	is "after $n exchanges" "$(cat /mnt/a/p/x /mnt/a/q/y | tr -d '\n')" "$([ $((n % 2)) = 1 ] && echo yx || echo xy)"
done
once CHANGE ln /mnt/a/p/x /mnt/a/q/link
is 'two links' "$(stat -c %h /mnt/a/p/x)" 2
once CHANGE rm /mnt/a/q/link
is 'one link' "$(stat -c %h /mnt/a/p/x)" 1
once CHANGE mv /mnt/a/p/x /mnt/a/q/x
once GRANT append more /mnt/a/free/old
must sync /mnt/a/free/old
is 'it has two lines' "$(sleep 1.1; wc -l </mnt/b/free/old)" 2
once GRANT archilctl checkout /mnt/a/free
once CHECKIN archilctl checkin /mnt/a/free
once GRANT archilctl checkout --force --yes /mnt/a/theirs
is 'owned, once' "$(archilctl delegations /mnt/a | grep -c theirs)" 1
once CHECKIN archilctl checkin /mnt/a/theirs
echo "lose RESUME" >&9
kill_agent 1
start_agent 1
check 'a lost RESUME' wait_until 20 has_lost RESUME 0
check 'the agent comes back all the same' timeout 30 archilctl checkout /mnt/a/free

echo '# ---- log and data'
records=$(stat_of records)
sent() { archilctl status /mnt/a | sed -n 's/.* \([0-9]*\) records sent.*/\1/p'; }
must sync -f /mnt/a
before=$(sent)
for n in 1 2 3; do
	lost LOG append_synced "$n" /mnt/a/p/lines
	lost LOG sh -c 'exchange /mnt/a/q/x /mnt/a/q/y && sync -f /mnt/a'
	must sync -f /mnt/a
	is "after $n exchanges" "$(sleep 1.1; cat /mnt/b/q/x /mnt/b/q/y | tr -d '\n')" \
		"$([ $((n % 2)) = 1 ] && echo xy || echo yx)"
done
is 'each line once' "$(tr '\n' ' ' </mnt/b/p/lines)" '1 2 3 '
is 'each record took effect once' $(($(stat_of records) - records)) $(($(sent) - before))
check 'and some arrived twice' test "$(stat_of suppressed)" -gt 0
head -c 3000000 /dev/urandom >/tmp/data
lost WRITE dd if=/tmp/data of=/mnt/a/p/data bs=1M conv=fsync status=none
lost READ sh -c 'echo 1 >/proc/sys/vm/drop_caches; cmp /tmp/data /mnt/a/p/data'
check 'it is the same elsewhere' sh -c 'sleep 1.1; cmp /tmp/data /mnt/b/p/data'
for op in LOOKUP GETATTR READDIR; do
	lost $op sh -c 'sleep 1.1; echo 2 >/proc/sys/vm/drop_caches; ls -l /mnt/a/theirs /mnt/a/p'
done
must umount /mnt/a
stop_proxy

echo "# ---- the server is killed $KILLS times"
must cmount 1 shared disk /mnt/a
must mkdir /mnt/a/a1 /mnt/a/a2 /mnt/b/b1 /mnt/b/b2 /mnt/a/tug
secs=$((KILLS * 2 + 2))
work /mnt/a/a1 /mnt/a/a2 /mnt/a/free 1 $secs /tmp/trace.a >/tmp/work.1 2>&1 &
pids=($!)
work /mnt/b/b1 /mnt/b/b2 /mnt/b/free 2 $secs /tmp/trace.b >/tmp/work.2 2>&1 &
pids+=($!)
turns /mnt/a/tug /mnt/b/tug $secs >/tmp/turns 2>&1 &
pids+=($!)
for ((i = 1; i <= KILLS; i++)); do
	sleep $((RANDOM % 2)).$((RANDOM % 10))
	kill_server
	sleep 0.$((RANDOM % 10))
	start_server
done 2>/dev/null
texts=('random changes on client 1 are as remembered' 'and on client 2' 'a directory that changes hands')
outs=(work.1 work.2 turns)
for i in 0 1 2; do
	check "${texts[i]}" wait "${pids[i]}"
	cat "/tmp/${outs[i]}"
done
# what was forced away is said once
sync -f /mnt/a
sync -f /mnt/b
sleep 1.1
for top in a1 a2 b1 b2 free; do
	tree /mnt/a/$top >/tmp/$top.a
	tree /mnt/b/$top >/tmp/$top.b
	check "$top is the same on both ($(wc -l <"/tmp/$top.a") entries)" cmp /tmp/$top.a /tmp/$top.b
done
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
