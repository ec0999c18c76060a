# SPDX-License-Identifier: GPL-2.0
#
# The programs that VM cases run in the guest: each tests/vm/progs/NAME.c is
# build/vm-progs/NAME, static, so that it runs on any root. A program that needs
# a library that is not to be had statically says so in a line of its own,
#	/* link: -lnl-genl-3 -lnl-3 */
# and is linked dynamically.

CC ?= gcc
OUT := build/vm-progs
SRC := $(wildcard tests/vm/progs/*.c)
CFLAGS_ALL := -std=gnu11 -O2 -g -pthread -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter \
	-Ikernel/shared -Ikernel/uapi -Itools/lib $(shell pkg-config --cflags libnl-genl-3.0 2>/dev/null)
# linked from, where a program uses it; not built here
ARCHIVE := $(wildcard build/libarchil.a)

all: $(patsubst tests/vm/progs/%.c,$(OUT)/%,$(SRC))

link = $(shell sed -n 's|^/\* link: \(.*\) \*/$$|\1|p' $(1))

$(OUT)/%: tests/vm/progs/%.c $(ARCHIVE)
	@mkdir -p $(OUT)
	$(CC) $(CFLAGS_ALL) $(CFLAGS) $(if $(call link,$<),,-static) -MMD -MP -MF $(OUT)/$*.d -MT $@ \
		-o $@ $< $(ARCHIVE) $(call link,$<) -lcrypto -ljansson

-include $(wildcard $(OUT)/*.d)
.PHONY: all
