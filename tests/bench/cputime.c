// SPDX-License-Identifier: GPL-2.0
/*
 * cputime NAME: the seconds that the processes whose names begin so, kernel threads too,
 * have been running so far, together. To the nanosecond: /proc/PID/stat counts hundredths
 * of a second.
 */
#include <dirent.h>

#include "bench.h"

static bool is_called(const char *pid, const char *name)
{
	char path[300], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(comm, sizeof(comm), f))
		comm[0] = '\0';
	fclose(f);
	return !strncmp(comm, name, strlen(name));
}

int main(int argc, char **argv)
{
	struct dirent *entry;
	struct timespec t;
	double sum = 0;
	clockid_t id;
	pid_t pid;
	DIR *proc;

	proc = opendir("/proc");
	if (argc != 2 || !proc) {
		fputs("usage: cputime NAME\n", stderr);
		return 2;
	}
	while ((entry = readdir(proc))) {
		pid = strtol(entry->d_name, NULL, 10);
		if (!pid || !is_called(entry->d_name, argv[1]))
			continue;
		if (!clock_getcpuclockid(pid, &id) && !clock_gettime(id, &t))
			sum += t.tv_sec + t.tv_nsec / 1e9;
	}
	printf("%.6f\n", sum);
	return 0;
}
