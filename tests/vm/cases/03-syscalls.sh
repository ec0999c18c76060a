#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Every changing system call on a place of one's own, of nobody's, of another's.
# The list, and what must come out, is the tables of progs/syscalls.c.
#
#     web-1  /mnt/a (shared)   tries
#     web-2  /mnt/b (shared)   owns what web-1 must not change
#
# What web-1 looks at is changed by nobody else meanwhile, so it may remember it for
# long; ownership it has to ask for all the same.

. "$(dirname "$0")/../lib.sh"

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared,cache_ttl=60 disk /mnt/a
must cmount 2 shared disk /mnt/b
check 'every outcome is as semantics.md has it' syscalls /mnt/a /mnt/b

# What was tried and refused has left no trace in the store.
must umount /mnt/a
must umount /mnt/b
stop_server
check 'the store is in order' archil-server check "$STORE"
