#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The agent comes and goes; so does the server, and the module.
#
#     web-1  /mnt/a (exclusive, /a) ---+
#     web-1  /mnt/s (shared) ----------+---- server, disk "disk"
#     web-2  /mnt/b (shared) ----------+

. "$(dirname "$0")/../lib.sh"

logged() { grep -q "$2" "$LOGS/agent-$1"; }
connection() { archilctl status --json "$1" | sed -n 's/.*"connection": "\(.*\)".*/\1/p'; }
connected() { [ "$(connection "$1")" = up ]; }
reconnects() { archilctl status --json "$1" | sed -n 's/.*"reconnects": \([0-9]*\).*/\1/p'; }
sessions() { archil-server session list "$STORE" disk | grep -c web-; }
no_session() { [ "$(sessions)" = 0 ]; }

net_up 2
start_server

# ---- before the module -------------------------------------------------------

rmmod archil 2>/dev/null
in_background c1 archil-agent --client-id web-1 >>"$LOGS/agent-1" 2>&1
AGENT_PIDS[1]=$!
check 'it starts' wait_until 5 logged 1 'registered\|waiting for it'
must modprobe archil
check 'it registers when the module comes' wait_until 5 logged 1 'registered with the kernel as client web-1'
fails_with 1 'another agent is running in this network namespace' \
	in_client 1 timeout 20 archil-agent --client-id other
start_agent 2
check 'another namespace has its own' wait_until 5 logged 2 'registered'

must rmmod archil
check 'it notices that the module goes' wait_until 5 logged 1 'the archil module is gone'
must modprobe archil
again() { [ "$(grep -c registered "$LOGS/agent-1")" = 2 ]; }
check 'and comes again' wait_until 5 again

# ---- the agent dies ----------------------------------------------------------

must cmount 2 shared disk /mnt/b
must mkdir /mnt/b/a
must archilctl checkin /mnt/b/a
must cmount 1 '' disk:/a /mnt/a
must cmount 1 shared disk /mnt/s
kill_agent 1
check 'without it: reading, writing' bash -c 'echo one >/mnt/a/f && sync /mnt/a/f && [ "$(cat /mnt/a/f)" = one ]'
check 'and ownership that comes by itself' mkdir /mnt/s/d
is 'status knows' "$(archilctl status /mnt/a | grep -c '^agent *none')" 1
timeout 60 archilctl checkin /mnt/s/d &
ASKER=$!
sleep 2
start_agent 1
check 'checkin waits for it' wait $ASKER
check 'the sessions go on' wait_until 5 logged 1 'session .* goes on'
is 'they are the same' "$(sessions)" 3
check 'checkout' archilctl checkout /mnt/s/d
check 'what was checked in is free' archilctl checkin /mnt/s/d

# ---- the server dies ---------------------------------------------------------

echo two >/mnt/a/g
kill_server
wait_until 10 bash -c '! archilctl status /mnt/a | grep -q "connection *up"'
timeout 60 bash -c 'echo three >/mnt/a/h' &
WRITER=$!
sleep 1
start_server
check 'connected again' wait_until 30 connected /mnt/a
check 'the other as well' wait_until 30 connected /mnt/b
check 'what waited goes on' wait $WRITER
check 'and is written' timeout 60 sync -f /mnt/a
sleep 1.1
is 'everybody reads it' "$(cat /mnt/b/a/g /mnt/b/a/h | tr '\n' ' ')" 'two three '
is 'one reconnection' "$(reconnects /mnt/a)" 1
check 'checkout works again' archilctl checkout /mnt/s/d

# ---- server and agent die together ------------------------------------------

kill_server
kill_agent 1
start_agent 1
start_server
check 'connected again' wait_until 30 connected /mnt/a
check 'it can be changed' timeout 60 bash -c 'echo four >/mnt/a/i'
check 'and written' timeout 60 sync -f /mnt/a

# ---- a revocation reaches who owned it --------------------------------------

check 'force' in_client 2 archilctl checkout --force --yes /mnt/b/d
taken() { archilctl status --json /mnt/s | grep -q '"taken": 1'; }
check 'is seen there' wait_until 5 taken

# ---- the cable ---------------------------------------------------------------

cut 1
sleep 3
heal 1
check 'after a short cut, too' timeout 60 bash -c 'echo five >/mnt/a/j'
check 'and written' timeout 60 sync -f /mnt/a

# ---- no answer ---------------------------------------------------------------

# the way there is known
must cmount 1 shared,timeo=3,cache_ttl=600 disk /mnt/t
must mkdir /mnt/t/e1 /mnt/t/e2 /mnt/t/e3
ls -l /mnt/t/ >/dev/null
kill -STOP "$SERVER_PID"
begin=$SECONDS
fails_with - 'answer|time' timeout 60 archilctl checkin /mnt/t/e1
fails_with - 'answer|time' timeout 60 archilctl checkin /mnt/t/e2
fails_with - 'answer|time' timeout 60 archilctl checkin /mnt/t/e3
check "each within timeo: $((SECONDS - begin)) s" test $((SECONDS - begin)) -le 13
check 'what was not asked for is as it was' timeout 10 bash -c ': >/mnt/t/e3/f'
kill -CONT "$SERVER_PID"
check 'it goes on' timeout 60 archilctl checkin /mnt/t/e2
is 'as does what nobody waited for' "$(archilctl delegations /mnt/t | awk 'NR > 1 { print $NF }')" \
	/mnt/t/e3
must umount /mnt/t

# ---- the end -----------------------------------------------------------------

check 'unmount without an agent' bash -c "kill ${AGENT_PIDS[1]}; while kill -0 ${AGENT_PIDS[1]} 2>/dev/null; do sleep 0.1; done; umount /mnt/a"
unset "AGENT_PIDS[1]"
start_agent 1
check 'and with it' umount /mnt/s
check 'unmount' umount /mnt/b
check 'no session is left' wait_until 5 no_session
