// SPDX-License-Identifier: GPL-2.0
/*
 * For LD_PRELOAD: a program that makes nothing durable and does not know it. What it would
 * have flushed, by a system call or through io_uring, is left to the page cache; the calls
 * succeed. A test of durability must fail on such a server.
 */
/* link: -shared -fPIC -ldl */
#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

int fsync(int fd)
{
	return 0;
}

int fdatasync(int fd)
{
	return 0;
}

int syncfs(int fd)
{
	return 0;
}

int sync_file_range(int fd, off64_t offset, off64_t nbytes, unsigned int flags)
{
	return 0;
}

int msync(void *addr, size_t len, int flags)
{
	return 0;
}

/* What is about to be submitted: io_uring_get_sqe() has been there, the kernel has not. */
static void drop_flushes(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;
	unsigned int i;

	for (i = sq->sqe_head; i != sq->sqe_tail; i++) {
		struct io_uring_sqe *sqe = &sq->sqes[i & *sq->kring_mask];

		if (sqe->opcode != IORING_OP_FSYNC)
			continue;
		sqe->opcode = IORING_OP_NOP;
		sqe->fsync_flags = 0;
	}
}

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

int io_uring_submit(struct io_uring *ring)
{
	drop_flushes(ring);
	return NEXT(io_uring_submit)(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned int nr)
{
	drop_flushes(ring);
	return NEXT(io_uring_submit_and_wait)(ring, nr);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int nr,
				     struct __kernel_timespec *ts, sigset_t *mask)
{
	drop_flushes(ring);
	return NEXT(io_uring_submit_and_wait_timeout)(ring, cqe, nr, ts, mask);
}
