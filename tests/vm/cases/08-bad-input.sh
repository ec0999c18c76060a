#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Bad input from every side: a clear error each, nobody crashes, nothing is lost.
#
#     archilctl, mount ---- ioctl, fsconfig ----+
#     root's own messages -- generic netlink ---+-- kernel, web-1 --- badproxy ---+
#                                                   agent web-1 ---- badserver    +-- server
#                                               badclient ------------------------+
#     web-2 has no agent; badnl is one

. "$(dirname "$0")/../lib.sh"

SOURCE=$SERVER_ADDR:$PORT/disk
SEED=${SEED:-$RANDOM}
echo "# seed $SEED"

# says N WANTED SOURCE OPTION...: a test: the kernel answers the mount so: an errno, ok, or
# any errno ("*")
says() {
	local n=$1 want=$2 said begin=$SECONDS
	shift 2
	said=$(in_client "$n" timeout -s KILL 12 fsmount "$@" token="$TOKEN")
	if [[ $want = '*' && $said == E* || ${said%%$'\n'*} = "$want" ]]; then
		ok "mount $*: ${said//$'\n'/ } ($((SECONDS - begin)) s)"
	else
		fail "mount $*: ${said//$'\n'/ }; wanted $want"
	fi
}
agent_lives() { kill -0 "${AGENT_PIDS[1]}" && [ "$(</proc/"${AGENT_PIDS[1]}"/comm)" = archil-agent ]; }
server_lives() { kill -0 "$SERVER_PID"; }

net_up 2
must modprobe archil
start_server
disk_create other
TOKEN=$(<"$TOKENS/disk")

echo '# ---- one who may not mount'
before=$(threads | wc -l)
mkfifo /tmp/held
setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urm \
	fsmount --begin 300 </tmp/held >/tmp/begun &
begun=$!
exec 7>/tmp/held
check 'begins to, 300 times' wait_until 10 grep -q begun /tmp/begun
is 'which makes no kernel thread' "$(threads | wc -l)" "$before"
exec 7>&-
check 'and ends' wait $begun

echo '# ---- nobody there'
says 1 ENOTCONN "$SOURCE" shared timeo=1
start_agent 1
says 1 ETIMEDOUT "10.99.0.77:$PORT/disk" shared timeo=2
says 1 ETIMEDOUT "$SERVER_ADDR:1/disk" shared timeo=2
says 1 '*' "no.such.host.invalid/disk" shared timeo=2

echo '# ---- wrong names, options, secrets'
says 1 ENOENT "$SERVER_ADDR/nodisk" shared
says 1 ENOENT "$SOURCE:/no/such" shared
says 1 EINVAL "nonsense" shared
says 1 EINVAL "/disk" shared
says 1 '*' "$SERVER_ADDR:99999/disk" shared
says 1 '*' "$SERVER_ADDR/$(printf 'x%.0s' {1..300})" shared
says 1 '*' "$SOURCE:/../.." shared
says 1 EINVAL "$SOURCE" frob
says 1 EINVAL "$SOURCE" shared=yes
says 1 EINVAL "$SOURCE" commit=0
says 1 EINVAL "$SOURCE" commit=-1
says 1 EINVAL "$SOURCE" timeo=0
says 1 EINVAL "$SOURCE" timeo=99999999999999999999
says 1 EINVAL "$SOURCE" cache_ttl=abc
says 1 EINVAL "$SOURCE" force shared
says 1 EINVAL "$SOURCE" force ro
TOKEN=$(<"$TOKENS/other") says 1 EACCES "$SOURCE" shared
TOKEN=nonsense says 1 EINVAL "$SOURCE" shared
TOKEN=$(printf 'x%.0s' {1..255}) says 1 EINVAL "$SOURCE" shared
says 1 ok "$SOURCE" shared
fails_with 1 "unknown mount option 'frob'" in_client 1 mount -t archil \
	-o "shared,frob,tokenfile=$TOKENS/disk" "$SOURCE" /mnt
fails_with 32 'wrong token' in_client 1 mount -t archil \
	-o "shared,tokenfile=$TOKENS/other" "$SOURCE" /mnt
fails_with 7 'not in an archil file system' archilctl status /tmp
fails_with 2 'no command' archilctl frob
fails_with 2 . archilctl checkout
fails_with 2 . archilctl checkout --frob /mnt
fails_with - 'nostore|not a store|No such file' archil-server run /tmp/nostore
fails_with - 'exists|there is' archil-server disk create "$STORE" disk
fails_with - 'disk' archil-server disk create "$STORE" ../evil
fails_with - . archil-server run "$STORE" --listen nonsense

echo '# ---- a server that is none'
in_background server badserver 7465 >/tmp/badserver.said 2>&1
bad=$!
sleep 0.5
for ((i = 0; i < 17; i++)); do
	says 1 '*' "$SERVER_ADDR:7465/disk" shared timeo=1
done
is 'each of its answers was given' "$(sort -u /tmp/badserver.said | wc -l)" 17
check 'none was believed' bash -c '! grep wrong /tmp/badserver.said'
check 'another version is in the log of the agent' grep -q 'versions 7 to 8' "$LOGS/agent-1"
check 'the agent lives' agent_lives
kill $bad
wait $bad 2>/dev/null
must cmount 1 shared disk /mnt/a
must mkdir /mnt/a/d
echo 'still here' >/mnt/a/d/f
must sync -f /mnt/a

echo '# ---- ioctls'
check 'on a directory, a file, the device, and a symlink away' \
	badioctls "$SEED" /mnt/a /mnt/a/d /mnt/a/d/f /dev/archil
is 'they did nothing' "$(archilctl delegations /mnt/a | awk 'NR > 1 { print $2, $NF }')" \
	'dynamic /mnt/a/d'
fails_with 1 'no mount of number' archilctl abort 77777

echo '# ---- netlink'
check 'beside a live agent' in_client 1 badnl noise "$SEED" 3000
check 'the agent lives' agent_lives
for ((i = 0; i <= 7; i++)); do
	in_background c2 badnl agent $i >/tmp/badnl.said 2>&1
	bad=$!
	sleep 0.3
	says 2 '*' "$SOURCE" shared timeo=2
	check "an agent that lies, $i" wait $bad
	cat /tmp/badnl.said
done
in_background c2 badnl dies
bad=$!
sleep 0.3
says 2 ENOTCONN "$SOURCE" shared timeo=3
wait $bad
start_agent 2
check 'a true one has no trouble after them' cmount 2 shared disk /mnt/b
is 'and reads' "$(cat /mnt/b/d/f)" 'still here'

echo '# ---- a client that is none'
check 'the server refuses all of it' in_client 2 badclient "$SERVER_ADDR" $PORT disk "$TOKENS/disk" \
	"$SEED" 800
check 'the server lives' server_lives
check 'a version that is not ours is in its log' grep -qE 'version.*(90|99)' "$LOGS/server"
is 'nothing was changed' "$(cd /mnt/b && find . | sort | tr '\n' ' ')" '. ./d ./d/f '
check 'and work goes on' bash -c 'echo more >>/mnt/a/d/f && sync /mnt/a/d/f'
must umount /mnt/b

echo '# ---- what breaks on the way'
in_background server badproxy 7466 "$SERVER_ADDR" $PORT >/tmp/badproxy.said 2>&1
bad=$!
sleep 0.3
must umount /mnt/a
must in_client 1 mount -t archil -o "shared,tokenfile=$TOKENS/disk" "$SERVER_ADDR:7466/disk" /mnt/a
must mkdir /mnt/a/w1 /mnt/a/w2 /mnt/a/free
must archilctl checkin /mnt/a/free
work /mnt/a/w1 /mnt/a/w2 /mnt/a/free "$SEED" 23 >/tmp/work.said 2>&1 &
work=$!
for ((i = 0; i < 15; i++)); do
	sleep 1.3
	kill -USR1 $bad
done
check 'programs did not notice' wait $work
cat /tmp/work.said
check 'though enough was broken' test "$(sort -u /tmp/badproxy.said | wc -l)" -ge 10
sort /tmp/badproxy.said | uniq -c
check 'the agent lives' agent_lives
check 'the server lives' server_lives
archilctl status /mnt/a | grep -E 'connection|requests'
must sync -f /mnt/a
must cmount 2 ro disk /mnt/b
for d in w1 w2 free; do
	tree /mnt/a/$d >/tmp/$d.a
	tree /mnt/b/$d >/tmp/$d.b
	check "$d is the same without the proxy" cmp /tmp/$d.a /tmp/$d.b
done
must umount /mnt/a
kill $bad
wait $bad 2>/dev/null
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
