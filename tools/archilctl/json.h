/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ARCHIL_CTL_JSON_H
#define ARCHIL_CTL_JSON_H

#include <jansson.h>

/* Of any bytes: those that are no UTF-8 are written as \xNN. */
json_t *ctl_json_text(const char *text);
/* Prints and frees it. Returns enum ctl_exit. */
int ctl_json_print(json_t *value);

#endif
