/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A hash table of structures that embed a struct hlink. No locks.
 *
 * It grows and shrinks by single buckets (linear hashing), so that no call ever
 * pays for rehashing a big table, and nothing in it can fail: without memory to
 * grow, chains get longer, nothing else.
 */
#ifndef ARCHIL_HTABLE_H
#define ARCHIL_HTABLE_H

#include <stddef.h>
#include <stdint.h>

#ifndef container_of
#define container_of(ptr, type, member)	((type *)((char *)(ptr) - offsetof(type, member)))
#endif

#define HTABLE_BUCKETS_MIN	16
#define HTABLE_SEGMENTS		48

struct hlink {
	struct hlink *next;
	uint64_t hash;
};

struct htable {
	size_t count;		/* of entries; read only */
	uint64_t visits;	/* steps along chains so far */
	size_t buckets;
	struct hlink **segment[HTABLE_SEGMENTS];
	struct hlink *first[HTABLE_BUCKETS_MIN];	/* segment 0 */
};

void htable_init(struct htable *table);
/* Frees the table's own memory; what is in it is the caller's. */
void htable_destroy(struct htable *table);

void htable_add(struct htable *table, struct hlink *link, uint64_t hash);
void htable_del(struct htable *table, struct hlink *link);

/* The first entry with that hash, and the one after link with link's hash; or NULL. */
struct hlink *htable_find(struct htable *table, uint64_t hash);
struct hlink *htable_next(struct htable *table, struct hlink *link);

/* The bucket of a hash among so many, at least one: rule 1 of linear hashing (htable.c). */
static inline uint64_t htable_bucket(uint64_t buckets, uint64_t hash)
{
	uint64_t low = 1ull << (63 - __builtin_clzll(buckets));
	uint64_t i = hash & (2 * low - 1);

	return i < buckets ? i : i - low;
}

/*
 * One to one for a given seed: equal hashes are equal keys. The seed is random
 * where strangers choose keys, so that they cannot choose ones that collide.
 */
static inline uint64_t htable_hash(uint64_t seed, uint64_t key)
{
	key += seed;
	key = (key ^ (key >> 33)) * 0xff51afd7ed558ccdull;
	key = (key ^ (key >> 33)) * 0xc4ceb9fe1a85ec53ull;
	return key ^ (key >> 33);
}

#endif
