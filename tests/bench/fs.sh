# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The file systems that are compared: fs_up FS mounts it and sets DIR, where it is worked
# in, and WRITER, the same place by a mount that may change it. Sourced by guest.sh.

# ---- disks -----------------------------------------------------------------

DISK_MB=4096

drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

# disk_up NAME: an ext4 on a null_blk of its own, on $BENCH/NAME
disk_up() {
	local dir=/sys/kernel/config/nullb/$1
	if [ ! -d /sys/kernel/config/nullb ]; then
		modprobe configfs
		mountpoint -q /sys/kernel/config || must mount -t configfs configfs /sys/kernel/config
		must modprobe null_blk nr_devices=0
	fi
	must mkdir "$dir"
	echo "$DISK_MB" >"$dir/size"
	echo 1 >"$dir/memory_backed"
	echo 2 >"$dir/irqmode"
	echo 20000 >"$dir/completion_nsec"
	echo 64 >"$dir/cache_size"
	echo 4096 >"$dir/blocksize"
	echo 1 >"$dir/power"
	must mke2fs -qF -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 "/dev/$1"
	mkdir -p "$BENCH/$1"
	disk_mount "$1"
}

# noinit_itable: what mke2fs has left would be made up for in the background
disk_mount() { must mount -t ext4 -o noinit_itable "/dev/$1" "$BENCH/$1"; }

# disk_flushes NAME: cache flushes so far
disk_flushes() {
	local fields
	read -ra fields <"/sys/block/$1/stat" || return
	echo "${fields[15]}"
}

# ---- up, down, cold --------------------------------------------------------

# fs_up FS
fs_up() {
	DIR=$BENCH/$1
	mkdir -p "$DIR"
	case $1 in
	tmpfs) must mount -t tmpfs -o size=2g tmpfs "$DIR";;
	ext4) disk_up local; DIR=$BENCH/local;;
	nfs4) nfs_serve; fs_mount nfs4 '';;
	smb3) smb_serve; fs_mount smb3 '';;
	archil-*)
		archil_serve
		fs_mount archil-owner ''
		[ "$1" != archil-reader ] || fs_mount archil-reader '';;
	esac
	WRITER=$DIR
	[ "$1" != archil-reader ] || WRITER=$BENCH/archil-owner
}

# fs_mount FS OPTIONS
fs_mount() {
	case $1 in
	nfs4) must in_client 1 mount -t nfs4 -o vers=4.2 "$SERVER_ADDR:/" "$DIR";;
	smb3)
		must in_client 1 mount -t cifs -o vers=3.1.1,username=root,password=bench,mfsymlinks \
			"//$SERVER_ADDR/bench" "$DIR";;
	archil-owner) must cmount 1 "$2" disk "$BENCH/archil-owner";;
	archil-reader) must cmount 2 shared disk "$BENCH/archil-reader";;
	esac
}

# fs_remount FS OPTIONS: the options are archil's
fs_remount() {
	case $1 in
	archil-owner)
		must umount "$DIR"
		fs_mount "$1" "$2";;
	esac
}

# fs_cold FS: mounts it anew
fs_cold() {
	case $1 in
	# nothing else has it
	tmpfs) return;;
	ext4)
		must umount "$DIR"
		disk_mount local;;
	*)
		must umount "$DIR"
		fs_mount "$1" '';;
	esac
	# whoever served the mount before ends
	sleep 1
}

fs_down() {
	case $1 in
	tmpfs|ext4) must umount "$DIR";;
	nfs4)
		must umount "$DIR"
		in_net server rpc.nfsd 0
		kill "$MOUNTD_PID";;
	smb3)
		must umount "$DIR"
		kill "$SMBD_PID"
		wait "$SMBD_PID";;
	archil-owner) must umount "$DIR";;
	archil-reader) must umount "$DIR" "$WRITER";;
	esac
}

# ---- servers ---------------------------------------------------------------

nfs_serve() {
	disk_up nfs
	modprobe nfsd
	must mount -t tmpfs tmpfs /var/lib/nfs
	mkdir -p /var/lib/nfs/v4recovery /proc/fs/nfsd
	: >/var/lib/nfs/etab
	: >/var/lib/nfs/rmtab
	# what it shows is its mounter's namespace
	must in_net server mount -t nfsd nfsd /proc/fs/nfsd
	must in_net server exportfs -o rw,async,no_root_squash,no_subtree_check,fsid=0 \
		"10.99.0.0/24:$BENCH/nfs"
	must in_net server rpc.nfsd -N 3 -V 4.2 -U 8
	in_background server rpc.mountd -F -N 3 -u
	MOUNTD_PID=$!
	# the grace period, in which a server refuses to open
	sleep 95
}

smb_serve() {
	disk_up smb
	mkdir -p /run/samba /var/lib/samba/private
	cat >/tmp/smb.conf <<-CONF
		[global]
		interfaces = eth0 lo
		server role = standalone server
		disable netbios = yes
		smb ports = 445
		load printers = no
		log file = /tmp/smbd.log
		# or it reads the whole directory for each new name
		case sensitive = yes
		[bench]
		path = $BENCH/smb
		read only = no
	CONF
	printf 'bench\nbench\n' | must smbpasswd -c /tmp/smb.conf -s -a root
	# when it ends it ends its process group
	in_background server setsid smbd -F --no-process-group -s /tmp/smb.conf
	SMBD_PID=$!
	wait_until 30 in_net server bash -c ": <>/dev/tcp/127.0.0.1/445" 2>/dev/null
}

archil_serve() {
	[ -z "$SERVER_PID" ] || return 0
	disk_up store
	# shellcheck disable=SC2034
	STORE=$BENCH/store/archil	# for lib.sh
	start_server
	start_agent 1
	start_agent 2
}

# ---- counters --------------------------------------------------------------

# number JSON KEY
number() { [[ $1 =~ \"$2\":\ *([0-9]+) ]] && echo "${BASH_REMATCH[1]}"; }

# counters FS: requests, bytes, flushes, the server's seconds, log records: a line each,
# "null" where nobody counts; for archil one more, requests of each kind
counters() {
	local json dir ops requests=0 bytes=0 records=0
	case $1 in
	tmpfs) printf 'null\n%.0s' 1 2 3 4 5;;
	ext4) printf '%s\n' null null "$(disk_flushes local)" null null;;
	tcp) printf '%s\n' null null "$(disk_flushes plain)" null null;;
	nfs4)
		awk -v dir="$DIR" '$1 == "device" { on = $5 == dir }
			on && ops && NF >= 9 { n += $2; bytes += $5 + $6 }
			on && /per-op statistics/ { ops = 1 }
			END { printf "%d\n%d\n", n, bytes }' /proc/self/mountstats
		printf '%s\n' "$(disk_flushes nfs)" "$(cputime nfsd)" null;;
	smb3)
		awk '/SMBs:/ { n += $NF } /^Bytes|Bytes read:/ { bytes += $3 + $6 }
			END { printf "%d\n%d\n", n, bytes }' /proc/fs/cifs/Stats
		printf '%s\n' "$(disk_flushes smb)" "$(cputime smbd)" null;;
	archil-*)
		for dir in "${MOUNTS[@]:-$DIR}"; do
			json=$(archilctl status --json "$dir")
			requests=$((requests + $(number "$json" requests)))
			bytes=$((bytes + $(number "$json" bytes_sent) + $(number "$json" bytes_received)))
			records=$((records + $(number "$json" records)))
		done
		printf '%s\n' $requests $bytes "$(disk_flushes store)" \
			"$(cputime archil-server)" $records
		# of one mount, or of the last of many
		[[ ${json//[$' \n"']/} =~ requests_by_op:\{([^}]*)\} ]]
		ops=${BASH_REMATCH[1]//,/ }
		echo "${ops//:/=}";;
	esac
}

# ---- what must not be read from the guest's disk ---------------------------

# pin_tools: programs and what they load stay in memory
pin_tools() {
	local tools=() t
	for t in bash sh tar rm ls find git sync mount umount awk sed cat mkdir rmdir tr \
		sleep mountpoint nsenter archil-server archil-agent archilctl mount.archil \
		umount.archil mount.nfs4 mount.cifs rpc.nfsd rpc.mountd smbd perf; do
		t=$(command -v "$t") && tools+=("$t")
	done
	tools+=(/archil/bin/*)
	{
		printf '%s\n' "${tools[@]}"
		ldd "${tools[@]}" 2>/dev/null | grep -Eo '/[^ ]+' | sort -u
		printf '%s\n' /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache
	} >/tmp/pinned
	exec {pinned}< <(exec pin </tmp/pinned)
	read -r <&"$pinned"
}
