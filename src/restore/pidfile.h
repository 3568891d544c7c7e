/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/options.h"

/*
 * The file that --pidfile names, which tells the restored root's pid. It is opened before anything is made and written
 * while everything can still be undone: whoever waits for it may find it an instant before the tasks run. One that was
 * made is known to the front (recorder_name_add()), which removes it when the engine cannot.
 */
struct pidfile {
	char path[4096];
	int fd;	      /* -1: none was asked for */
	bool made;    /* it was not there before */
	bool written; /* what was in it is gone */
};

/* 0, also when none is asked for; -errno raised. May block on the file's file system. */
int pidfile_open(struct pidfile *p, const struct options *o, struct error *e);
/* May block, too: a job of the worker. */
int pidfile_write(struct pidfile *p, pid_t root, struct error *e);
/* After a failure a file that was made is removed, and another one, once written, left empty. */
void pidfile_close(struct pidfile *p, bool failed);
