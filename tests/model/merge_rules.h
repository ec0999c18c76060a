/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The merge rules, one by one: what is done, and what is sent for it.
 */
#ifndef TESTS_MODEL_MERGE_RULES_H
#define TESTS_MODEL_MERGE_RULES_H

#include "merge_ops.h"

/*
 * What is done, one step a line, and what is sent. Before it there is a directory
 * 2 as 1/d and a file 3 as 1/e; the batch's steps have times 11, 12, ... and
 * entries take the next cookie. Sent: the type; the inode; its names; ":" the
 * times (m, c: the inode's; t: the record's) and what else there is to know.
 */
static const struct rule {
	const char *what, *done, *sent;
} rules[] = {
	{ "1: attributes of one inode",
	  "chmod 3, chown 3, utimes 3",
	  "SETATTR 3: m13 c13 valid 0x33" },
	{ "1: over contents",
	  "chown 3, write 3 0 4, utimes 3",
	  "CONTENT 3: t12 0+4, SETATTR 3: m13 c13 valid 0x32" },
	{ "1: two sizes, smaller",
	  "size 3 9, size 3 5",
	  "SETATTR 3: m12 c12 valid 0x70 size 5" },
	{ "1: two sizes, greater",
	  "size 3 5, size 3 9",
	  "SETATTR 3: m11 c11 valid 0x70 size 5, SETATTR 3: m12 c12 valid 0x70 size 9" },
	{ "2: attributes of a new inode",
	  "create 4 1/a, chmod 4, utimes 4",
	  "CREATE 4 1/a: m13 c13 t11" },
	{ "2: times that contents set again stay",
	  "create 4 1/a, write 4 0 4, utimes 4",
	  "CREATE 4 1/a: m11 c11 t11, CONTENT 4: t12 0+4, SETATTR 4: m13 c13 valid 0x30" },
	{ "3: contents that join",
	  "write 3 0 4, write 3 4 4, write 3 8 4",
	  "CONTENT 3: t13 0+12" },
	{ "3: contents that overlap, over others",
	  "write 3 8 4, write 3 30 4, write 3 4 6",
	  "CONTENT 3: t12 30+4, CONTENT 3: t13 4+8" },
	{ "3: not over a size",
	  "write 3 0 4, size 3 2, write 3 4 4",
	  "CONTENT 3: t11 0+4, SETATTR 3: m12 c12 valid 0x70 size 2, CONTENT 3: t13 4+4" },
	{ "4: an xattr set twice",
	  "setx 3 a, setx 3 b, setx 3 a",
	  "SETXATTR 3 user.b: t12, SETXATTR 3 user.a: t13" },
	{ "5: an xattr that came and went",
	  "create 4 1/a, setx 4 a, rmx 4 a",
	  "CREATE 4 1/a: m11 c11 t11, SETATTR 4: c13 valid 0x20" },
	{ "5: of an older inode both stay",
	  "setx 3 a, rmx 3 a",
	  "SETXATTR 3 user.a: t11, RMXATTR 3 user.a: t12" },
	{ "6: a new inode renamed",
	  "create 4 1/a, rename 4 1/a 1/b",
	  "CREATE 4 1/b: m11 c12 t12" },
	{ "6: and again, with contents",
	  "create 4 1/a, write 4 0 4, rename 4 1/a 2/a, rename 4 2/a 1/c",
	  "CREATE 4 1/c: m11 c11 t14, CONTENT 4: t12 0+4, "
	  "SETATTR 1: m14 c14 valid 0x30, SETATTR 2: m14 c14 valid 0x30, "
	  "SETATTR 4: c14 valid 0x20" },
	{ "6: into another directory",
	  "create 4 1/a, rename 4 1/a 2/a",
	  "CREATE 4 2/a: m11 c12 t12, SETATTR 1: m12 c12 valid 0x30" },
	{ "6: not past another entry",
	  "create 4 1/a, create 5 1/b, rename 4 1/a 1/c",
	  "CREATE 4 1/a: m11 c11 t11, CREATE 5 1/b: m12 c12 t12, RENAME 4 1/a 1/c: t13" },
	{ "6: not into a directory made later",
	  "create 4 1/a, mkdir 5 2/b, rename 4 1/a 5/c",
	  "CREATE 4 1/a: m11 c11 t11, CREATE 5 2/b: m12 c12 t12, RENAME 4 1/a 5/c: t13" },
	{ "6: not over another",
	  "create 4 1/a, rename 4 1/a 1/e over 3",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 4 1/a 1/e over 3: t12" },
	{ "6: not a directory in which something was done",
	  "mkdir 4 1/a, rename 2 1/d 4/d, rename 2 4/d 1/d, rename 4 1/a 2/a",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 2 1/d 4/d: t12, RENAME 2 4/d 1/d: t13, "
	  "RENAME 4 1/a 2/a: t14" },
	{ "7: a temporary file gets its name",
	  "tmp 4 2, write 4 0 4, link 4 1/a",
	  "CREATE 4 1/a: m11 c11 t13, CONTENT 4: t12 0+4, SETATTR 4: c13 valid 0x20" },
	{ "8: a link that came and went",
	  "create 4 1/a, link 4 2/b, unlink 4 2/b",
	  "CREATE 4 1/a: m11 c11 t11, SETATTR 2: m13 c13 valid 0x30, SETATTR 4: c13 valid 0x20" },
	{ "8: of an older inode both stay",
	  "link 3 2/b, unlink 3 2/b",
	  "LINK 3 2/b: t11, UNLINK 3 2/b: t12" },
	{ "9: a file that came and went",
	  "create 4 2/a, write 4 0 4, setx 4 a, size 4 2, unlink 4 2/a",
	  "SETATTR 2: m15 c15 valid 0x30" },
	{ "9: with two names",
	  "create 4 2/a, link 4 1/b, unlink 4 2/a, unlink 4 1/b",
	  "SETATTR 1: m14 c14 valid 0x30, SETATTR 2: m13 c13 valid 0x30" },
	{ "9: a whole tree",
	  "mkdir 4 2/a, create 5 4/a, mkdir 6 4/b, unlink 5 4/a, unlink 6 4/b, unlink 4 2/a",
	  "SETATTR 2: m16 c16 valid 0x30" },
	{ "9: the next entry's time is the later",
	  "create 4 2/a, unlink 4 2/a, create 5 2/b",
	  "CREATE 5 2/b: m13 c13 t13" },
	{ "9: an earlier entry's CREATE takes the time",
	  "create 4 2/a, create 5 2/b, unlink 5 2/b",
	  "CREATE 4 2/a: m11 c11 t11, SETATTR 2: m13 c13 valid 0x30" },
	{ "9: replaced by another new one",
	  "create 4 2/a, create 5 2/b, rename 5 2/b 2/a over 4",
	  "CREATE 5 2/a: m12 c13 t13" },
	{ "9: having replaced an older one",
	  "create 4 1/a, rename 4 1/a 1/e over 3, unlink 4 1/e",
	  "UNLINK 3 1/e: t12, SETATTR 1: m13 c13 valid 0x30" },
	{ "9: open, it stays",
	  "create 4 1/a, unlink 4 1/a open",
	  "CREATE 4 1/a: m11 c11 t11, UNLINK 4 1/a open: t12" },
	{ "9: until it is closed",
	  "create 4 1/a, unlink 4 1/a open, write 4 0 4, release 4",
	  "SETATTR 1: m12 c12 valid 0x30" },
	{ "9: exchanged, it stays",
	  "create 4 1/a, rename 4 1/a 1/e xchg 3, unlink 4 1/e",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 4 1/a 1/e xchg 3: t12, UNLINK 4 1/e: t13" },
	{ "9: a directory that something older passed through stays",
	  "mkdir 4 1/a, rename 3 1/e 4/e, rename 3 4/e 1/e, unlink 4 1/a",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 3 1/e 4/e: t12, RENAME 3 4/e 1/e: t13, "
	  "UNLINK 4 1/a: t14" },
	{ "10: removed while open, and closed",
	  "unlink 3 1/e open, release 3",
	  "UNLINK 3 1/e: t11" },
	{ "10: the last of its links",
	  "link 3 1/a, unlink 3 1/e open, unlink 3 1/a open, release 3",
	  "LINK 3 1/a: t11, UNLINK 3 1/e open: t12, UNLINK 3 1/a: t13" },
	{ "10: replaced while open, and closed",
	  "create 4 1/a, rename 4 1/a 1/e open 3, release 3",
	  "CREATE 4 1/a: m11 c11 t11, RENAME 4 1/a 1/e over 3: t12" },
	{ "10: and what replaced it vanishes first",
	  "create 4 1/a, rename 4 1/a 1/e open 3, unlink 4 1/e, release 3",
	  "UNLINK 3 1/e: t12, SETATTR 1: m13 c13 valid 0x30" },
	{ "10: a directory",
	  "create 4 2/a, unlink 4 2/a, unlink 2 1/d open, release 2",
	  "UNLINK 2 1/d: t13" },
	{ "10: not if something was done to it open",
	  "unlink 3 1/e open, write 3 0 4, release 3",
	  "UNLINK 3 1/e open: t11, CONTENT 3: t12 0+4, RELEASE 3:" },
	{ "10: not of an orphan that is older",
	  "unlink 3 1/e open, seal, release 3",
	  "RELEASE 3:" },
	{ "11: contents withdrawn",
	  "create 4 1/a, write 4 0 4, write 4 20 4, outgrow 4, utimes 4",
	  "CREATE 4 1/a: m15 c15 t11" },
	{ "11: their times stay",
	  "create 4 1/a, write 4 0 4, chown 4, write 4 20 4, outgrow 4",
	  "CREATE 4 1/a: m14 c11 t11, SETATTR 4: c14 valid 0x22" },
	{ "11: over an xattr",
	  "create 4 1/a, setx 4 a, write 4 0 4, outgrow 4",
	  "CREATE 4 1/a: m13 c11 t11, SETXATTR 4 user.a: t12, SETATTR 4: c13 valid 0x20" },
	{ "11: renamed to a free name",
	  "create 4 1/a, write 4 0 4, rename 4 1/a 1/b, outgrow 4",
	  "CREATE 4 1/b: m12 c11 t13, SETATTR 4: c13 valid 0x20" },
	{ "11: not of an older inode",
	  "write 3 0 4, outgrow 3",
	  "CONTENT 3: t11 0+4" },
	{ "11: not over a size",
	  "create 4 1/a, write 4 0 4, size 4 2, outgrow 4",
	  "CREATE 4 1/a: m11 c11 t11, CONTENT 4: t12 0+4, SETATTR 4: m13 c13 valid 0x70 size 2" },
	{ "11: not of what was put over another",
	  "create 4 1/a, write 4 0 4, rename 4 1/a 1/e over 3, outgrow 4",
	  "CREATE 4 1/a: m11 c11 t11, CONTENT 4: t12 0+4, RENAME 4 1/a 1/e over 3: t13" },
	{ "11: nor over one that came and went",
	  "create 4 2/a, create 5 2/b, write 5 0 4, rename 5 2/b 2/a over 4, outgrow 5",
	  "CREATE 5 2/a: m12 c12 t14, CONTENT 5: t13 0+4, SETATTR 5: c14 valid 0x20" },
};

static void do_path(const char *path, u64 *dir, const char **name, u16 *len)
{
	char *slash;

	*dir = strtoull(path, &slash, 10);
	if (*slash) {
		*name = names[slash[1] - 'a'];
		*len = 1;
	}
}

static void do_step(const char *step)
{
	char verb[16] = "", a[16] = "", b[16] = "", flag[16] = "";
	static const u8 data[BYTES] = "0123456789abcdef";
	struct archil_record rec = { 0 };
	u64 over = 0;

	if (!strcmp(step, " seal")) {
		seal();
		return;
	}
	MUST(sscanf(step, " %15s %" SCNu64 " %15s %15s %15s %" SCNu64, verb, &rec.ino, a, b,
		    flag, &over) >= 2, "what is \"%s\"?", step);
	rec.time = now();
	if (!strcmp(verb, "outgrow")) {
		outgrow(rec.ino);
		return;
	}
	if (!strcmp(verb, "create") || !strcmp(verb, "mkdir") || !strcmp(verb, "tmp")) {
		rec.type = ARCHIL_REC_CREATE;
		rec.mode = *verb == 'm' ? S_IFDIR | 0755 : S_IFREG | 0644;
		rec.flags = *verb == 't' ? ARCHIL_CREATE_TMPFILE : 0;
		rec.atime = rec.mtime = rec.ctime = rec.btime = rec.time;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
		rec.cookie = rec.name_len ? plain.inode[rec.dir].next_cookie : 0;
		last_ino = rec.ino;
	} else if (!strcmp(verb, "link")) {
		rec.type = ARCHIL_REC_LINK;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
		rec.cookie = plain.inode[rec.dir].next_cookie;
	} else if (!strcmp(verb, "unlink")) {
		rec.type = ARCHIL_REC_UNLINK;
		rec.flags = *b ? ARCHIL_UNLINK_OPEN : 0;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
	} else if (!strcmp(verb, "rename")) {
		rec.type = ARCHIL_REC_RENAME;
		do_path(a, &rec.dir, &rec.name, &rec.name_len);
		do_path(b, &rec.new_dir, &rec.new_name, &rec.new_name_len);
		rec.target = over;
		rec.flags = *flag == 'x' ? ARCHIL_RENAME_EXCHANGE :
			    !strcmp(flag, "open") ? ARCHIL_RENAME_OPEN : 0;
		rec.cookie = *flag == 'x' ? 0 : plain.inode[rec.new_dir].next_cookie;
	} else if (!strcmp(verb, "write")) {
		rec.type = ARCHIL_REC_CONTENT;
		rec.off = strtoull(a, NULL, 10);
		rec.data_len = strtoul(b, NULL, 10);
		rec.data = data;
	} else if (!strcmp(verb, "setx") || !strcmp(verb, "rmx")) {
		rec.type = *verb == 's' ? ARCHIL_REC_SETXATTR : ARCHIL_REC_RMXATTR;
		rec.name = xattrs[*a - 'a'];
		rec.name_len = 6;
	} else if (!strcmp(verb, "release")) {
		rec.type = ARCHIL_REC_RELEASE;
	} else {
		rec.type = ARCHIL_REC_SETATTR;
		rec.mtime = rec.ctime = rec.time;
		rec.valid = ARCHIL_SET_CTIME;
		if (!strcmp(verb, "chmod"))
			rec.valid |= ARCHIL_SET_MODE;
		else if (!strcmp(verb, "chown"))
			rec.valid |= ARCHIL_SET_UID;
		else
			rec.valid |= ARCHIL_SET_MTIME;
		if (!strcmp(verb, "size"))
			rec.valid |= ARCHIL_SET_SIZE;
		rec.size = strtoull(a, NULL, 10);
	}
	record(&rec);
}

static void sent_one(FILE *out, const struct archil_record *rec)
{
	bool open = (rec->type == ARCHIL_REC_UNLINK && rec->flags) ||
		    (rec->type == ARCHIL_REC_RENAME && rec->flags == ARCHIL_RENAME_OPEN);
	bool xchg = rec->type == ARCHIL_REC_RENAME && rec->flags == ARCHIL_RENAME_EXCHANGE;

	fprintf(out, "%s%s %" PRIu64, ftell(out) ? ", " : "",
		archil_record_name(rec->type), rec->ino);
	if (rec->dir)
		fprintf(out, " %" PRIu64 "/%.*s", rec->dir, rec->name_len, rec->name);
	else if (rec->name_len)
		fprintf(out, " %.*s", rec->name_len, rec->name);
	if (rec->new_dir)
		fprintf(out, " %" PRIu64 "/%.*s", rec->new_dir, rec->new_name_len,
			rec->new_name);
	if (rec->target)
		fprintf(out, " %s %" PRIu64, xchg ? "xchg" : open ? "open" : "over",
			rec->target);
	fprintf(out, "%s:", open && !rec->target ? " open" : "");
	if (rec->mtime.sec)
		fprintf(out, " m%" PRIu64, le64_to_cpu(rec->mtime.sec));
	if (rec->ctime.sec)
		fprintf(out, " c%" PRIu64, le64_to_cpu(rec->ctime.sec));
	if (rec->time.sec)
		fprintf(out, " t%" PRIu64, le64_to_cpu(rec->time.sec));
	if (rec->valid)
		fprintf(out, " valid %#x", rec->valid);
	if (rec->valid & (ARCHIL_SET_SIZE | ARCHIL_SET_SIZE_UP))
		fprintf(out, " size %" PRIu64, rec->size);
	if (rec->type == ARCHIL_REC_CONTENT)
		fprintf(out, " %" PRIu64 "+%u", rec->off, rec->data_len);
}

static int by_ino(const void *a, const void *b)
{
	const struct archil_record *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Pending times, which are behind all records, come in any order. */
static void sent_text(FILE *out, u32 records)
{
	struct archil_record sent[32];
	size_t pos = 0;
	u32 n = 0, i;

	while (n < ARRAY_SIZE(sent) &&
	       archil_record_next(sealed_buf, sealed_len, &pos, &sent[n]) == 1)
		n++;
	MUST(n >= records && n < ARRAY_SIZE(sent), "%u records, %u without times", n, records);
	qsort(sent + records, n - records, sizeof(*sent), by_ino);
	for (i = 0; i < n; i++)
		sent_one(out, &sent[i]);
}

static void check_rule(const struct rule *rule)
{
	char steps[512], *save, *step, *text;
	struct archil_batch_rec *e;
	u32 records = 0;
	size_t len;
	FILE *out;

	start(sizeof(sealed_buf));
	do_step("mkdir 2 1/d");
	do_step("create 3 1/e");
	seal();
	clock_now = 10;
	snprintf(steps, sizeof(steps), "%s", rule->done);
	for (step = strtok_r(steps, ",", &save); step; step = strtok_r(NULL, ",", &save))
		do_step(step);
	for (e = batch.first; e; e = e->next)
		records++;
	seal();
	out = open_memstream(&text, &len);
	MUST(out, "no memory");
	sent_text(out, records);
	fclose(out);
	if (strcmp(text, rule->sent)) {
		printf("FAILED: rule %s\n  done:     %s\n  sent:     %s\n  expected: %s\n",
		       rule->what, rule->done, text, rule->sent);
		exit(1);
	}
	free(text);
}

#endif
