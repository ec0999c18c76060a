#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A file with names in two clients' folders: one of them removes a name while the other has
# changed links of it in memory only. Nobody loses count.
#
#     web-1  /mnt/a (shared, commit=60)   owns /a, with the file's home
#     web-2  /mnt/b (shared)              owns /b, with another name of it

. "$(dirname "$0")/../lib.sh"

taken() { archilctl status --json "$1" | grep -o '"taken": *[0-9]*' | grep -o '[0-9]*$'; }
links() { stat -c %h "$1"; }

net_up 2
start_server
start_agent 1
start_agent 2
must cmount 1 shared,commit=60 disk /mnt/a
must cmount 2 shared disk /mnt/b
must mkdir /mnt/a/a /mnt/a/b

# shared_file N: /a/fN has another name, /b/gN; web-2 may change it
shared_file() {
	echo "contents $1" >"/mnt/a/a/f$1"
	must ln "/mnt/a/a/f$1" "/mnt/a/b/g$1"
}
for n in 1 2 3 4; do shared_file $n; done
must sync -f /mnt/a
must archilctl checkin /mnt/a/b
must archilctl checkout /mnt/b/b
is 'two names' "$(links /mnt/a/a/f1)" 2

echo '# ---- a name is made in memory while another goes'
must ln /mnt/a/a/f1 /mnt/a/a/h1
check 'the other client removes its name' rm /mnt/b/b/g1
sleep 0.3
dd if=/dev/zero of=/mnt/a/a/f1 bs=64k count=4 conv=notrunc status=none
check 'so does the owner' rm /mnt/a/a/h1
is 'it has one name left' "$(links /mnt/a/a/f1)" 1
is 'and is not gone' "$(stat -c %s /mnt/a/a/f1)" 262144
check 'fsync' sync /mnt/a/a/f1

echo '# ---- the count that is shown'
must ln /mnt/a/a/f2 /mnt/a/a/h2
must rm /mnt/b/b/g2
sleep 0.3
is 'two are left' "$(links /mnt/a/a/f2)" 2
must ln /mnt/a/a/f2 /mnt/a/a/i2
is 'three' "$(links /mnt/a/a/f2)" 3
check 'all go' rm /mnt/a/a/h2 /mnt/a/a/i2 /mnt/a/a/f2

echo '# ---- a replaced name'
must ln /mnt/a/a/f3 /mnt/a/a/h3
must rm /mnt/b/b/g3
sleep 0.3
echo new >/mnt/a/a/n3
check 'the new name takes the place of one' mv /mnt/a/a/n3 /mnt/a/a/h3
is 'the other has stayed' "$(cat /mnt/a/a/f3)" 'contents 3'
is 'alone' "$(links /mnt/a/a/f3)" 1

echo '# ---- the last name, known as such'
must rm /mnt/b/b/g4
sleep 0.3
is 'one' "$(links /mnt/a/a/f4)" 1
check 'goes' rm /mnt/a/a/f4

check 'everything is accepted' sync -f /mnt/a
is 'no delegation was lost' "$(taken /mnt/a)" 0
must archilctl checkin /mnt/a/a
must archilctl checkin /mnt/b/b
tree /mnt/a >/tmp/a.tree
tree /mnt/b >/tmp/b.tree
check 'both clients see the same' cmp /tmp/a.tree /tmp/b.tree
must umount /mnt/a
must umount /mnt/b
