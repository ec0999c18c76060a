# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a guest is made of; sourced by the programs of tests/vm on the host.
#
#   kernel    Debian's cloud kernel, taken out of its package       cached for good
#             or built from Debian's source with debug.config       cached by its recipe
#   modules   an ext4 image of that kernel's /lib/modules/VERSION   cached for good
#   root      an ext4 image made by mmdebstrap from tests/vm/packages,
#             or somebody's own (--root); never written to          cached by its recipe
#   overlay   what `make install` would put there, archil.ko, the test
#             programs, tests/vm; unpacked onto the root at boot     made for each run
#
# The initramfs carries the overlay, so that the disks that a script sees are
# its own and nothing depends on what the root image holds.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${ARCHIL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/archil}
BUILD=$TOP/build
PATH=$PATH:/usr/sbin:/sbin

say() { [ -n "${QUIET-}" ] || printf '%s\n' "${0##*/}: $*" >&2; }
die() { printf '%s\n' "${0##*/}: $*" >&2; exit 125; }

# host_suite: the Debian release that we run on; anything else counts as bookworm
host_suite() {
	local VERSION_CODENAME=
	# shellcheck disable=SC1091
	. /etc/os-release
	case $VERSION_CODENAME in
	trixie) echo trixie;;
	*) echo bookworm;;
	esac
}

# host_mirror WORD: the first URI in this machine's apt sources that ends in WORD
host_mirror() {
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
		grep -v '^#' | grep -Eo "https?://[^ ]*/$1/?( |\$)" | head -n 1 | tr -d ' '
}

# debian_sources SUITE: one-line apt sources of that release, from this machine's mirrors
debian_sources() {
	local main security key=/usr/share/keyrings/debian-archive-keyring.gpg
	main=$(host_mirror debian) security=$(host_mirror debian-security)
	main=${main:-http://deb.debian.org/debian}
	security=${security:-http://deb.debian.org/debian-security}
	printf 'deb [signed-by=%s] %s %s main\n' \
		$key "$main" "$1" $key "$main" "$1-updates" $key "$security" "$1-security"
}

# apt_for SUITE: prepare a private apt for it and set APT_CONFIG
apt_for() {
	local dir=$CACHE/apt-$1
	mkdir -p "$dir"/{lists/partial,cache/archives/partial}
	debian_sources "$1" >"$dir/sources.list"
	: >"$dir/status"
	cat >"$dir/apt.conf" <<-EOF
		Dir::State "$dir";
		Dir::State::lists "$dir/lists";
		Dir::State::status "$dir/status";
		Dir::Cache "$dir/cache";
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		APT::Architecture "amd64";
		APT::Architectures "amd64";
		APT::Sandbox::User "";
		Acquire::Languages "none";
	EOF
	export APT_CONFIG=$dir/apt.conf
}

# locked FILE FUNCTION [ARG...]: calls it while nobody else is under the same lock;
# ends the program if it fails. Not to be called as a condition, nor by a function that
# is: `set -e` in FUNCTION would be void.
locked() {
	local status
	mkdir -p "$(dirname "$1")"
	(
		flock 9
		"${@:2}" 9>&-
	) 9>"$1"
	status=$?
	[ $status = 0 ] || die "$2 failed"
}

# ---- kernel ----------------------------------------------------------------

# kernel_use NAME: sets KERNEL (its version), KERNEL_IMAGE, KERNEL_MODULES (a
# directory), KERNEL_DISK (the same as an image), KERNEL_INITRD (base of the
# initramfs), KERNEL_HEADERS (for M=), MODULE_DIR (where archil.ko is built for it),
# KERNEL_CPUS (processors of a guest), KERNEL_SLOW (how many times slower it is).
# The only place that knows kernels by name.
kernel_use() {
	local dir
	KERNEL_CPUS=2 KERNEL_SLOW=1 MODULE_DIR=$TOP
	case $1 in
	6.1)
		dir=$CACHE/kernel-$1
		[ -e "$dir/done" ] || locked "$dir.lock" kernel_fetch "$1" bookworm "$dir";;
	6.1-debug|debug)
		# two emulated processors under KASAN and lockdep stand in each other's way
		# shellcheck disable=SC2034
		KERNEL_CPUS=1 KERNEL_SLOW=4 MODULE_DIR=$BUILD/module-debug
		dir=$CACHE/kernel-6.1-debug-$(kernel_debug_key)
		[ -e "$dir/done" ] || locked "$CACHE/kernel-6.1-debug.lock" kernel_debug_make "$dir";;
	*)
		die "unknown kernel '$1' (known: 6.1, 6.1-debug)";;
	esac
	KERNEL=$(<"$dir/done")
	# shellcheck disable=SC2034
	KERNEL_IMAGE=$dir/boot/vmlinuz-$KERNEL
	KERNEL_MODULES=$dir/lib/modules/$KERNEL
	# shellcheck disable=SC2034
	KERNEL_DISK=$dir/modules.img
	KERNEL_HEADERS=$dir/headers
	[ -e "$KERNEL_HEADERS" ] || KERNEL_HEADERS=/lib/modules/$KERNEL/build
	[ -e "$KERNEL_HEADERS/Makefile" ] || {
		KERNEL_HEADERS=$dir/headers
		locked "$dir.lock" headers_fetch "$KERNEL" bookworm "$dir"
	}
	KERNEL_INITRD=$dir/initrd-$(cat "$TOP/tests/vm/initramfs" "$TOP/tests/vm/image.sh" |
		sha256sum | cut -c1-16)
	[ -e "$KERNEL_INITRD" ] || locked "$dir.lock" initrd_make
}

# kernel_fetch NAME SUITE DIR
kernel_fetch() (
	set -e
	[ ! -e "$3/done" ] || exit 0
	say "getting the kernel $1 of Debian $2 (once)"
	rm -rf "${3:?}"
	mkdir -p "$3/deb"
	apt_for "$2"
	apt-get -qq update
	package=$(apt-cache depends --important linux-image-cloud-amd64 |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	cd "$3/deb"
	apt-get -qq download "$package"
	dpkg-deb -x ./*.deb "$3"
	cd "$3"
	rm -rf deb usr
	version=${package#linux-image-}
	depmod -b "$3" "$version"
	mke2fs -qF -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 \
		-d "lib/modules/$version" modules.img 256M >/dev/null
	echo "$version" >"$3/done"
)

# headers_fetch VERSION SUITE DIR: for a machine that cannot install them
headers_fetch() (
	set -e
	[ ! -e "$3/headers" ] || exit 0
	say "getting the headers of kernel $1 (once)"
	rm -rf "${3:?}/deb" "${3:?}/usr"
	mkdir -p "$3/deb"
	apt_for "$2"
	apt-get -qq update
	cd "$3/deb"
	# shellcheck disable=SC2046
	apt-get -qq download "linux-headers-$1" $(
		apt-cache depends --important "linux-headers-$1" |
		sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-.*\)/\1/p')
	for deb in ./*.deb; do
		dpkg-deb -x "$deb" "$3"
	done
	rm -rf "$3/deb"
	sed -i "s#/usr/src#$3/usr/src#g" "$3/usr/src/linux-headers-$1/Makefile"
	ln -s "usr/src/linux-headers-$1" "$3/headers"
)

# kernel_debug_key: of its source package, if that is installed, and its recipe
kernel_debug_key() {
	{
		dpkg-query -W -f '${Version}' linux-source-6.1 2>/dev/null
		cat "$TOP/tests/vm/debug.config" <(declare -f kernel_debug_make)
	} | sha256sum | cut -c1-16
}

# kernel_debug_make DIR: tests/deps --debug has been called
kernel_debug_make() (
	set -e
	[ ! -e "$1/done" ] || exit 0
	say 'building a kernel that looks for bugs (once, about ten minutes)'
	find "$CACHE" -maxdepth 1 -name 'kernel-6.1-debug-*' -mtime +14 -exec rm -rf {} +
	rm -rf "${1:?}"
	mkdir -p "$1/boot" "$1/headers"
	tar=/usr/src/linux-source-6.1.tar.xz
	[ -e "$tar" ] || {
		apt_for bookworm
		apt-get -qq update
		cd "$1"
		apt-get -qq download linux-source-6.1
		dpkg-deb -x ./*.deb "$1/deb"
		tar=$1/deb$tar
	}
	tar -C "$1/headers" -xf "$tar" --strip-components=1
	rm -rf "$1/deb" "$1"/*.deb
	cd "$1/headers"
	trap 'tail -n 40 "$1/log" >&2' ERR
	{
		make CC=gcc-12 tinyconfig
		scripts/kconfig/merge_config.sh -m .config "$TOP/tests/vm/debug.config"
		make CC=gcc-12 olddefconfig
		# an option whose name or dependencies are wrong vanishes without a word
		lost=$(grep '^CONFIG_' "$TOP/tests/vm/debug.config" | grep -vxFf .config || :)
		[ -z "$lost" ] || echo "lost: $lost"
		[ -z "$lost" ]
		nice -n 10 make -s -j"$(nproc)" CC=gcc-12 bzImage modules
		make -s INSTALL_MOD_PATH="$1" modules_install
	} >"$1/log" 2>&1
	version=$(make -s kernelrelease)
	mv arch/x86/boot/bzImage "$1/boot/vmlinuz-$version"
	mv System.map "$1/boot/System.map-$version"
	rm -f "$1/lib/modules/$version"/{build,source}
	depmod -b "$1" "$version"
	mke2fs -qF -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 \
		-d "$1/lib/modules/$version" "$1/modules.img" 64M
	# only what building a module wants stays
	find . -mindepth 1 -maxdepth 1 ! -name arch ! -name include ! -name scripts ! -name tools \
		! -name Makefile ! -name Kbuild ! -name .config ! -name Module.symvers -exec rm -rf {} +
	find arch -mindepth 1 -maxdepth 1 ! -name x86 -exec rm -rf {} +
	find tools -mindepth 1 -maxdepth 1 ! -name objtool -exec rm -rf {} +
	find . -name '*.[aocS]' -delete
	echo "$version" >"$1/done"
)

initrd_make() (
	set -e
	[ ! -e "$KERNEL_INITRD" ] || exit 0
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$tmp"/{bin,dev,proc,sys,root,modules}
	cp "$(command -v busybox)" "$tmp/bin/busybox"
	cp "$TOP/tests/vm/initramfs" "$tmp/init"
	chmod 755 "$tmp/init"
	# what has to be there before the disk with all others, if it is not built in; in
	# loading order
	: >"$tmp/modules/order"
	for m in virtio_blk virtio_console virtio_pci virtio-rng; do
		modprobe --show-depends -S "$KERNEL" -d "${KERNEL_MODULES%/lib/modules/*}" "$m"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
	while read -r file; do
		cp "$file" "$tmp/modules/"
		basename "$file" >>"$tmp/modules/order"
	done
	rm -f "${KERNEL_INITRD%/*}"/initrd-*
	(cd "$tmp" && find . | cpio -o -H newc -R 0:0 --quiet) >"$KERNEL_INITRD.tmp"
	mv "$KERNEL_INITRD.tmp" "$KERNEL_INITRD"
)

# ---- root ------------------------------------------------------------------

# root_use: sets ROOT to the image, which is made if it is not there
root_use() {
	local suite key
	suite=$(host_suite)
	key=$(echo "$suite" | cat - "$TOP/tests/vm/packages" <(declare -f root_make) |
		sha256sum | cut -c1-16)
	ROOT=$CACHE/root-$suite-$key.img
	[ -e "$ROOT" ] || locked "$CACHE/root.lock" root_make "$suite" "$ROOT"
}

# root_make SUITE IMAGE
root_make() (
	set -e
	[ ! -e "$2" ] || exit 0
	say "making a Debian $1 root image (once, a minute or two)"
	find "$CACHE" -maxdepth 1 -name 'root-*.img' -atime +14 -delete
	tmp=$(mktemp -d "$CACHE/root.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	debian_sources "$1" >"$tmp/sources.list"
	proxy=$(apt-config shell proxy Acquire::http::Proxy)
	eval "$proxy"
	mmdebstrap --quiet --variant=essential \
		--include="$(grep -v '^#' "$TOP/tests/vm/packages" | paste -sd,)" \
		--aptopt='Apt::Install-Recommends "false"' \
		${proxy:+--aptopt="Acquire::http::Proxy \"$proxy\""} \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"$1" "$tmp/root.tar" "$tmp/sources.list" >"$tmp/log" 2>&1 ||
		{ cat "$tmp/log" >&2; exit 1; }
	mkdir "$tmp/root"
	fakeroot=
	[ "$(id -u)" = 0 ] || fakeroot=fakeroot
	# shellcheck disable=SC2016
	$fakeroot sh -ec '
		tar -C "$1/root" -xpf "$1/root.tar" --exclude="./dev/*"
		mke2fs -qF -t ext4 -O ^has_journal -m 0 -N 262144 -d "$1/root" "$1/img" 6G >/dev/null
	' sh "$tmp"
	mv "$tmp/img" "$2"
)

# ---- overlay ---------------------------------------------------------------

# overlay_build: build what is overlaid, unless ARCHIL_NO_BUILD says that it is
overlay_build() {
	[ -z "${ARCHIL_NO_BUILD-}" ] || return 0
	locked "$BUILD/.lock" overlay_build_locked
}

overlay_build_locked() (
	set -e
	log=$BUILD/vm/build.log
	mkdir -p "$BUILD/vm"
	cd "$TOP"
	trap 'tail -n 40 "$log" >&2' ERR
	make -s -j"$(nproc)" tools >"$log" 2>&1
	[ ! -e Kbuild ] || module_build >>"$log" 2>&1
	make -s -j"$(nproc)" -f tests/vm/progs.mk >>"$log" 2>&1
)

# overlay_tree DIR: what the guest gets, as far as it has been built
overlay_tree() (
	set -e
	dest=$1
	mkdir -p "$dest/archil/tests" "$dest/archil/bin"
	cd "$TOP"
	missing=
	for p in archil-server archil-agent archilctl mount.archil umount.archil; do
		[ -e "build/$p" ] || missing+=" $p"
	done
	if [ -z "$missing" ]; then
		make -s -o tools install DESTDIR="$dest" >/dev/null
	else
		say "not built, so not in the guest:$missing"
		overlay_some "$dest"
	fi
	cp -a tests/vm tests/bench "$dest/archil/tests/"
	[ ! -d build/vm-progs ] || find build/vm-progs -maxdepth 1 -type f -executable \
		-exec cp -t "$dest/archil/bin" {} +
	overlay_libs "$dest"
	overlay_module "$dest"
)

# overlay_some DEST: `make install` of those programs that there are
overlay_some() {
	local pair
	for pair in usr/local/sbin/archil-server usr/local/sbin/archil-agent \
		usr/local/bin/archilctl sbin/mount.archil sbin/umount.archil; do
		[ ! -e "build/${pair##*/}" ] || install -D "build/${pair##*/}" "$1/$pair"
	done
}

# overlay_libs DEST: the libraries of the programs, for roots that lack them
overlay_libs() {
	local lib
	mkdir -p "$1/archil/lib"
	find "$1/usr" "$1/sbin" "$1/archil/bin" -type f -exec ldd {} + 2>/dev/null |
		sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
	while read -r lib; do
		case ${lib##*/} in
		libc.so*|libm.so*|libpthread*|libdl*|librt*|ld-linux*) ;;
		*) cp -L "$lib" "$1/archil/lib/";;
		esac
	done
}

# overlay_module DEST: archil.ko and the indexes by which modprobe finds it
overlay_module() {
	local mods=$1/lib/modules/$KERNEL stage=$BUILD/vm/depmod-$KERNEL ko
	ko=$(module_file)
	[ -e "$ko" ] || { say 'archil.ko is not built; the guest has no module'; return 0; }
	mkdir -p "$mods/updates"
	cp "$ko" "$mods/updates/archil.ko"
	locked "$stage.lock" depmod_stage "$stage" "$ko"
	cp -t "$mods" "$stage/lib/modules/$KERNEL"/modules.{dep,alias,symbols,softdep}*
}

# module_file: archil.ko for KERNEL
module_file() { echo "$MODULE_DIR/archil.ko"; }

# module_build: makes it. A kernel for debugging has a build directory of its own, and the
# module has line numbers.
module_build() {
	if [ "$MODULE_DIR" = "$TOP" ]; then
		make -s -C "$TOP" -j"$(nproc)" module KVER="$KERNEL" KDIR="$KERNEL_HEADERS"
	else
		module_sources "$MODULE_DIR" &&
			make -s -C "$KERNEL_HEADERS" M="$MODULE_DIR" -j"$(nproc)" CC=gcc-12 \
				KCFLAGS=-g modules
	fi
}

# module_sources DIR: copies what archil.ko is made of, as far as it is newer
module_sources() {
	mkdir -p "$1"
	(cd "$TOP" && find Kbuild Makefile kernel -type f \
		\( -name 'Kbuild*' -o -name Makefile -o -name '*.[ch]' -o -name '*.sh' \) \
		! -name '*.mod.c' -exec cp -pu --parents -t "$1" {} +)
}

depmod_stage() {
	local mods=$1/lib/modules/$KERNEL
	cmp -s "$2" "$mods/updates/archil.ko" && return 0
	rm -rf "$1"
	mkdir -p "$mods/updates"
	cp -as "$KERNEL_MODULES/." "$mods/"
	rm -f "$mods"/modules.{dep,alias,symbols,softdep}*
	cp "$2" "$mods/updates/archil.ko"
	depmod -b "$1" "$KERNEL"
}
