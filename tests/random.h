/* SPDX-License-Identifier: GPL-2.0 */
/* Random numbers that a printed seed brings back: splitmix64. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include "port.h"

struct rnd {
	u64 state;
};

static inline u64 rnd64(struct rnd *r)
{
	u64 z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* from 0 to n - 1 */
static inline u32 rnd_below(struct rnd *r, u64 n)
{
	return rnd64(r) % n;
}

/* both ends included */
static inline u64 rnd_range(struct rnd *r, u64 first, u64 last)
{
	return first + rnd64(r) % (last - first + 1);
}

/* true once in n */
static inline bool rnd_one_in(struct rnd *r, u32 n)
{
	return rnd_below(r, n) == 0;
}

static inline void rnd_bytes(struct rnd *r, void *buf, size_t len)
{
	u8 *p = buf;

	while (len--)
		*p++ = rnd64(r);
}

/* A length: mostly short, sometimes at the edge, from min to max. */
static inline size_t rnd_len(struct rnd *r, size_t min, size_t max)
{
	switch (rnd_below(r, 8)) {
	case 0:
		return min;
	case 1:
		return max;
	case 2:
		return rnd_range(r, min, max);
	default:
		return rnd_range(r, min, max - min > 20 ? min + 20 : max);
	}
}

/* Bytes without NUL and '/', and never "." or "..": a name, if len is right. */
static inline void rnd_name(struct rnd *r, char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		buf[i] = rnd_range(r, 1, 255);
		if (buf[i] == '/' || buf[i] == '.')
			buf[i] = 'a';
	}
}

#endif
