// SPDX-License-Identifier: GPL-2.0
/*
 * Rules of linear hashing, with low the greatest power of two <= buckets:
 *
 * 1. An entry lies in bucket hash mod 2*low if there is such a bucket, else in
 *    hash mod low.
 * 2. Growing adds bucket number `buckets`; what belongs there by rule 1 was in
 *    one other bucket, the new one's number minus low. Shrinking is the reverse.
 * 3. Buckets are kept in segments that never move: segment 0 has
 *    HTABLE_BUCKETS_MIN of them, each further one as many as all before it.
 */
#include <stdlib.h>

#include "htable.h"

static size_t index_of(const struct htable *table, uint64_t hash)
{
	return htable_bucket(table->buckets, hash);
}

static unsigned int segment_of(size_t bucket)
{
	if (bucket < HTABLE_BUCKETS_MIN)
		return 0;
	return 64 - __builtin_clzll(bucket / HTABLE_BUCKETS_MIN);
}

static size_t segment_start(unsigned int segment)
{
	return segment ? (size_t)HTABLE_BUCKETS_MIN << (segment - 1) : 0;
}

static struct hlink **bucket_at(struct htable *table, size_t bucket)
{
	unsigned int segment = segment_of(bucket);

	if (!segment)
		return &table->first[bucket];
	return &table->segment[segment][bucket - segment_start(segment)];
}

static void grow(struct htable *table)
{
	size_t bucket = table->buckets;
	unsigned int segment = segment_of(bucket);
	struct hlink **from, **to;

	if (segment == HTABLE_SEGMENTS)
		return;
	if (bucket == segment_start(segment)) {
		table->segment[segment] = calloc(bucket, sizeof(*to));
		if (!table->segment[segment])
			return;
	}
	from = bucket_at(table, index_of(table, bucket));
	to = bucket_at(table, bucket);
	table->buckets++;
	while (*from) {
		struct hlink *link = *from;

		if (index_of(table, link->hash) == bucket) {
			*from = link->next;
			link->next = *to;
			*to = link;
		} else {
			from = &link->next;
		}
	}
}

static void shrink(struct htable *table)
{
	size_t bucket = table->buckets - 1;
	unsigned int segment = segment_of(bucket);
	struct hlink **from = bucket_at(table, bucket);
	struct hlink **to;

	table->buckets--;
	to = bucket_at(table, index_of(table, bucket));
	while (*to)
		to = &(*to)->next;
	*to = *from;
	if (bucket == segment_start(segment)) {
		free(table->segment[segment]);
		table->segment[segment] = NULL;
	} else {
		*from = NULL;
	}
}

void htable_init(struct htable *table)
{
	*table = (struct htable){ .buckets = HTABLE_BUCKETS_MIN };
}

void htable_destroy(struct htable *table)
{
	unsigned int i;

	for (i = 1; i < HTABLE_SEGMENTS; i++)
		free(table->segment[i]);
	htable_init(table);
}

void htable_add(struct htable *table, struct hlink *link, uint64_t hash)
{
	struct hlink **bucket = bucket_at(table, index_of(table, hash));

	link->hash = hash;
	link->next = *bucket;
	*bucket = link;
	if (++table->count > table->buckets)
		grow(table);
}

void htable_del(struct htable *table, struct hlink *link)
{
	struct hlink **at = bucket_at(table, index_of(table, link->hash));
	int i;

	for (; *at != link; at = &(*at)->next)
		table->visits++;
	*at = link->next;
	table->count--;
	/* by two, so that a table that empties ends up small */
	for (i = 0; i < 2; i++)
		if (table->buckets > HTABLE_BUCKETS_MIN && table->count < table->buckets / 2)
			shrink(table);
}

/* From link on, the first one with that hash. */
static struct hlink *match(struct htable *table, struct hlink *link, uint64_t hash)
{
	for (; link; link = link->next) {
		table->visits++;
		if (link->hash == hash)
			break;
	}
	return link;
}

struct hlink *htable_find(struct htable *table, uint64_t hash)
{
	return match(table, *bucket_at(table, index_of(table, hash)), hash);
}

struct hlink *htable_next(struct htable *table, struct hlink *link)
{
	return match(table, link->next, link->hash);
}
