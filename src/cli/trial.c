/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/trial.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define WORDS_MAX 256

/* Only files lie there: firn removes its own subfolders. */
static void empty(const char *folder)
{
	AUTOCLOSEDIR DIR *dir = opendir(folder);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
}

static void become_firn(bool dry, char *const *words, const char *folder, int out)
{
	const char *argv[WORDS_MAX + 8];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t n = 0;

	argv[n++] = "firn";
	argv[n++] = dry ? "explain" : "dump";
	for (; *words && n < WORDS_MAX; words++)
		argv[n++] = *words;
	argv[n++] = "-D";
	argv[n++] = folder;
	if (!dry)
		argv[n++] = "--leave-running";
	argv[n] = NULL;
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(out, STDERR_FILENO) >= 0)
		(void)execv("/proc/self/exe", (char *const *)argv);
	_exit(127);
}

static int code_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void trial_run(bool dry, char *const *words, const char *folder, struct trial *ret)
{
	AUTOCLOSE int out = memfd_create("firn-bisect", MFD_CLOEXEC);
	pid_t pid = out < 0 ? -1 : fork();
	int status;
	ssize_t n;

	*ret = (struct trial){ .dry = dry, .code = -1 };
	if (pid == 0)
		become_firn(dry, words, folder, out);
	if (pid < 0)
		return;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	ret->code = code_of(status);
	n = pread(out, ret->text, sizeof(ret->text) - 1, 0);
	ret->text[n > 0 ? n : 0] = '\0';
	empty(folder);
}

/* explain's first item: "  1. OBJECT\n     REASON\n" */
static char *first_refusal(const struct trial *t)
{
	const char *at = strstr(t->text, "  1. "), *end = at ? strchr(at, '\n') : NULL;

	end = end ? strchr(end + 1, '\n') : NULL;
	return end ? strndup(at + 5, (size_t)(end - at - 5)) : NULL;
}

/* The error's line up to what it says of the outcome; of a stall report, which stands before it, nothing. */
static char *error_line(const struct trial *t)
{
	const char *at = strncmp(t->text, "firn: ", 6) == 0 ? t->text : strstr(t->text, "\nfirn: ");
	const char *end;

	if (!at)
		return NULL;
	at += *at == '\n';
	end = strstr(at, ". Nothing was changed");
	if (!end)
		end = at + strcspn(at, "\n");
	return strndup(at, (size_t)(end - at));
}

char *trial_sentence(const struct trial *t)
{
	char *text = t->dry ? first_refusal(t) : error_line(t);
	char *newline = text ? strstr(text, "\n     ") : NULL;

	if (newline) {
		newline[0] = ':';
		memmove(newline + 1, newline + 5, strlen(newline + 5) + 1);
	}
	return text;
}

/* Pids, inodes and times differ from try to try. */
static bool same_but_numbers(const char *a, const char *b)
{
	while (*a && *b) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			a += strspn(a, "0123456789.");
			b += strspn(b, "0123456789.");
		} else if (*a++ != *b++) {
			return false;
		}
	}
	return *a == *b;
}

bool trial_same(const struct trial *first, const struct trial *now)
{
	AUTOFREE char *a = first->dry ? first_refusal(first) : error_line(first);
	AUTOFREE char *b = first->dry ? NULL : error_line(now);

	if (first->code != now->code)
		return false;
	if (first->dry)
		return a && strstr(now->text, a);
	return a && b ? same_but_numbers(a, b) : !a && !b;
}
