/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "watch/recorder.h"

bool external_listed(const struct operation *op, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < op->options->n_external; i++) {
		const char *given = op->options->external[i];

		if (strncmp(given, key, len) == 0 && (given[len] == '\0' || given[len] == ':'))
			return true;
	}
	return false;
}

bool external_begins(const struct operation *op, const char *beginning)
{
	for (size_t i = 0; i < op->options->n_external; i++) {
		if (strncmp(op->options->external[i], beginning, strlen(beginning)) == 0)
			return true;
	}
	return false;
}

/* Behind "pipe:" or "pipe" of "pipe:[1]" and "pipe[1]", which are one; NULL: it is neither that nor a socket. */
static const char *inode_of(const char *key, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(key, word, len) != 0)
		return NULL;
	key += len + (key[len] == ':');
	return key[0] == '[' ? key : NULL;
}

static bool same_key(const char *given, const char *key)
{
	static const char *const words[] = { "pipe", "socket" };

	for (size_t i = 0; i < 2; i++) {
		const char *a = inode_of(given, words[i]), *b = inode_of(key, words[i]);

		if (a || b)
			return a && b && strcmp(a, b) == 0;
	}
	/* "/a/b" and "a/b" are one. */
	given += given[0] == '/';
	key += key[0] == '/';
	return strcmp(given, key) == 0;
}

int inherit_find(const struct operation *op, const char *key)
{
	for (size_t i = 0; i < op->options->n_inherit; i++) {
		const char *given = op->options->inherit[i], *colon = strstr(given, "]:");

		/* cli/options.c has checked the form: fd[N]:KEY */
		if (colon && same_key(colon + 2, key))
			return atoi(given + strlen("fd["));
	}
	return -1;
}

int inherit_take(struct operation *op, const char *key, const char *describe, int *ret_fd)
{
	int fd = inherit_find(op, key);

	if (fd < 0)
		return 0;
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (*ret_fd < 0)
		return error_raise_call(op->error, errno, "fcntl(F_DUPFD)", "%s, fd %d of --inherit-fd", describe, fd);
	log_info(0, "%s: fd %d of --inherit-fd takes its place", describe, fd);
	return INHERITED;
}
