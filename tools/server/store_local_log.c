// SPDX-License-Identifier: GPL-2.0
/*
 * Is what RocksDB would read at its start what was written? RocksDB itself does
 * not tell a power cut from damage well enough: a flipped bit in a length near
 * the end of a log, or in a record's type, passes there for the end of the log,
 * and what follows is dropped without a word. So, before it is opened:
 *
 *  1. Commits follow each other: each is one record, written and synced before
 *     the next begins. So at most one record, the last of the last log, can be
 *     unfinished (torn); it was never acknowledged. The same goes for MANIFEST.
 *  2. A bad place with the start of a good record anywhere behind it is damage.
 *  3. At the end of the last log it is a torn record if the log ends before
 *     the record does, or if a sector (512 bytes) of it, from the bad place on, was
 *     never written and reads as zeros. Else it is damage. A commit ends in bytes
 *     that are not zero (see engine_fill()), so its end is no such sector; and a log
 *     ends with its last such byte: zeros behind that are prepared space
 *     (store_local_space.c).
 *  4. A record whose length is wrong but whose checksum fits some other length
 *     is damage.
 *  5. The sequence numbers of the commits go on without a gap, over the logs:
 *     neither a record nor a log can be missing between two others.
 *  6. A torn record is cut off, durably, and so is prepared space: RocksDB meets only
 *     whole records, and is told to accept nothing else.
 *
 * So, after a crash, one damaged byte anywhere in the logs refuses the start,
 * but for one case: in the very last commit, if that also contains 512 aligned
 * zero bytes by nature, it may pass for torn. After an orderly close
 * (store_local_clean.c) every damage, missing tails included, refuses the start.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "store_local.h"

#define BLOCK		32768u
#define SECTOR		512u
#define HEADER		7u	/* crc (4), length (2), type (1) */
#define BATCH_HEADER	12u	/* of a commit: sequence (8), number of changes (4) */

enum fragment_type { FULL = 1, FIRST, MIDDLE, LAST };

struct reader {
	int fd;
	uint64_t size;		/* of the log, without prepared space */
	uint64_t base;		/* of the block in the file */
	uint32_t n;		/* bytes of it */
	uint8_t block[BLOCK];
	uint8_t *record;	/* fragments so far */
	size_t len, space;
	uint64_t start;		/* where the record began */
	bool within;		/* FIRST seen, LAST not yet */
};

static uint32_t le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

/* The CRC in a header is kept turned and shifted. */
static uint32_t header_crc(const uint8_t *h)
{
	uint32_t turned = le32(h) - 0xa282ead8u;

	return turned >> 17 | turned << 15;
}

static uint32_t header_len(const uint8_t *h)
{
	return h[4] | h[5] << 8;
}

static bool fragment_good(const uint8_t *h, uint32_t left)
{
	uint32_t len = header_len(h);

	return HEADER + len <= left && h[6] >= FULL && h[6] <= LAST &&
	       crc32c(0, h + 6, 1 + len) == header_crc(h);
}

static int read_block(struct reader *r, uint64_t base)
{
	uint32_t want = r->size - base < BLOCK ? r->size - base : BLOCK;
	uint32_t n = 0;

	while (n < want) {
		ssize_t got = pread(r->fd, r->block + n, want - n, base + n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -EIO;
		n += got;
	}
	r->base = base;
	r->n = n;
	return 0;
}

/* Where the last byte that is not zero ends. */
static int without_zeros(struct reader *r)
{
	uint64_t base = r->size;
	uint32_t n = 0;
	int err;

	while (!n && base) {
		base = (base - 1) / BLOCK * BLOCK;
		err = read_block(r, base);
		if (err)
			return err;
		for (n = r->n; n && !r->block[n - 1]; n--)
			;
	}
	r->size = base + n;
	return 0;
}

/* Does a record begin anywhere at or after @pos in this block? */
static bool start_in_block(const struct reader *r, uint32_t pos)
{
	for (; pos + HEADER <= r->n; pos++) {
		const uint8_t *h = r->block + pos;

		if ((h[6] == FULL || h[6] == FIRST) && header_len(h) &&
		    fragment_good(h, r->n - pos))
			return true;
	}
	return false;
}

/* Is a sector of this block, from @pos on, all zeros? */
static bool zero_sector_in_block(const struct reader *r, uint32_t pos)
{
	while (pos < r->n) {
		uint32_t end = (pos / SECTOR + 1) * SECTOR;
		uint32_t i = pos;

		if (end > r->n)
			end = r->n;
		while (i < end && !r->block[i])
			i++;
		if (i == end)
			return true;
		pos = end;
	}
	return false;
}

/* Rule 4: does the header at @pos fit its bytes with a length that the file has? */
static bool fits_other_length(const struct reader *r, uint32_t pos)
{
	const uint8_t *h = r->block + pos;
	uint32_t left = r->n - pos - HEADER;
	uint32_t want = header_crc(h);
	uint32_t crc = crc32c(0, h + 6, 1);

	for (uint32_t len = 0; ; len++) {
		if (crc == want)
			return true;
		if (len == left)
			return false;
		crc = crc32c(crc, h + HEADER + len, 1);
	}
}

/* Rules 2 to 4: the fragment at @pos of the block is bad. Moves the reader. */
static int judge(struct reader *r, uint32_t pos, bool cut, const char *what,
		 struct log_scan *scan)
{
	bool zeros = zero_sector_in_block(r, pos);
	bool torn = cut && (r->n - pos < HEADER || !fits_other_length(r, pos));
	uint64_t next = r->base + BLOCK;
	int err;

	scan->state = LOG_DAMAGED;
	scan->at = r->base + pos;
	scan->what = what;
	if (start_in_block(r, pos + 1))
		return 0;
	for (; next < r->size; next += BLOCK) {
		err = read_block(r, next);
		if (err)
			return err;
		if (start_in_block(r, 0))
			return 0;
		zeros = zeros || zero_sector_in_block(r, 0);
	}
	if (torn || zeros)
		scan->state = LOG_TORN;
	return 0;
}

static void damaged(struct log_scan *scan, uint64_t at, const char *what)
{
	scan->state = LOG_DAMAGED;
	scan->at = at;
	scan->what = what;
}

static int add_fragment(struct reader *r, const uint8_t *data, uint32_t len)
{
	if (r->len + len > r->space) {
		size_t space = 2 * r->space > r->len + len ? 2 * r->space : r->len + len;
		uint8_t *record = realloc(r->record, space);

		if (!record)
			return -ENOMEM;
		r->record = record;
		r->space = space;
	}
	if (len)
		memcpy(r->record + r->len, data, len);
	r->len += len;
	return 0;
}

static bool order_good(const struct reader *r, uint8_t type)
{
	return r->within == (type == MIDDLE || type == LAST);
}

int log_scan(int dirfd, const char *name, bool prepared,
	     int (*record)(void *arg, const uint8_t *data, size_t len, uint64_t at),
	     void *arg, struct log_scan *scan)
{
	struct reader *r;
	struct stat st;
	uint32_t pos = 0;
	int err = 0;

	memset(scan, 0, sizeof(*scan));
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st)) {
		err = -errno;
		goto out;
	}
	scan->size = r->size = st.st_size;
	if (prepared)
		err = without_zeros(r);
	if (err || !r->size)
		goto out;
	err = read_block(r, 0);
	while (!err) {
		const uint8_t *h = r->block + pos;
		uint32_t left = r->n - pos, len;

		if (left < HEADER && (r->n == BLOCK || !left)) {
			for (uint32_t i = 0; i < left; i++)
				if (h[i])
					damaged(scan, r->base + pos + i, "bad padding");
			if (scan->state != LOG_WHOLE || r->base + r->n == r->size)
				break;
			err = read_block(r, r->base + BLOCK);
			pos = 0;
			continue;
		}
		if (left < HEADER || !fragment_good(h, left)) {
			/* no fragment crosses the end of a whole block */
			bool cut = left < HEADER ||
				   (r->n < BLOCK && HEADER + header_len(h) > left &&
				    h[6] >= FULL && h[6] <= LAST);

			err = judge(r, pos, cut, cut ? "record cut off" : "bad checksum",
				    scan);
			break;
		}
		len = header_len(h);
		if (!order_good(r, h[6])) {
			damaged(scan, r->base + pos, "part of a record missing");
			break;
		}
		if (!r->within) {
			r->start = r->base + pos;
			r->len = 0;
		}
		err = add_fragment(r, h + HEADER, len);
		if (err)
			break;
		pos += HEADER + len;
		r->within = h[6] == FIRST || h[6] == MIDDLE;
		if (r->within)
			continue;
		err = record ? record(arg, r->record, r->len, r->start) : 0;
		if (!err)
			scan->good = r->base + pos;
	}
	if (!err && scan->state == LOG_WHOLE && r->within) {
		scan->state = LOG_TORN;
		scan->at = r->size;
		scan->what = "record cut off";
	}
out:
	if (r->fd >= 0)
		close(r->fd);
	free(r->record);
	free(r);
	return err;
}

/* ---- all logs of a disk ------------------------------------------------------ */

struct verify {
	int metafd;
	const char *meta;
	bool mend;
	void (*bad)(void *arg, const char *text);
	void *arg;
	int found;
	uint64_t next_seq;	/* 0: no commit seen yet */
};

static int report(struct verify *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int report(struct verify *v, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	v->bad(v->arg, text);
	free(text);
	v->found++;
	return 0;
}

static int check_commit(void *arg, const uint8_t *data, size_t len, uint64_t at)
{
	struct verify *v = arg;

	(void)at;
	if (len < BATCH_HEADER || (v->next_seq && le64(data) != v->next_seq))
		return -EUCLEAN;
	v->next_seq = le64(data) + le32(data + 8);
	return 0;
}

static int cut(struct verify *v, const char *name, const struct log_scan *scan)
{
	int fd = openat(v->metafd, name, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, scan->good) || fsync(fd))
		err = -errno;
	close(fd);
	if (!err && scan->state == LOG_TORN)
		log_warn("%s/%s: dropped %" PRIu64 " bytes of a change that was not finished",
			 v->meta, name, scan->size - scan->good);
	return err;
}

static int verify_log(struct verify *v, const char *name, bool wal, bool last)
{
	struct log_scan scan;
	int err = log_scan(v->metafd, name, wal, wal ? check_commit : NULL, v, &scan);

	if (err == -EUCLEAN)
		return report(v, "%s/%s is damaged: a commit is missing before byte %" PRIu64,
			      v->meta, name, scan.good);
	if (err)
		return err;
	/* a MANIFEST is complete before CURRENT names it */
	if (scan.state == LOG_DAMAGED || (!wal && !scan.good) ||
	    (scan.state == LOG_TORN && !last))
		return report(v, "%s/%s is damaged: %s at byte %" PRIu64 " of %" PRIu64,
			      v->meta, name, scan.what ? scan.what : "empty", scan.at,
			      scan.size);
	return v->mend && scan.good < scan.size ? cut(v, name, &scan) : 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The numbers of the write-ahead logs, in order; only those with something in. */
static int list_wals(int metafd, uint64_t **numbers, size_t *n)
{
	uint64_t *list = NULL, *more;
	size_t count = 0, space = 0;
	int fd = openat(metafd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *de;
	struct stat st;
	DIR *dir;
	int err = 0;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((de = readdir(dir))) {
		uint64_t number;
		int end = 0;

		if (sscanf(de->d_name, "%" SCNu64 ".log%n", &number, &end) != 1 || !end ||
		    de->d_name[end])
			continue;
		if (fstatat(metafd, de->d_name, &st, 0)) {
			err = -errno;
			break;
		}
		if (!st.st_size)
			continue;
		if (count == space) {
			space = space ? 2 * space : 16;
			more = realloc(list, space * sizeof(*list));
			if (!more) {
				err = -ENOMEM;
				break;
			}
			list = more;
		}
		list[count++] = number;
	}
	closedir(dir);
	if (err) {
		free(list);
		return err;
	}
	if (count)
		qsort(list, count, sizeof(*list), by_number);
	*numbers = list;
	*n = count;
	return 0;
}

int current_read(int metafd, char name[static MANIFEST_NAME_LEN])
{
	char text[MANIFEST_NAME_LEN];
	unsigned int digits;
	int fd, err;
	ssize_t n;

	fd = openat(metafd, "CURRENT", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err)
		return err;
	text[n] = 0;
	if (strlen(text) != (size_t)n || strncmp(text, "MANIFEST-", 9))
		return -EUCLEAN;
	digits = strspn(text + 9, "0123456789");
	if (digits < 6 || strcmp(text + 9 + digits, "\n"))
		return -EUCLEAN;
	text[9 + digits] = 0;
	strcpy(name, text);
	return 0;
}

int logs_verify(int metafd, const char *meta, bool mend,
		void (*bad)(void *arg, const char *text), void *arg)
{
	struct verify v = {
		.metafd = metafd, .meta = meta, .mend = mend, .bad = bad, .arg = arg,
	};
	char manifest[MANIFEST_NAME_LEN], name[MANIFEST_NAME_LEN];
	uint64_t *wals = NULL;
	size_t n = 0;
	int err;

	err = current_read(metafd, manifest);
	if (err == -EUCLEAN) {
		err = report(&v, "%s/CURRENT is damaged: it does not name a MANIFEST", meta);
	} else if (err == -ENOENT) {
		err = report(&v, "%s/CURRENT is missing", meta);
	} else if (!err) {
		err = verify_log(&v, manifest, false, true);
		if (err == -ENOENT)
			err = report(&v, "%s/CURRENT is damaged: it names %s, which is not there",
				     meta, manifest);
	}
	if (err)
		return err;
	err = list_wals(metafd, &wals, &n);
	for (size_t i = 0; !err && i < n; i++) {
		snprintf(name, sizeof(name), "%06" PRIu64 ".log", wals[i]);
		err = verify_log(&v, name, true, i + 1 == n);
	}
	free(wals);
	return err ? err : v.found;
}
