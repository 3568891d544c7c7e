/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/progress.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/print.h"

void format_bytes(uint64_t bytes, char *buf, size_t size)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		(void)snprintf(buf, size, "%u B", (unsigned)bytes);
		return;
	}
	while (value >= 1023.95 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(buf, size, "%.1f %s", value, units[unit]);
}

void format_time(uint64_t ns, char *buf, size_t size)
{
	double ms = (double)ns / 1e6;

	if (ms < 10)
		(void)snprintf(buf, size, "%.1f ms", ms);
	else if (ms < 1000)
		(void)snprintf(buf, size, "%.0f ms", ms);
	else
		(void)snprintf(buf, size, "%.2f s", ms / 1000);
}

static size_t clamp(int len, size_t size)
{
	return len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1;
}

size_t progress_line(const char *name, const struct recorder *r, uint64_t elapsed_ns, char *buf, size_t size)
{
	uint64_t tasks = atomic_load(&r->tasks), all = atomic_load(&r->tasks_total), bytes = atomic_load(&r->bytes);
	char tasks_text[48], bytes_text[32], rate[32];

	if (all)
		(void)snprintf(tasks_text, sizeof(tasks_text), "%llu/%llu tasks", (unsigned long long)tasks,
			       (unsigned long long)all);
	else
		(void)snprintf(tasks_text, sizeof(tasks_text), "%llu task%s", (unsigned long long)tasks, plural(tasks));
	format_bytes(bytes, bytes_text, sizeof(bytes_text));
	format_bytes(elapsed_ns ? (uint64_t)((double)bytes * 1e9 / (double)elapsed_ns) : 0, rate, sizeof(rate));
	return clamp(snprintf(buf, size, "\r\033[K%s: %s, %s, %s, %s/s, %.1f s", name, stage_name(r->step.stage),
			      tasks_text, bytes_text, rate, (double)elapsed_ns / 1e9),
		     size);
}

size_t totals_line(bool dump, const struct recorder *r, uint64_t elapsed_ns, char *buf, size_t size)
{
	uint64_t tasks = atomic_load(&r->tasks), threads = atomic_load(&r->threads);
	char counts[96], frozen[32], bytes[32], took[32];
	int n;

	n = snprintf(counts, sizeof(counts), "%llu task%s", (unsigned long long)tasks, plural(tasks));
	if (threads)
		(void)snprintf(counts + n, sizeof(counts) - (size_t)n, ", %llu thread%s", (unsigned long long)threads,
			       plural(threads));
	format_time(r->frozen_ns, frozen, sizeof(frozen));
	format_bytes(dump ? r->wrote_bytes : atomic_load(&r->bytes), bytes, sizeof(bytes));
	format_time(elapsed_ns, took, sizeof(took));
	if (dump)
		n = snprintf(buf, size, "dumped %s: frozen for %s, wrote %s, took %s\n", counts, frozen, bytes, took);
	else
		n = snprintf(buf, size, "restored %s: read %s, took %s\n", counts, bytes, took);
	return clamp(n, size);
}

size_t stats_lines(bool dump, const struct recorder *r, uint64_t elapsed_ns, char *buf, size_t size)
{
	unsigned long long moved = atomic_load(&r->bytes);
	int n;

	n = snprintf(buf, size,
		     "%s statistics:\n  total time    %llu us\n  tasks         %llu\n  threads       %llu\n"
		     "  memory moved  %llu bytes\n",
		     dump ? "dump" : "restore", (unsigned long long)elapsed_ns / 1000,
		     (unsigned long long)atomic_load(&r->tasks), (unsigned long long)atomic_load(&r->threads), moved);
	if (dump && n > 0 && (size_t)n < size)
		n += snprintf(buf + n, size - (size_t)n, "  frozen time   %llu us\n  images        %llu bytes\n",
			      (unsigned long long)r->frozen_ns / 1000, (unsigned long long)r->wrote_bytes);
	return clamp(n, size);
}
