/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/options.h"

/*
 * The file that --pidfile names, which tells the restored root's pid. It is opened before anything is made and written
 * while everything can still be undone: whoever waits for it may find it an instant before the tasks run.
 */
struct pidfile {
	char path[4096];
	int fd;	   /* -1: none was asked for */
	bool made; /* it was not there before */
};

/* 0, also when none is asked for; -errno raised. May block on the file's file system. */
int pidfile_open(struct pidfile *p, const struct options *o, struct error *e);
int pidfile_write(const struct pidfile *p, pid_t root, struct error *e);
/* After a failure a file that was made is removed, and another one left empty. */
void pidfile_close(struct pidfile *p, bool failed);
