// SPDX-License-Identifier: GPL-2.0
/*
 * Space of the write-ahead log, filled with zeros before commits come to it. A commit that
 * makes the file longer takes the file system's journal along when it is synced; where
 * there are bytes already it costs its own bytes and one flush of the device.
 *
 *  1. Only the committer is here, between two commits: RocksDB writes to no log meanwhile. And
 *     zeros are only put behind the end of the file, so they never replace anything.
 *  2. A log ends with its last byte that is not zero; see rule 3 of store_local_log.c. RocksDB
 *     cuts the zeros off when it closes a log, and we do before it reads one.
 *  3. They are flushed together with the next commit. Nothing depends on them.
 *  4. They are for many small commits in a row. Large ones would only be written twice.
 *  5. RocksDB begins a new log when it likes to. The space of the old one is then taken for used
 *     too late, which costs a few commits their journal and nothing else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_local.h"

enum {
	SPACE		= 256 << 10,	/* bytes that are prepared at a time */
	SMALL		= 8 << 10,	/* bytes of a commit, on the average */
	ENOUGH		= 16,		/* commits from which an average is taken */
	FRAMES		= 32,		/* bytes that a log adds to a small commit, at most */
};

/* The newest log; its descriptor or an errno. */
static int open_log(const char *meta)
{
	uint64_t number, newest = 0;
	char name[32];
	struct dirent *de;
	int end, fd, err;
	DIR *dir;

	dir = opendir(meta);
	if (!dir)
		return -errno;
	while ((de = readdir(dir))) {
		end = 0;
		if (sscanf(de->d_name, "%" SCNu64 ".log%n", &number, &end) == 1 && end &&
		    !de->d_name[end] && number > newest)
			newest = number;
	}
	snprintf(name, sizeof(name), "%06" PRIu64 ".log", newest);
	fd = openat(dirfd(dir), name, O_WRONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	closedir(dir);
	return err ? err : fd;
}

static bool prepare(const char *meta)
{
	static const char zeros[SPACE];
	int fd = open_log(meta);
	struct stat st;
	bool done;

	if (fd < 0)
		return false;
	done = !fstat(fd, &st) && pwrite(fd, zeros, SPACE, st.st_size) == SPACE;
	close(fd);
	return done;
}

void log_space_used(struct log_space *space, const char *meta, size_t bytes)
{
	bool small;

	space->commits++;
	space->bytes += bytes + FRAMES;
	if (space->bytes < space->prepared || space->commits < ENOUGH)
		return;
	small = space->bytes / space->commits <= SMALL;
	space->prepared = small && prepare(meta) ? SPACE : 0;
	space->bytes = 0;
	space->commits = 0;
}
