# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For cases that have lossproxy between client 1 and the server; sourced after lib.sh. What it
# is told goes to descriptor 9, what it says to $SAID.

PROXY_PORT=7466
SAID=/tmp/lossproxy.said

start_proxy() {
	must mkfifo /tmp/lossproxy.do
	exec 9<>/tmp/lossproxy.do
	in_background server lossproxy $PROXY_PORT "$SERVER_ADDR" "$PORT" /tmp/lossproxy.do >$SAID 2>&1
	PROXY_PID=$!
}

stop_proxy() {
	kill "$PROXY_PID"
	exec 9>&-
}

# proxied DIR: a mount of client 1 through it
proxied() {
	mkdir -p "$1"
	in_client 1 mount -t archil -o "shared,tokenfile=$TOKENS/disk" \
		"$SERVER_ADDR:$PROXY_PORT/disk" "$1"
}
