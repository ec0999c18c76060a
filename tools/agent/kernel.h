/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's side of the agent: generic netlink family "archil".
 *
 * 1. One socket registers, asks and answers. Everything that is asked on it is
 *    answered by the kernel before sendmsg(2) returns, so the answer is waited for
 *    on the spot; upcalls and cancellations that are read meanwhile are queued.
 * 2. What was queued is acted upon once a turn of the loop, never from within a
 *    call into this file.
 * 3. A doorbell, or an overflow of the socket, starts a dump of the upcalls.
 * 4. A second socket hears when the family comes and goes with its module.
 */
#ifndef ARCHIL_AGENT_KERNEL_H
#define ARCHIL_AGENT_KERNEL_H

#include "agent.h"

struct kernel;

/*
 * Starts to look for the module, and registers when it is there. Returns 0, or a
 * negative errno and err. fatal: called from the loop when registering is hopeless.
 */
int kernel_start(struct agent *agent, struct kernel **out, void (*fatal)(struct agent *agent),
		 char err[static ERR_TEXT]);
/* Once a turn of the loop. */
void kernel_turn(struct kernel *k);
void kernel_stop(struct kernel *k);

extern const struct kernel_ops kernel_netlink;

#endif
