/* SPDX-License-Identifier: GPL-2.0 */
/* What mount(8), which called us, was told and keeps to itself. */
#ifndef ARCHIL_MOUNT8_H
#define ARCHIL_MOUNT8_H

#include <stdbool.h>

/*
 * `shared` is a word of mount(8)'s own, for the propagation of mounts, and it does
 * not pass it on to a helper. Was it among the options for this directory, on its
 * command line or in fstab? False if mount(8) is not our parent.
 */
bool mount8_shared(const char *dir);

#endif
