// SPDX-License-Identifier: GPL-2.0
/*
 * Which table and blob files the engine needs, and what their checksums are.
 * RocksDB's C interface tells neither the blob files nor the checksums that it
 * records for us (file_checksum_gen_factory), so its MANIFEST is read: a log of
 * edits, each a series of (tag, fields), integers as varints, strings as length
 * and bytes. Its checksums are verified by log_scan(), its contents are believed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_local.h"

enum {
	TAG_COMPARATOR = 1,
	TAG_LOG_NUMBER = 2,
	TAG_NEXT_FILE = 3,
	TAG_LAST_SEQUENCE = 4,
	TAG_COMPACT_CURSOR = 5,
	TAG_DELETED_FILE = 6,
	TAG_PREV_LOG_NUMBER = 9,
	TAG_MIN_LOG = 10,
	TAG_NEW_FILE = 103,
	TAG_COLUMN_FAMILY = 200,
	TAG_MAX_COLUMN_FAMILY = 203,
	TAG_ATOMIC_GROUP = 300,
	TAG_BLOB_ADDED = 400,
	TAG_BLOB_GARBAGE = 401,
	TAG_SKIPPABLE = 1 << 13,	/* with this bit: one string follows */

	FIELD_END = 1,			/* of a new file's own fields */
	FIELD_OLDEST_BLOB = 4,
	FIELD_CHECKSUM = 7,
	BLOB_FIELD_END = 0,
};

/* Beside its records a blob file has a header (30 bytes) and a footer (32). */
#define BLOB_FRAME	62

struct entry {
	struct live_file file;
	uint64_t oldest_blob;		/* table: 0 none */
	uint64_t blobs, garbage;	/* blob file: records, of them dead */
};

struct edits {
	struct entry *entries;		/* sorted by file number */
	size_t n, space;
};

struct cursor {
	const uint8_t *p, *end;
	int err;
};

static uint64_t get_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64 && c->p < c->end; shift += 7) {
		uint8_t byte = *c->p++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	c->err = -EUCLEAN;
	return 0;
}

static const uint8_t *get_string(struct cursor *c, uint64_t *len)
{
	const uint8_t *s;

	*len = get_varint(c);
	if (!c->err && *len > (uint64_t)(c->end - c->p))
		c->err = -EUCLEAN;
	if (c->err) {
		*len = 0;
		return NULL;
	}
	s = c->p;
	c->p += *len;
	return s;
}

static void skip_string(struct cursor *c)
{
	uint64_t len;

	get_string(c, &len);
}

/* The first entry with a number not below @number. */
static size_t find(const struct edits *e, uint64_t number)
{
	size_t lo = 0, hi = e->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (e->entries[mid].file.number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int add(struct edits *e, const struct entry *entry)
{
	size_t at = find(e, entry->file.number);

	if (at < e->n && e->entries[at].file.number == entry->file.number)
		return -EUCLEAN;
	if (e->n == e->space) {
		size_t space = e->space ? 2 * e->space : 64;
		struct entry *more = realloc(e->entries, space * sizeof(*more));

		if (!more)
			return -ENOMEM;
		e->entries = more;
		e->space = space;
	}
	memmove(e->entries + at + 1, e->entries + at, (e->n - at) * sizeof(*entry));
	e->entries[at] = *entry;
	e->n++;
	return 0;
}

static int del(struct edits *e, uint64_t number)
{
	size_t at = find(e, number);

	if (at == e->n || e->entries[at].file.number != number)
		return -EUCLEAN;
	e->n--;
	memmove(e->entries + at, e->entries + at + 1,
		(e->n - at) * sizeof(*e->entries));
	return 0;
}

static void get_checksum(struct cursor *c, struct live_file *file)
{
	uint64_t len;
	const uint8_t *s = get_string(c, &len);

	file->has_crc = len == 4;
	if (file->has_crc)
		file->crc = (uint32_t)s[0] << 24 | s[1] << 16 | s[2] << 8 | s[3];
}

static int new_table(struct edits *e, struct cursor *c)
{
	struct entry entry = { 0 };
	struct cursor sub;
	uint64_t tag, len;
	const uint8_t *s;

	get_varint(c);			/* level */
	entry.file.number = get_varint(c);
	entry.file.size = get_varint(c);
	skip_string(c);			/* smallest key */
	skip_string(c);			/* largest key */
	get_varint(c);			/* smallest sequence */
	get_varint(c);			/* largest sequence */
	while (!c->err) {
		tag = get_varint(c);
		if (tag == FIELD_END)
			break;
		if (tag == FIELD_CHECKSUM) {
			get_checksum(c, &entry.file);
			continue;
		}
		s = get_string(c, &len);
		if (tag == FIELD_OLDEST_BLOB && !c->err) {
			sub = (struct cursor){ s, s + len, 0 };
			entry.oldest_blob = get_varint(&sub);
			c->err = sub.err;
		}
	}
	return c->err ? c->err : add(e, &entry);
}

static void skip_blob_fields(struct cursor *c)
{
	while (!c->err && get_varint(c) != BLOB_FIELD_END)
		skip_string(c);
}

static int blob_added(struct edits *e, struct cursor *c)
{
	struct entry entry = { .file.blob = true };

	entry.file.number = get_varint(c);
	entry.blobs = get_varint(c);
	entry.file.size = get_varint(c) + BLOB_FRAME;
	skip_string(c);			/* the checksum's name */
	get_checksum(c, &entry.file);
	skip_blob_fields(c);
	return c->err ? c->err : add(e, &entry);
}

static int blob_garbage(struct edits *e, struct cursor *c)
{
	uint64_t number = get_varint(c), count = get_varint(c);
	size_t at;

	get_varint(c);			/* bytes */
	skip_blob_fields(c);
	if (c->err)
		return c->err;
	at = find(e, number);
	if (at == e->n || e->entries[at].file.number != number)
		return -EUCLEAN;
	e->entries[at].garbage += count;
	return 0;
}

static int apply_edit(void *arg, const uint8_t *data, size_t len, uint64_t at)
{
	struct cursor c = { data, data + len, 0 };
	struct edits *e = arg;
	int err = 0;

	(void)at;
	while (!err && !c.err && c.p < c.end) {
		uint64_t tag = get_varint(&c);

		switch (tag) {
		case TAG_COMPARATOR:
			skip_string(&c);
			break;
		case TAG_LOG_NUMBER:
		case TAG_NEXT_FILE:
		case TAG_LAST_SEQUENCE:
		case TAG_PREV_LOG_NUMBER:
		case TAG_MIN_LOG:
		case TAG_COLUMN_FAMILY:
		case TAG_MAX_COLUMN_FAMILY:
		case TAG_ATOMIC_GROUP:
			get_varint(&c);
			break;
		case TAG_COMPACT_CURSOR:
			get_varint(&c);
			skip_string(&c);
			break;
		case TAG_DELETED_FILE:
			get_varint(&c);		/* level */
			err = del(e, get_varint(&c));
			break;
		case TAG_NEW_FILE:
			err = new_table(e, &c);
			break;
		case TAG_BLOB_ADDED:
			err = blob_added(e, &c);
			break;
		case TAG_BLOB_GARBAGE:
			err = blob_garbage(e, &c);
			break;
		default:
			if (!(tag & TAG_SKIPPABLE))
				return c.err ? c.err : -EPROTONOSUPPORT;
			skip_string(&c);
		}
	}
	return c.err ? c.err : err;
}

/*
 * A blob file goes without an edit of its own: when no table needs one as old,
 * or when all in it is dead.
 */
static bool needed(const struct entry *entry, uint64_t oldest_blob)
{
	return !entry->file.blob ||
	       (entry->file.number >= oldest_blob && entry->garbage < entry->blobs);
}

int live_files_read(int metafd, const char *name, struct live_files *live)
{
	struct edits e = { 0 };
	struct log_scan scan;
	uint64_t oldest = UINT64_MAX;
	int err;

	memset(live, 0, sizeof(*live));
	err = log_scan(metafd, name, false, apply_edit, &e, &scan);
	if (!err && scan.state == LOG_DAMAGED)
		err = -EUCLEAN;
	if (err || !e.n)
		goto out;
	live->files = calloc(e.n, sizeof(*live->files));
	if (!live->files) {
		err = -ENOMEM;
		goto out;
	}
	for (size_t i = 0; i < e.n; i++)
		if (e.entries[i].oldest_blob && e.entries[i].oldest_blob < oldest)
			oldest = e.entries[i].oldest_blob;
	for (size_t i = 0; i < e.n; i++)
		if (needed(&e.entries[i], oldest))
			live->files[live->n++] = e.entries[i].file;
out:
	free(e.entries);
	return err;
}

void live_files_free(struct live_files *live)
{
	free(live->files);
	memset(live, 0, sizeof(*live));
}

void live_file_name(const struct live_file *file, char name[static LIVE_NAME_LEN])
{
	snprintf(name, LIVE_NAME_LEN, "%06" PRIu64 ".%s", file->number,
		 file->blob ? "blob" : "sst");
}
