/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/recorder.h"

/* Lines about progress. Pure: they read nothing but what they are given. */

/* "4.2 MiB" */
void format_bytes(uint64_t bytes, char *buf, size_t size);
/* "3.1 ms", "1.24 s" */
void format_time(uint64_t ns, char *buf, size_t size);

/* One line for a terminal, begun with CR and with the old line erased, no newline:
 * "\r\033[Kdump: memory, 3/3 tasks, 12.0 MiB, 1.1 GiB/s, 0.4 s". @name: "dump" or "restore". @elapsed_ns: since the operation began. Returns the length. */
size_t progress_line(const char *name, const struct recorder *r, uint64_t elapsed_ns, char *buf, size_t size);

/* "dumped 3 tasks, 7 threads: frozen for 3.1 ms, wrote 4.2 MiB, took 12 ms\n". Returns the length. */
size_t totals_line(bool dump, const struct recorder *r, uint64_t elapsed_ns, char *buf, size_t size);

/* --display-stats: several lines. Returns the length. */
size_t stats_lines(bool dump, const struct recorder *r, uint64_t elapsed_ns, char *buf, size_t size);
