/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/console.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "watch/patience.h"

#define CONSOLE_QUEUE_MAX (4u << 20)

struct message {
	struct message *next;
	int fd;
	size_t len;
	char text[];
};

struct console {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t more; /* a message or the end */
	pthread_cond_t idle; /* everything is written */
	struct message *first, **last;
	size_t queued; /* bytes, the one being written included */
	bool writing, stop;
};

static void write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* closed pipe, full disk: nobody is left to be told */
		text += n;
		len -= (size_t)n;
	}
}

static void *console_main(void *arg)
{
	struct console *c = arg;

	pthread_mutex_lock(&c->mutex);
	for (;;) {
		struct message *m = c->first;

		if (!m) {
			pthread_cond_broadcast(&c->idle);
			if (c->stop)
				break;
			pthread_cond_wait(&c->more, &c->mutex);
			continue;
		}
		c->first = m->next;
		if (!c->first)
			c->last = &c->first;
		c->writing = true;
		pthread_mutex_unlock(&c->mutex);
		write_all(m->fd, m->text, m->len);
		pthread_mutex_lock(&c->mutex);
		c->writing = false;
		c->queued -= m->len;
		free(m);
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

static struct console *console_open(void)
{
	struct console *c = calloc(1, sizeof(*c));
	pthread_condattr_t monotonic;

	if (!c)
		return NULL;
	c->last = &c->first;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->more, NULL);
	pthread_cond_init(&c->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	/* The front blocks the signals it waits for before; the thread inherits that. */
	if (pthread_create(&c->thread, NULL, console_main, c)) {
		free(c);
		return NULL;
	}
	return c;
}

void console_write(struct console **c, int fd, const char *text, size_t len)
{
	struct message *m;

	if (!*c)
		*c = console_open();
	m = *c ? malloc(sizeof(*m) + len) : NULL;
	if (!m)
		return;
	m->next = NULL;
	m->fd = fd;
	m->len = len;
	memcpy(m->text, text, len);
	pthread_mutex_lock(&(*c)->mutex);
	if ((*c)->queued + len > CONSOLE_QUEUE_MAX) {
		free(m);
	} else {
		*(*c)->last = m;
		(*c)->last = &m->next;
		(*c)->queued += len;
		pthread_cond_signal(&(*c)->more);
	}
	pthread_mutex_unlock(&(*c)->mutex);
}

void console_printf(struct console **c, int fd, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	console_write(c, fd, text, (size_t)len);
	free(text);
}

bool console_flush(struct console *c, int timeout_ms)
{
	struct patience patience = patience_begin((unsigned)timeout_ms);
	struct timespec until;
	bool done;

	if (!c)
		return true;
	pthread_mutex_lock(&c->mutex);
	while (c->queued && !patience_is_over(&patience)) {
		until = patience_pause_end();
		(void)pthread_cond_timedwait(&c->idle, &c->mutex, &until);
	}
	done = c->queued == 0;
	pthread_mutex_unlock(&c->mutex);
	return done;
}

void console_close(struct console **c, int timeout_ms)
{
	struct console *done = *c;
	struct message *next;

	*c = NULL;
	if (!done)
		return;
	if (!console_flush(done, timeout_ms)) {
		pthread_detach(done->thread);
		return;
	}
	pthread_mutex_lock(&done->mutex);
	done->stop = true;
	pthread_cond_signal(&done->more);
	pthread_mutex_unlock(&done->mutex);
	pthread_join(done->thread, NULL);
	for (struct message *m = done->first; m; m = next) {
		next = m->next;
		free(m);
	}
	pthread_mutex_destroy(&done->mutex);
	pthread_cond_destroy(&done->more);
	pthread_cond_destroy(&done->idle);
	free(done);
}
