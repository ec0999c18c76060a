// SPDX-License-Identifier: GPL-2.0
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { RING_ENTRIES = 1024, SLEEP_MS = 60000 };

static uint64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* fails only when it is readable anyway */
	if (write(loop->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void event_arm(struct loop *loop)
{
	struct io_uring_sqe *sqe = loop_sqe(loop, &loop->event_op);

	io_uring_prep_read(sqe, loop->event_fd, &loop->event_count,
			   sizeof(loop->event_count), 0);
}

static void event_done(struct loop_op *op, int res)
{
	struct loop *loop = container_of(op, struct loop, event_op);

	if (res != -ECANCELED)
		event_arm(loop);
}

int loop_init(struct loop *loop)
{
	int rc;

	memset(loop, 0, sizeof(*loop));
	TAILQ_INIT(&loop->timers);
	STAILQ_INIT(&loop->calls);
	loop->now = monotonic_ms();
	loop->event_fd = eventfd(0, EFD_CLOEXEC);
	if (loop->event_fd < 0)
		return -errno;
	rc = io_uring_queue_init(RING_ENTRIES, &loop->ring, 0);
	if (rc) {
		close(loop->event_fd);
		return rc;
	}
	pthread_mutex_init(&loop->lock, NULL);
	loop->event_op.done = event_done;
	event_arm(loop);
	return 0;
}

void loop_destroy(struct loop *loop)
{
	io_uring_queue_exit(&loop->ring);
	close(loop->event_fd);
	pthread_mutex_destroy(&loop->lock);
}

struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&loop->ring)))
		io_uring_submit(&loop->ring);
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

void loop_cancel(struct loop *loop, struct loop_op *op)
{
	/* NULL: nobody waits for the cancelling itself */
	io_uring_prep_cancel(loop_sqe(loop, NULL), op, 0);
}

void loop_post(struct loop *loop, struct loop_call *call)
{
	bool first;

	pthread_mutex_lock(&loop->lock);
	first = STAILQ_EMPTY(&loop->calls);
	STAILQ_INSERT_TAIL(&loop->calls, call, next);
	pthread_mutex_unlock(&loop->lock);
	if (first)
		wake(loop);
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	if (!timer->armed)
		return;
	TAILQ_REMOVE(&loop->timers, timer, next);
	timer->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t ms)
{
	struct loop_timer *pos;

	loop_timer_clear(loop, timer);
	timer->at = loop->now + ms;
	timer->armed = true;
	TAILQ_FOREACH_REVERSE(pos, &loop->timers, loop_timers, next)
		if (pos->at <= timer->at)
			break;
	if (pos)
		TAILQ_INSERT_AFTER(&loop->timers, pos, timer, next);
	else
		TAILQ_INSERT_HEAD(&loop->timers, timer, next);
}

static void run_timers(struct loop *loop)
{
	struct loop_timer *timer;

	while ((timer = TAILQ_FIRST(&loop->timers)) && timer->at <= loop->now) {
		loop_timer_clear(loop, timer);
		timer->fire(timer);
	}
}

void loop_drain(struct loop *loop)
{
	STAILQ_HEAD(, loop_call) calls = STAILQ_HEAD_INITIALIZER(calls);
	struct loop_call *call;

	pthread_mutex_lock(&loop->lock);
	STAILQ_CONCAT(&calls, &loop->calls);
	pthread_mutex_unlock(&loop->lock);

	while ((call = STAILQ_FIRST(&calls))) {
		STAILQ_REMOVE_HEAD(&calls, next);
		call->run(call);
	}
}

/* Is there something to run (or the loop to end) before sleeping? */
static bool awake(struct loop *loop)
{
	bool pending;

	pthread_mutex_lock(&loop->lock);
	pending = loop->stop || !STAILQ_EMPTY(&loop->calls);
	pthread_mutex_unlock(&loop->lock);
	return pending;
}

static bool stopped(struct loop *loop)
{
	bool stop;

	pthread_mutex_lock(&loop->lock);
	stop = loop->stop && STAILQ_EMPTY(&loop->calls);
	pthread_mutex_unlock(&loop->lock);
	return stop;
}

static int sleep_ms(struct loop *loop, int most)
{
	struct loop_timer *timer = TAILQ_FIRST(&loop->timers);

	if (!timer)
		return most;
	if (timer->at <= loop->now)
		return 0;
	return timer->at - loop->now < (uint64_t)most ? (int)(timer->at - loop->now) : most;
}

static void run_done(struct loop *loop)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&loop->ring, head, cqe) {
		struct loop_op *op = io_uring_cqe_get_data(cqe);

		n++;
		if (op)
			op->done(op, cqe->res);
	}
	io_uring_cq_advance(&loop->ring, n);
}

int loop_once(struct loop *loop, int ms)
{
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	int rc;

	if (loop->turn && loop->turn(loop->turn_arg))
		ms = 0;
	ms = sleep_ms(loop, ms);
	ts.tv_sec = ms / 1000;
	ts.tv_nsec = (long long)(ms % 1000) * 1000000;
	rc = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &ts, NULL);
	loop->now = monotonic_ms();
	if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN)
		return rc;
	run_done(loop);
	run_timers(loop);
	loop_drain(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	int rc = 0;

	while (!rc && !stopped(loop))
		rc = loop_once(loop, awake(loop) ? 0 : SLEEP_MS);
	return rc;
}
