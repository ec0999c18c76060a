/* SPDX-License-Identifier: GPL-2.0 */
/* How long to wait before the next try: doubled each time, up to a quarter less by chance. */
#ifndef ARCHIL_AGENT_BACKOFF_H
#define ARCHIL_AGENT_BACKOFF_H

#include <stdint.h>
#include <stdlib.h>

enum {
	BACKOFF_MIN_MS	= 50,
	BACKOFF_MAX_MS	= 2000,
	BACKOFF_FINAL_MS = 10000,	/* after an error that trying again hardly mends */
};

struct backoff {
	uint32_t ms;			/* of the last wait; 0: none yet */
};

static inline uint32_t backoff_next(struct backoff *b, uint32_t max)
{
	b->ms = b->ms ? b->ms * 2 : BACKOFF_MIN_MS;
	if (b->ms > max)
		b->ms = max;
	return b->ms - (uint32_t)random() % (b->ms / 4 + 1);
}

static inline void backoff_reset(struct backoff *b)
{
	b->ms = 0;
}

#endif
