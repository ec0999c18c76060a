# SPDX-License-Identifier: GPL-2.0
#
# The programs that VM cases and the benchmark run in the guest: each of
# tests/vm/progs/NAME.c and tests/bench/NAME.c is build/vm-progs/NAME, static, so that it runs on any root. A program that needs
# a library that is not to be had statically says so in a line of its own,
#	/* link: -lnl-genl-3 -lnl-3 */
# and is linked dynamically.

CC ?= gcc
OUT := build/vm-progs
SRC := $(wildcard tests/vm/progs/*.c tests/bench/*.c)
CFLAGS_ALL := -std=gnu11 -O2 -g -pthread -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter \
	-Ikernel/shared -Ikernel/uapi -Itools/lib $(shell pkg-config --cflags libnl-genl-3.0 2>/dev/null)
# linked from, where a program uses it; not built here
ARCHIVE := $(wildcard build/libarchil.a)

all: $(addprefix $(OUT)/,$(notdir $(SRC:.c=)))

link = $(shell sed -n 's|^/\* link: \(.*\) \*/$$|\1|p' $(1))

$(OUT)/%: tests/vm/progs/%.c $(ARCHIVE)
	@mkdir -p $(OUT)
	$(CC) $(CFLAGS_ALL) $(CFLAGS) $(if $(call link,$<),,-static) -MMD -MP -MF $(OUT)/$*.d -MT $@ \
		-o $@ $< $(ARCHIVE) $(call link,$<) -lcrypto -ljansson

$(OUT)/%: tests/bench/%.c
	@mkdir -p $(OUT)
	$(CC) $(CFLAGS_ALL) $(CFLAGS) -static -MMD -MP -MF $(OUT)/$*.d -MT $@ -o $@ $<

-include $(wildcard $(OUT)/*.d)
.PHONY: all
