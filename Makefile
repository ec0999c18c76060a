# SPDX-License-Identifier: GPL-2.0
#
# archil: make help

SHELL := /bin/bash
CC ?= gcc
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
BINDIR ?= $(PREFIX)/bin
# mount(8) looks for its helpers in /sbin and nowhere else
HELPERDIR ?= /sbin
KVER ?= $(shell ls /lib/modules 2>/dev/null | sort -V | tail -n 1)
KDIR ?= /lib/modules/$(KVER)/build
BUILD := build

VERSION := 0.1.0

WARN := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
CPPFLAGS_ALL := -D_GNU_SOURCE -DARCHIL_VERSION='"$(VERSION)"' -Ikernel/shared -Ikernel/uapi -Itools/lib
CFLAGS ?= -O2 -g
CFLAGS_ALL := -std=gnu11 $(WARN) $(CFLAGS) -pthread
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now -pthread $(LDFLAGS)

PKG = $(shell pkg-config $(1) $(2) 2>/dev/null)
NL_CFLAGS := $(call PKG,--cflags,libnl-genl-3.0)
LIBS_lib := -lcrypto -ljansson
LIBS_archil-server := -lrocksdb -luring -lsodium $(LIBS_lib)
LIBS_archil-agent := -lnl-genl-3 -lnl-3 -luring $(LIBS_lib)
LIBS_archilctl := $(LIBS_lib)
LIBS_mount.archil := $(LIBS_lib)
LIBS_umount.archil := $(LIBS_lib)
CPPFLAGS_ALL += $(NL_CFLAGS)

PROGRAMS := archil-server archil-agent archilctl mount.archil umount.archil

SRC_shared := $(wildcard kernel/shared/*.c)
SRC_lib := $(wildcard tools/lib/*.c) $(SRC_shared)
SRC_archil-server := $(wildcard tools/server/*.c)
SRC_archil-agent := $(wildcard tools/agent/*.c)
SRC_archilctl := $(wildcard tools/archilctl/*.c)
SRC_mount.archil := tools/mount/mount.c tools/mount/mount_opts.c tools/mount/mount8.c tools/mount/helper.c
SRC_umount.archil := tools/mount/umount.c tools/mount/helper.c

.PHONY: all tools module unit check test test-long test-debug model demo shell bench install install-module clean help deps

all: tools module

help:
	@echo 'make            build the programs and, where kernel headers are, the module'
	@echo 'make demo       two clients share a disk, in a virtual machine, told as a story'
	@echo 'make shell      a shell in a virtual machine with two clients mounted'
	@echo 'make check      the fast checks: unit tests, fuzzers (short), static analysis'
	@echo 'make test       everything: check, and the cases in a real kernel'
	@echo 'make test-long  the same with long loops'
	@echo 'make test-debug the cases on a kernel with KASAN, lockdep and kmemleak'
	@echo 'make bench      how fast it is, beside others, in virtual time (half an hour)'
	@echo 'make model      every state of a model of the protocol (spin)'
	@echo 'make install    programs and mount helpers, under DESTDIR and PREFIX'
	@echo 'make install-module   archil.ko for KVER, under DESTDIR'
	@echo 'make deps       install what building and testing need (Debian)'

# ---- programs -------------------------------------------------------------

objs = $(patsubst %.c,$(BUILD)/$(2)/%.o,$(1))

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CPPFLAGS) $(CFLAGS_ALL) $(HARDEN) -MMD -MP -c -o $@ $<

$(BUILD)/libarchil.a: $(call objs,$(SRC_lib),obj)
	rm -f $@ && $(AR) rcs $@ $^

define program
$(BUILD)/$(1): $(call objs,$(SRC_$(1)),obj) $(BUILD)/libarchil.a
	$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach p,$(PROGRAMS),$(if $(SRC_$(p)),$(eval $(call program,$(p)))))

tools: $(foreach p,$(PROGRAMS),$(if $(SRC_$(p)),$(BUILD)/$(p)))

# ---- module ---------------------------------------------------------------

module:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

# ---- tests: each tests/{unit,model}/*.c is a program, each tests/fuzz/*.c too;
# all link every source of shared/, lib/, server/ and agent/ but the mains,
# built with sanitizers. Exit status 77 is a skip.

SRC_san := $(sort $(SRC_lib) tools/mount/mount_opts.c $(filter-out %/main.c,\
	$(SRC_archil-server) $(SRC_archil-agent) $(SRC_archilctl)))
SAN_LIBS := -lrocksdb -luring -lsodium -lnl-genl-3 -lnl-3 $(LIBS_lib)

$(BUILD)/san/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) -Itools/server -Itools/agent $(CPPFLAGS) $(CFLAGS_ALL) $(SAN) -O1 -MMD -MP -c -o $@ $<

$(BUILD)/libarchil-san.a: $(call objs,$(SRC_san),san)
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/san/tests/%.o $(BUILD)/libarchil-san.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(SAN) -o $@ $^ -lcheck -lsubunit -lm -lrt $(SAN_LIBS)

UNIT := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*.c tests/model/*.c))
FUZZ := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*.c))

unit: $(UNIT) $(FUZZ)

.PRECIOUS: $(BUILD)/obj/%.o $(BUILD)/san/%.o
-include $(shell find $(BUILD)/obj $(BUILD)/san -name '*.d' 2>/dev/null)

check:
	tests/run check

test:
	tests/run test

test-long:
	tests/run test-long

test-debug:
	tests/run test-debug

model:
	tests/deps --quiet && tests/protocol/run --long

bench:
	@RTT_MS='$(RTT_MS)' WORK='$(WORK)' FS='$(FS)' KERNEL='$(KERNEL)' LONG='$(LONG)' \
		PROFILE='$(PROFILE)' tests/bench/run

demo:
	tests/vm/demo

shell:
	tests/vm/shell

deps:
	tests/deps

# ---- install --------------------------------------------------------------

install: tools
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(HELPERDIR)
	install -m 0755 $(BUILD)/archil-server $(BUILD)/archil-agent $(DESTDIR)$(SBINDIR)/
	install -m 0755 $(BUILD)/archilctl $(DESTDIR)$(BINDIR)/
	install -m 0755 $(BUILD)/mount.archil $(BUILD)/umount.archil $(DESTDIR)$(HELPERDIR)/

install-module: module
	install -d $(DESTDIR)/lib/modules/$(KVER)/updates
	install -m 0644 archil.ko $(DESTDIR)/lib/modules/$(KVER)/updates/
	[ -n "$(DESTDIR)" ] || depmod $(KVER)

clean:
	rm -rf $(BUILD)
	[ ! -d $(KDIR) ] || $(MAKE) -C $(KDIR) M=$(CURDIR) clean
