// SPDX-License-Identifier: LGPL-2.1-or-later
/* mm_fields FOLDER [deleted]: what the kernel knows of a program image: command line (rewritten by the program, as
 * servers do), environment, auxiliary vector, executable, the addresses in /proc/self/stat. */
#include "check.h"

#include <sys/prctl.h>

static char *snapshot(void)
{
	static const char *const files[] = { "/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv" };
	char *out = calloc(1, 1 << 18), *at = out, *stat, *p;
	ssize_t n;

	for (int i = 0; i < 3; i++) {
		int fd = (int)MUST(open(files[i], O_RDONLY));

		while ((n = read(fd, at, 4096)) > 0)
			at += n;
		close(fd);
		for (char *c = out; c < at; c++)
			*c = *c ? *c : '~';
	}
	stat = slurp("/proc/self/stat");
	p = strrchr(stat, ')');
	/* fields 26-28: startcode endcode startstack; 45-51: start_data end_data start_brk arg_start arg_end env_start
	 * env_end (man 5 proc) */
	for (int field = 2; p && *p; field++, p = strchr(p + 1, ' ')) {
		if ((field >= 26 && field <= 28) || (field >= 45 && field <= 51))
			at += sprintf(at, " %d:%.*s", field, (int)strcspn(p + 1, " "), p + 1);
		if (!strchr(p + 1, ' '))
			break;
	}
	return out;
}

int main(int argc, char **argv)
{
	bool deleted = argc > 2 && !strcmp(argv[2], "deleted");
	char exe[PATH_MAX] = "", now[PATH_MAX] = "", *before, *after;

	if (deleted && argc == 3) {
		char copy[PATH_MAX], cmd[3 * PATH_MAX];

		snprintf(copy, sizeof(copy), "%s/copy", argv[1]);
		MUST(readlink("/proc/self/exe", exe, sizeof(exe) - 1));
		snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", exe, copy);
		if (system(cmd))
			DIE("cp");
		execl(copy, "copy", argv[1], "deleted", "again", (char *)NULL);
		DIE("exec: %s", strerror(errno));
	}
	check_begin(argc, argv);
	if (deleted)
		MUST(unlink("copy"));
	/* as setproctitle() does it: over the old arguments */
	memset(argv[0], 'T', strlen(argv[0]));
	memcpy(argv[0], "title", 5);
	MUST(readlink("/proc/self/exe", exe, sizeof(exe) - 1));
	before = snapshot();
	check_ready();
	after = snapshot();
	CHECK(!strcmp(before, after), "before:\n%s\nafter:\n%s", before, after);
	MUST(readlink("/proc/self/exe", now, sizeof(now) - 1));
	if (deleted)
		CHECK(strstr(now, " (deleted)"), "the executable is %s, was %s", now, exe);
	else
		CHECK(!strcmp(exe, now), "the executable is %s, was %s", now, exe);
	return check_end();
}
