// SPDX-License-Identifier: GPL-2.0
#include "mount_opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

/* Options of the mount point, whatever is mounted there. */
static const struct attr_word {
	const char *word;
	uint64_t set, clear;
} attr_words[] = {
	{ "nosuid",		MOUNT_ATTR_NOSUID, 0 },
	{ "suid",		0, MOUNT_ATTR_NOSUID },
	{ "nodev",		MOUNT_ATTR_NODEV, 0 },
	{ "dev",		0, MOUNT_ATTR_NODEV },
	{ "noexec",		MOUNT_ATTR_NOEXEC, 0 },
	{ "exec",		0, MOUNT_ATTR_NOEXEC },
	{ "nodiratime",		MOUNT_ATTR_NODIRATIME, 0 },
	{ "diratime",		0, MOUNT_ATTR_NODIRATIME },
	{ "nosymfollow",	MOUNT_ATTR_NOSYMFOLLOW, 0 },
	{ "symfollow",		0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "noatime",		MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
	{ "atime",		MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "relatime",		MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "norelatime",		MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "strictatime",	MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "nostrictatime",	MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	/* who lets users mount does not let them bring programs of root's */
	{ "user",	MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0 },
	{ "users",	MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0 },
	{ "owner",	MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0 },
	{ "group",	MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0 },
};

/* For the kernel, without a value and with one. */
static const char *const flag_words[] = {
	"sync", "async", "dirsync", "lazytime", "nolazytime", "silent", "loud",
};

static const char *const value_words[] = {
	"cache_ttl", "commit", "timeo",
	"context", "fscontext", "defcontext", "rootcontext",
};

/* mount(8)'s and systemd's own; nothing to do with how it is mounted. */
static const char *const ignored_words[] = {
	"defaults", "auto", "noauto", "nofail", "_netdev", "nouser", "nousers", "noowner",
	"nogroup", "comment", "uhelper", "helper",
};

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}

static int add_param(struct mount_opts *opts, const char *key, const char *value,
		     char err[static ERR_TEXT])
{
	struct mount_param *p = &opts->param[opts->params];

	if (opts->params == MOUNT_PARAMS_MAX) {
		snprintf(err, ERR_TEXT, "too many mount options");
		return -EINVAL;
	}
	p->key = strdup(key);
	p->value = value ? strdup(value) : NULL;
	if (!p->key || (value && !p->value)) {
		free(p->key);
		free(p->value);
		snprintf(err, ERR_TEXT, "out of memory");
		return -ENOMEM;
	}
	opts->params++;
	return 0;
}

static bool take_attr(struct mount_opts *opts, const char *word)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(attr_words); i++) {
		const struct attr_word *a = &attr_words[i];

		if (strcmp(word, a->word))
			continue;
		opts->attr_set = (opts->attr_set & ~a->clear) | a->set;
		opts->attr_clear = (opts->attr_clear & ~a->set) | a->clear;
		return true;
	}
	return false;
}

static void take_ro(struct mount_opts *opts, bool ro)
{
	opts->ro = ro;
	opts->attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	opts->attr_clear |= MOUNT_ATTR_RDONLY;
	if (ro)
		opts->attr_set |= MOUNT_ATTR_RDONLY;
}

/* Returns 1 when the word is not one of archil's own. */
static int take_own(struct mount_opts *opts, const char *word, const char *value,
		    char err[static ERR_TEXT])
{
	if (!strcmp(word, "shared") && !value) {
		opts->shared = true;
	} else if (!strcmp(word, "force") && !value) {
		opts->force = true;
	} else if (!strcmp(word, "ro") && !value) {
		take_ro(opts, true);
	} else if (!strcmp(word, "rw") && !value) {
		take_ro(opts, false);
	} else if (!strcmp(word, "remount") && !value) {
		opts->remount = true;
	} else if (!strcmp(word, "tokenfile")) {
		if (!value || !*value || strlen(value) >= sizeof(opts->tokenfile)) {
			snprintf(err, ERR_TEXT, "tokenfile= needs the name of a file");
			return -EINVAL;
		}
		strcpy(opts->tokenfile, value);
	} else if (!strcmp(word, "token")) {
		snprintf(err, ERR_TEXT, "a token does not belong on a command line, where all can "
			 "see it: use tokenfile= or ARCHIL_MOUNT_TOKEN");
		return -EINVAL;
	} else {
		return 1;
	}
	return 0;
}

static int take_word(struct mount_opts *opts, const char *word, const char *value, bool sloppy,
		     char err[static ERR_TEXT])
{
	int rc = take_own(opts, word, value, err);

	if (rc <= 0)
		return rc;
	if (!strncmp(word, "x-", 2) || !strncmp(word, "X-", 2) ||
	    is_one_of(word, ignored_words, ARRAY_SIZE(ignored_words)))
		return 0;
	/* mount(8) writes user=NAME into it */
	if ((!value || !strcmp(word, "user")) && take_attr(opts, word))
		return 0;
	if (!value && is_one_of(word, flag_words, ARRAY_SIZE(flag_words)))
		return add_param(opts, word, NULL, err);
	if (is_one_of(word, value_words, ARRAY_SIZE(value_words))) {
		if (value && *value)
			return add_param(opts, word, value, err);
		snprintf(err, ERR_TEXT, "mount option %s needs a value", word);
		return -EINVAL;
	}
	if (sloppy)
		return 0;
	snprintf(err, ERR_TEXT, "unknown mount option '%.100s%s%.100s'", word, value ? "=" : "",
		 value ? value : "");
	return -EINVAL;
}

/* Cuts off the next option, without its quotes; NULL: there is none. */
static char *next_word(char **rest)
{
	char *from = *rest, *to = *rest, *word = *rest;
	bool quoted = false;

	if (!from)
		return NULL;
	for (; *from && (quoted || *from != ','); from++) {
		if (*from == '"')
			quoted = !quoted;
		else
			*to++ = *from;
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return word;
}

int mount_opts_parse(struct mount_opts *opts, const char *text, bool sloppy,
		     char err[static ERR_TEXT])
{
	char *copy = strdup(text), *rest = copy, *word, *value;
	int rc = 0;

	if (!copy) {
		snprintf(err, ERR_TEXT, "out of memory");
		return -ENOMEM;
	}
	while (!rc && (word = next_word(&rest))) {
		if (!*word)
			continue;
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		rc = take_word(opts, word, value, sloppy, err);
	}
	free(copy);
	return rc;
}

int mount_opts_check(const struct mount_opts *opts, char err[static ERR_TEXT])
{
	const char *other = opts->shared ? "shared" : opts->ro ? "ro" : NULL;

	if (!opts->force || !other)
		return 0;
	snprintf(err, ERR_TEXT,
		 "force cannot go together with %s: there is nothing to take for such a mount",
		 other);
	return -EINVAL;
}

void mount_opts_free(struct mount_opts *opts)
{
	while (opts->params) {
		opts->params--;
		free(opts->param[opts->params].key);
		free(opts->param[opts->params].value);
	}
}
