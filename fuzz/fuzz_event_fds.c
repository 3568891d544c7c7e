/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locks, and the own lines of epoll, signalfd, timerfd, inotify, fanotify and pidfds, in fdinfo. */
#include "kernel/procfs.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	char *text = arena_alloc(&a, size + 1);
	struct proc_epoll_target *targets;
	struct proc_fanotify group;
	struct proc_timerfd timer;
	struct proc_mark *marks;
	struct proc_lock *locks;
	uint64_t mask;
	pid_t pid;
	size_t n;

	if (!text)
		return 0;
	memcpy(text, data, size);
	if (parse_fdinfo_epoll(text, &a, &targets, &n) == 0) {
		PROMISED(n <= size / 4);
		for (size_t i = 0; i < n; i++)
			PROMISED(targets[i].tfd >= 0);
	}
	if (parse_fdinfo_locks(text, &a, &locks, &n) == 0)
		for (size_t i = 0; i < n; i++)
			PROMISED(locks[i].start <= INT64_MAX && locks[i].len <= INT64_MAX - locks[i].start);
	if (parse_fdinfo_inotify(text, &a, &marks, &n) == 0)
		for (size_t i = 0; i < n; i++)
			PROMISED(marks[i].wd >= 1 && marks[i].wd <= INT32_MAX && marks[i].handle_len <= 128);
	if (parse_fdinfo_fanotify(text, &a, &group) == 0)
		for (size_t i = 0; i < group.n_marks; i++)
			PROMISED(group.marks[i].handle_len <= 128);
	if (parse_fdinfo_pidfd(text, &pid) == 0)
		PROMISED(pid >= -1);
	(void)parse_fdinfo_signalfd(text, &mask);
	if (parse_fdinfo_timerfd(text, &timer) == 0)
		PROMISED(timer.value.tv_sec >= 0 && timer.value.tv_nsec < 1000000000 && timer.interval.tv_sec >= 0 &&
			 timer.interval.tv_nsec < 1000000000);
	arena_release(&a);
	return 0;
}
