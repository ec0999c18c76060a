/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The event loop: one thread, one io_uring.
 *
 * 1. Everything here but loop_post() and loop_stop() belongs to the loop's
 *    thread.
 * 2. A struct loop_op is one submission; it stays where it is until done().
 * 3. Other threads hand over work by loop_post(): it runs in the loop, in the
 *    order in which it was posted.
 */
#ifndef ARCHIL_LOOP_H
#define ARCHIL_LOOP_H

#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#ifndef container_of
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#endif

/* glibc's <sys/queue.h> lacks it: var may be removed in the body */
#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, tmp)				\
	for ((var) = TAILQ_FIRST(head);						\
	     (var) && ((tmp) = TAILQ_NEXT(var, field), 1); (var) = (tmp))
#endif

struct loop_op {
	void (*done)(struct loop_op *op, int res);	/* res: as the system call's, -errno */
};

struct loop_call {
	STAILQ_ENTRY(loop_call) next;
	void (*run)(struct loop_call *call);	/* may free call */
};

struct loop_timer {
	TAILQ_ENTRY(loop_timer) next;
	uint64_t at;				/* ms, loop_now() */
	bool armed;
	void (*fire)(struct loop_timer *timer);
};

struct loop {
	struct io_uring ring;
	uint64_t now;				/* ms, CLOCK_MONOTONIC, once a turn */
	TAILQ_HEAD(loop_timers, loop_timer) timers;	/* by time */
	bool (*turn)(void *arg);		/* called before each sleep; true: do not sleep */
	void *turn_arg;

	pthread_mutex_t lock;
	STAILQ_HEAD(, loop_call) calls;		/* protected by lock */
	bool stop;				/* protected by lock */
	int event_fd;
	struct loop_op event_op;
	uint64_t event_count;
};

/* Returns 0 or a negative errno. */
int loop_init(struct loop *loop);
void loop_destroy(struct loop *loop);

/* Runs until loop_stop(). Returns 0 or a negative errno (the ring broke). */
int loop_run(struct loop *loop);
/* One turn of it, which sleeps for at most so long. 0 or a negative errno. */
int loop_once(struct loop *loop, int ms);
/* Runs what was posted, without sleeping. */
void loop_drain(struct loop *loop);
/* Any thread. What was posted before is still run. */
void loop_stop(struct loop *loop);
/* Any thread. */
void loop_post(struct loop *loop, struct loop_call *call);

/* A submission entry whose end calls op->done(). Never NULL. */
struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_op *op);
/* Takes back the submission of op, if it has not ended; done() is still called. */
void loop_cancel(struct loop *loop, struct loop_op *op);

/* Fires once, ms from now; a timer that is armed is moved. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ms);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

#endif
