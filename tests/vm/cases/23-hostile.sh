#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An agent and a server that mean harm, played by nltest; ioctls full of nonsense.
#
#     nltest (agent, server) --- kernel --- /mnt/a

. "$(dirname "$0")/../lib.sh"

net_up 1
mkdir -p /mnt/a
must modprobe archil
start_server
ARCHIL_MOUNT_TOKEN=$(<"$TOKENS/disk")
export ARCHIL_MOUNT_TOKEN
check 'nothing that an agent or server says does harm' in_client 1 timeout 400 nltest /mnt/a
is 'nothing is mounted' "$(archil_mounts)" ''

start_agent 1
check 'a real agent finds everything in order' wait_until 10 grep -q 'registered' "$LOGS/agent-1"
must cmount 1 shared disk /mnt/a
check 'ioctls' in_client 1 timeout 100 badioctl /mnt/a
check 'it still works' mkdir /mnt/a/d
