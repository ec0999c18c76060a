/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every fuzzer here shares. A fuzzer includes the unit under test and
 * gives two functions: one makes a valid input, the other (libFuzzer's entry)
 * takes any bytes and must not mind them. main() below makes valid inputs,
 * spoils them, and runs them on a copy of exactly their size, so that the
 * sanitizers see a byte read too far:
 *
 *	build/tests/fuzz/NAME [-n ROUNDS] [-s SEED]
 *
 * Round i uses seed SEED + i: what fails in it is seen again with
 * -n 1 -s (SEED + i), which is printed. With clang, libFuzzer does it instead:
 *
 *	clang -g -fsanitize=fuzzer,address,undefined -DLIBFUZZER -D_GNU_SOURCE \
 *		-Ikernel/shared tests/fuzz/NAME.c
 *
 * (record.c and merge.c want kernel/shared/wire.c besides).
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../random.h"

#define FUZZ_INPUT_MAX	(1u << 18)

/* A valid input of at most FUZZ_INPUT_MAX bytes; its length. */
static size_t fuzz_valid(struct rnd *r, u8 *buf) __attribute__((unused));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond) do {							\
	if (!(cond)) {								\
		fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);	\
		abort();							\
	}									\
} while (0)

/* A copy whose end is the end of its allocation; never NULL. */
static inline u8 *fuzz_copy(const void *data, size_t size)
{
	u8 *copy = malloc(size ? size : 1);

	FUZZ_CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	return copy + (size ? 0 : 1);
}

static inline void fuzz_copy_free(u8 *copy, size_t size)
{
	free(copy - (size ? 0 : 1));
}

#ifndef LIBFUZZER

#include <signal.h>
#include <sanitizer/common_interface_defs.h>

/* Numbers that tend to hurt, as one, two, four or eight bytes. */
static u64 nasty(struct rnd *r)
{
	static const u64 values[] = {
		0, 1, 2, 7, 8, 255, 256, 4095, 4096, 16384, 16385, 65535, 65536, 65537,
		INT32_MAX, 1ull << 31, UINT32_MAX - 7, UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX,
		(1ull << 48) - 1, 1ull << 48, 999999999, 1000000000,
	};

	return values[rnd_below(r, ARRAY_SIZE(values))];
}

/* Spoils a valid input in place; its new length. */
static size_t spoil(struct rnd *r, u8 *buf, size_t len)
{
	size_t at, n, from;
	__le64 value;

	if (!len)
		return 0;
	/* most of what matters is near the beginning */
	at = rnd_one_in(r, 2) ? rnd_below(r, len) : rnd_below(r, len < 256 ? len : 256);
	switch (rnd_below(r, 6)) {
	case 0:
		buf[at] ^= 1 << rnd_below(r, 8);
		return len;
	case 1:
		buf[at] = rnd64(r);
		return len;
	case 2:
		n = 1u << rnd_below(r, 4);
		value = cpu_to_le64(rnd_one_in(r, 2) ? nasty(r) : rnd_below(r, len + 64));
		at &= ~(n - 1);
		if (n <= len - at)
			memcpy(buf + at, &value, n);
		return len;
	case 3:
		return rnd_one_in(r, 2) ? rnd_below(r, len + 1) : len - 1;
	case 4:
		n = rnd_below(r, 64);
		if (len + n > FUZZ_INPUT_MAX)
			return len;
		rnd_bytes(r, buf + len, n);
		return len + n;
	default:
		from = rnd_below(r, len);
		n = rnd_below(r, 1 + (len - (from > at ? from : at)));
		memmove(buf + at, buf + from, n);
		return len;
	}
}

static u64 fuzz_seed;	/* of the running round */

static void say_seed(void)
{
	fprintf(stderr, "failed; to see it again: -n 1 -s %" PRIu64 "\n", fuzz_seed);
}

static void say_seed_on_abort(int sig)
{
	say_seed();
	signal(sig, SIG_DFL);
	raise(sig);
}

int main(int argc, char **argv)
{
	u64 rounds = FUZZ_ROUNDS, seed = 1, i;
	static u8 buf[FUZZ_INPUT_MAX];
	size_t len, spoils;
	u8 *copy;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		if (opt == 'n') {
			rounds = strtoull(optarg, NULL, 0);
		} else if (opt == 's') {
			seed = strtoull(optarg, NULL, 0);
		} else {
			fprintf(stderr, "usage: %s [-n ROUNDS] [-s SEED]\n", argv[0]);
			return 2;
		}
	}
	printf("seed %" PRIu64 ", %" PRIu64 " rounds\n", seed, rounds);
	fflush(stdout);
	signal(SIGABRT, say_seed_on_abort);
	__sanitizer_set_death_callback(say_seed);

	for (i = 0; i < rounds; i++) {
		struct rnd r = { .state = seed + i };

		fuzz_seed = seed + i;
		len = fuzz_valid(&r, buf);
		for (spoils = rnd_below(&r, 5); spoils; spoils--)
			len = spoil(&r, buf, len);
		copy = fuzz_copy(buf, len);
		LLVMFuzzerTestOneInput(copy, len);
		fuzz_copy_free(copy, len);
	}
	return 0;
}

#endif /* LIBFUZZER */
#endif /* TESTS_FUZZ_H */
