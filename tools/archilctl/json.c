// SPDX-License-Identifier: GPL-2.0
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

json_t *ctl_json_text(const char *text)
{
	json_t *value = json_string(text);
	size_t n = 0;
	char *out;

	if (value)
		return value;
	out = malloc(4 * strlen(text) + 1);
	if (!out)
		return NULL;
	for (; *text; text++) {
		if ((unsigned char)*text >= 0x80)
			n += sprintf(out + n, "\\x%02x", (unsigned char)*text);
		else
			out[n++] = *text;
	}
	out[n] = '\0';
	value = json_string(out);
	free(out);
	return value;
}

int ctl_json_print(json_t *value)
{
	int rc = value ? json_dumpf(value, stdout, JSON_INDENT(2)) : -1;

	json_decref(value);
	if (rc || putchar('\n') == EOF || fflush(stdout)) {
		ctl_complain("cannot write JSON");
		return CTL_ERROR;
	}
	return CTL_OK;
}
