#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mount.archil, umount.archil and archilctl: what they say, their exit statuses,
# and that a token is seen nowhere.
#
#     web-1  /mnt/a ---+
#     web-1  /mnt/c ---+---- server, disk "disk"
#     web-2  /mnt/b ---+

. "$(dirname "$0")/../lib.sh"

SOURCE=$SERVER_ADDR:$PORT/disk
mnt() { local n=$1; shift; in_client "$n" timeout 60 mount -t archil "$@"; }
helper() { local n=$1; shift; in_client "$n" timeout 60 mount.archil "$@"; }

net_up 2
mkdir -p /mnt/a /mnt/b /mnt/c
must modprobe archil

# ---- before anything runs ----------------------------------------------------

export ARCHIL_MOUNT_TOKEN
TOKEN_WRONG=archil1-nonsense
fails_with 32 "$SOURCE: no archil-agent is running in this network namespace" \
	mnt 1 -o shared,timeo=2 "$SOURCE" /mnt/a
start_agent 1
start_agent 2
start_server
stop_server
ARCHIL_MOUNT_TOKEN=$(<"$TOKENS/disk")
fails_with 32 "cannot reach $SERVER_ADDR:$PORT: Connection refused" \
	mnt 1 -o shared,timeo=3 "$SOURCE" /mnt/a
start_server

# ---- mounting that fails -----------------------------------------------------

fails_with 32 'the server has no disk nodisk' mnt 1 -o shared "$SERVER_ADDR/nodisk" /mnt/a
fails_with 32 'no such|no directory|No such file' mnt 1 -o shared "$SOURCE:/no/such" /mnt/a
fails_with 1 "unknown mount option 'frob'" mnt 1 -o shared,frob "$SOURCE" /mnt/a
fails_with 1 'not of the form SERVER' mnt 1 nonsense /mnt/a
fails_with 1 'force cannot go together with shared' helper 1 "$SOURCE" /mnt/a -o shared,force
fails_with 1 'force cannot go together with ro' mnt 1 -o ro,force "$SOURCE" /mnt/a
fails_with 32 'mount point /mnt/no' helper 1 "$SOURCE" /mnt/no -o shared
fails_with 32 'mount point /etc/passwd is not a directory' helper 1 "$SOURCE" /etc/passwd -o shared
fails_with - "$SOURCE: .*commit" mnt 1 -o shared,commit=abc "$SOURCE" /mnt/a
ARCHIL_MOUNT_TOKEN=$TOKEN_WRONG
fails_with 1 'ARCHIL_MOUNT_TOKEN: ' mnt 1 -o shared "$SOURCE" /mnt/a
disk_create other
ARCHIL_MOUNT_TOKEN=$(<"$TOKENS/other")
fails_with 32 'wrong token for disk disk' mnt 1 -o shared "$SOURCE" /mnt/a
unset ARCHIL_MOUNT_TOKEN
fails_with 32 'no token for disk disk' mnt 1 -o shared "$SOURCE" /mnt/a
cp "$TOKENS/disk" /tmp/open-token
chmod 644 /tmp/open-token
fails_with 1 '/tmp/open-token is open to others' mnt 1 -o shared,tokenfile=/tmp/open-token "$SOURCE" /mnt/a
fails_with 1 'does not belong on a command line' mnt 1 -o "shared,token=$TOKEN_WRONG" "$SOURCE" /mnt/a
is 'nothing is mounted' "$(archil_mounts)" ''

# ---- mounting ----------------------------------------------------------------

ARCHIL_MOUNT_TOKEN=$(<"$TOKENS/disk")
export ARCHIL_MOUNT_TOKEN
check 'with the token of the environment, options of mount(8)' \
	mnt 1 -o shared,_netdev,nofail,x-test=1,nosuid,nodev,noexec,noatime "$SOURCE" /mnt/a
unset ARCHIL_MOUNT_TOKEN
is 'attributes' "$(awk '$2 == "/mnt/a" { print $4 }' /proc/mounts | grep -c nosuid,nodev,noexec,noatime)" 1
check 'by hand' helper 2 "$SOURCE" /mnt/b -o "shared,tokenfile=$TOKENS/disk" -v
seen() { cat /proc/mounts /proc/*/mountinfo "$LOGS"/agent-* /sys/kernel/debug/archil/*/* 2>/dev/null; dmesg; }
is 'no token is seen' "$(seen | grep -cF "$(<"$TOKENS/disk")")" 0
is 'nor in a process' "$(tr '\0' '\n' 2>/dev/null </proc/"${AGENT_PIDS[1]}"/environ | grep -c archil1-)" 0

# ---- archilctl ---------------------------------------------------------------

check 'checkout, checkin' bash -c 'mkdir /mnt/a/group /mnt/a/group/models && archilctl checkin /mnt/a/group'
check 'own' archilctl checkout /mnt/a/group/models
fails_with 3 'archilctl: /mnt/b/group/models is owned by client web-1 \(since [0-9:]*\): ask it to check in, or use --force' \
	archilctl checkout /mnt/b/group/models
fails_with 3 'archilctl: /mnt/b/group: /mnt/b/group/models is owned by client web-1' \
	archilctl checkout /mnt/b/group
check 'a sibling is free' mkdir /mnt/b/group/data
check 'options may follow the paths' archilctl delegations /mnt/b --json
is 'listed with local paths' "$(archilctl delegations /mnt/b | awk 'NR > 1 { print $1, $2, $NF }')" \
	'live dynamic /mnt/b/group/data'
check 'owned already' archilctl checkout /mnt/a/group/models
is 'it says through what' "$(touch /mnt/a/group/models/x; archilctl checkout /mnt/a/group/models/x)" \
	'/mnt/a/group/models/x: owned already, through /mnt/a/group/models'
fails_with 5 '/mnt/a/group/models/x lies in /mnt/a/group/models, which is held as a whole' \
	archilctl checkin /mnt/a/group/models/x
fails_with 4 '/mnt/a/group/data: nothing is held there' archilctl checkin /mnt/a/group/data
fails_with 3 'owned by client' archilctl checkout /mnt/b/group/data /mnt/b/group/models
fails_with 7 '/tmp is not in an archil file system' archilctl checkout /tmp
fails_with 7 'not in an archil file system' archilctl status /tmp
fails_with 7 'not in an archil file system' archilctl delegations /tmp
fails_with 1 '/mnt/a/none: No such file' archilctl checkout /mnt/a/none
mkfifo /mnt/a/group/models/fifo
fails_with 1 'neither a regular file nor a directory' timeout 5 archilctl checkout /mnt/a/group/models/fifo
fails_with 2 'Usage: archilctl checkout' archilctl checkout
fails_with 2 'unrecognized option' archilctl checkin --json /mnt/a
fails_with 2 'needs --yes' archilctl checkout --force /mnt/b/group/models </dev/null
fails_with 2 'no command' archilctl frob
chmod 755 /mnt/a/group/models
fails_with 6 'no permission' setpriv --reuid 1000 --clear-groups archilctl checkout /mnt/b/group/models
fails_with 6 'only root' setpriv --reuid 1000 --clear-groups archilctl abort /mnt/b
check 'forced' archilctl checkout /mnt/b/group/models --force --yes
fails_with 3 'owned by client web-2' archilctl checkout /mnt/a/group/models
taken() { archilctl status /mnt/a | grep -q '1 taken by force'; }
check 'status counts it' wait_until 5 taken
# at a terminal it asks
answer() { script -qec "archilctl checkout --force /mnt/a/group/models" /dev/null <<<"$1"; }
fails_with 3 'owned by client web-2.*Take it away\? \[y/N\].*left as it is' answer n
check 'and does it' answer y
is 'it is ours' "$(archilctl delegations /mnt/a | awk 'NR > 1 { print $1, $2, $NF }')" \
	'live checkout /mnt/a/group/models'

# ---- a part of the disk -------------------------------------------------------

fails_with 32 "$SOURCE:/group: /group/models is owned by client web-1 \(since|/group/.* is owned by client web-" \
	mnt 2 -o "tokenfile=$TOKENS/disk" "$SOURCE:/group" /mnt/c
check 'shared' mnt 2 -o "shared,tokenfile=$TOKENS/disk" "$SOURCE:/group" /mnt/c
fails_with 3 '/mnt/c/models is owned by client web-1' archilctl checkout /mnt/c/models
archilctl checkin /mnt/a/group/models /mnt/b/group/data
check 'one owns the disk' archilctl checkout /mnt/a
fails_with 3 '/mnt/c/models: / \(of the disk\) is owned by client web-1' archilctl checkout /mnt/c/models
check 'umount' umount /mnt/c
check 'ro' mnt 2 -o "ro,tokenfile=$TOKENS/disk" "$SOURCE:/group" /mnt/c
fails_with 6 'read-only' archilctl checkout /mnt/c/models
check 'umount' umount /mnt/c

# ---- unmounting ----------------------------------------------------------------

sleep 1000 </mnt/a/group &
SLEEPER=$!
fails_with 32 'busy' umount /mnt/a
kill $SLEEPER
wait $SLEEPER 2>/dev/null
fails_with 32 'not mounted' umount.archil /mnt/c
check 'verbose' umount.archil /mnt/a -v
echo lost >/mnt/b/group/data/f
kill_server
sleep 2
status_works() { timeout 10 archilctl "$@"; }
is 'status without a server' "$(status_works status /mnt/b | grep -c '^connection *lost')" 1
is 'delegations without a server' "$(status_works delegations /mnt/b | grep -c '/mnt/b/group/data/f$')" 1
check 'umount -f without a server' timeout 60 umount -f /mnt/b
start_server
ARCHIL_MOUNT_TOKEN=$(<"$TOKENS/disk")
export ARCHIL_MOUNT_TOKEN
check 'what it owned is free as soon as the server can be told' \
	wait_until 10 mnt 1 -o timeo=5 "$SOURCE" /mnt/a
echo x >/mnt/a/file
fails_with 1 'no mount of number 4711' archilctl abort 4711
check 'abort' archilctl abort "$(archilctl status --json /mnt/a | sed -n 's/.*"mount_id": \([0-9]*\).*/\1/p')"
expect_errno EIO touch /mnt/a/other
is 'status says so' "$(archilctl status /mnt/a | grep -c '^connection *over')" 1
check 'umount' umount /mnt/a

# ---- remounting, fstab ---------------------------------------------------------

options() { awk -v d="$1" '$2 == d { print $4 }' /proc/mounts; }
check 'mount' mnt 1 -o shared,commit=7 "$SOURCE" /mnt/a
check 'remount, attributes' in_client 1 mount -o remount,nosuid,strictatime /mnt/a
is 'they are there' "$(options /mnt/a | grep -c '^rw,nosuid.*commit=7')" 1
check 'remount, read-only' in_client 1 mount -o remount,ro /mnt/a
expect_errno EROFS touch /mnt/a/file
check 'remount, writable' in_client 1 mount -o remount,rw /mnt/a
check 'it can be written' touch /mnt/a/file
check 'umount -l' umount -l /mnt/a
unset ARCHIL_MOUNT_TOKEN
echo "$SOURCE /mnt/a archil shared,tokenfile=$TOKENS/disk,noauto,_netdev,x-systemd.mount-timeout=5,noexec 0 0" >>/etc/fstab
check 'by fstab' in_client 1 mount /mnt/a
is 'with its options' "$(options /mnt/a | grep -c 'noexec.*shared')" 1
check 'umount' umount /mnt/a
