/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watch/other.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/exit_codes.h"
#include "kernel/procfs.h"
#include "watch/bounded.h"
#include "watch/console.h"
#include "watch/other_report.h"
#include "watch/recorder.h"
#include "watch/rescue.h"

#define FILE_MS 2000
#define CONSOLE_MS 2000
#define ARGUMENTS_SIZE 65536

struct other {
	const struct other_options *options;
	struct console *console;
	struct arena arena; /* for the whole watch */
	struct aims aims;
	struct before before;
	pid_t root;	     /* the command, or the process that is looked at */
	bool below;	     /* the watched tree is all that is below this process */
	struct pulse anchor; /* when something last moved */
	uint64_t quiet_ns, looked_ns, start_ns;
	bool reported, late; /* this stall; the deadline */
};

/* ---- words ---- */

/* A report on its way to a file. */
struct copy {
	const char *dir, *name;
	size_t len;
	char text[];
};

static void write_copy(void *arg)
{
	const struct copy *c = arg;
	int dir = c->dir ? open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : AT_FDCWD;
	int fd = openat(dir, c->name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t done = 0;
	ssize_t n = 0;

	while (fd >= 0 && done < c->len && (n = write(fd, c->text + done, c->len - done)) > 0)
		done += (size_t)n;
	if (fd < 0 || n < 0)
		_exit(1);
}

/* The file's place may be what does not answer: a process of its own writes there. */
static void copy_to_file(const char *dir, const char *name, const char *text, size_t len)
{
	struct copy *c = bounded_memory(sizeof(*c) + len);

	if (!c)
		return;
	c->dir = dir;
	c->name = name;
	c->len = len;
	memcpy(c->text, text, len);
	(void)bounded_run(write_copy, c, FILE_MS);
	(void)munmap(c, sizeof(*c) + len);
}

static void say(struct other *w, const char *text, size_t len)
{
	const struct other_options *o = w->options;

	console_write(&w->console, STDERR_FILENO, text, len);
	if (o->log)
		copy_to_file(NULL, o->log, text, len);
	if (o->work_dir)
		copy_to_file(o->work_dir, "stall-report.txt", text, len);
}

static int end(struct other *w, int code)
{
	console_close(&w->console, CONSOLE_MS);
	arena_release(&w->arena);
	return code;
}

/* ---- looking ---- */

static int look(const struct other *w, struct arena *a, struct crowd *ret)
{
	return crowd_look(w->below ? getpid() : w->root, w->below, a, ret);
}

/* Less than a hundredth of a processor is no movement: a loop that asks once a second whether it may go on. */
static bool has_moved(const struct pulse *now, const struct pulse *anchor, uint64_t quiet_ns)
{
	return now->io != anchor->io || now->people != anchor->people ||
	       now->cpu_ns > anchor->cpu_ns + quiet_ns / 100 + 2000000;
}

/* Some process of the tree is ready to run or runs. */
static bool is_ready(const struct crowd *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->people[i].ours && c->people[i].state == 'R')
			return true;
	return false;
}

static unsigned look_every_ms(const struct other *w)
{
	unsigned ms = w->options->stall_ms ? w->options->stall_ms / 8 : 1000;

	return ms < 50 ? 50 : ms > 1000 ? 1000 : ms;
}

/* Takes a sample. True when something moved since the last one. A machine that stood still made nobody stuck: one look counts
 * for twice its distance at most, and what is ready to run waits for a processor only. */
static bool sample(struct other *w, const struct crowd *c)
{
	uint64_t now = monotonic_ns(), passed = now - w->looked_ns, most = look_every_ms(w) * 2000000ull;
	struct pulse pulse;

	w->looked_ns = now;
	if (crowd_pulse(c, &pulse) && has_moved(&pulse, &w->anchor, w->quiet_ns)) {
		w->anchor = pulse;
		w->quiet_ns = 0;
		return true;
	}
	if (!is_ready(c))
		w->quiet_ns += passed < most ? passed : most;
	return false;
}

/* ---- a stall ---- */

/* Reports, and with --rescue rescues; then *ret_free is whether all is free. */
static void report(struct other *w, const struct crowd *c, const char *what, bool act, bool *ret_free)
{
	AUTOFREE char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct crowd now;

	if (!out)
		return;
	other_report(c, &w->aims, what, out);
	if (!act)
		fputs("  firn did     nothing: --rescue ends the checkpointer and sets free what it holds\n", out);
	if (fclose(out) == 0)
		say(w, text, len);
	if (!act)
		return;
	free(TAKE_PTR(text));
	out = open_memstream(&text, &len);
	if (!out)
		return;
	/* The report took its time: who is there now? */
	if (look(w, &w->arena, &now))
		now = *c;
	*ret_free = rescue(&now, &w->aims, &w->before, &w->arena, out);
	if (fclose(out) == 0)
		say(w, text, len);
}

/* ---- the command ---- */

/* How things are before the command begins. */
static void look_before(struct other *w)
{
	struct crowd c;

	if (crowd_look(getpid(), true, &w->arena, &c))
		return;
	rescue_freezers(&c, &w->aims, &w->before.frozen);
	w->before.stopped = arena_array(&w->arena, c.n ? c.n : 1, sizeof(struct person));
	for (size_t i = 0; w->before.stopped && i < c.n; i++)
		if (c.people[i].state == 'T')
			w->before.stopped[w->before.n_stopped++] = c.people[i];
}

static pid_t start_command(const struct other_options *o, const sigset_t *mask)
{
	pid_t pid = fork();
	int error;

	if (pid)
		return pid;
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)execvp(o->argv[0], o->argv);
	error = errno;
	(void)fprintf(stderr, "firn: watch: %s: execvp: %s.\n", o->argv[0], strerror(error));
	_exit(error == ENOENT ? 127 : 126);
}

/* Reaps whoever has ended, since orphans of the command come to this process. True when the command has; then *ret is its
 * exit code. */
static bool reap(pid_t command, int *ret)
{
	bool ended = false;
	siginfo_t info;

	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) || !info.si_pid)
			return ended;
		if (info.si_pid != command)
			continue;
		*ret = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
		ended = true;
	}
}

/* A key pressed at the terminal reaches the command by itself. */
static void pass_signals(int fd, pid_t command)
{
	struct signalfd_siginfo s;

	while (read(fd, &s, sizeof(s)) == (ssize_t)sizeof(s))
		if (s.ssi_signo != SIGCHLD && s.ssi_code != SI_KERNEL)
			(void)kill(command, (int)s.ssi_signo);
}

static bool past_limit(struct other *w, char *what, size_t size)
{
	const struct other_options *o = w->options;
	uint64_t elapsed = monotonic_ns() - w->start_ns;

	if (o->stall_ms && !w->reported && w->quiet_ns >= o->stall_ms * 1000000ull) {
		w->reported = true;
		(void)snprintf(what, size, "%s (pid %d): nothing moved for %.1f s, %.1f s after the beginning",
			       o->argv[0], w->root, (double)w->quiet_ns / 1e9, (double)elapsed / 1e9);
		return true;
	}
	if (o->deadline_ms && !w->late && elapsed >= o->deadline_ms * 1000000ull) {
		w->late = true;
		(void)snprintf(what, size, "%s (pid %d): not done within its deadline of %.1f s", o->argv[0], w->root,
			       o->deadline_ms / 1000.0);
		return true;
	}
	return false;
}

/* One look at the running command. True when it was rescued; then *ret_free. */
static bool look_at_command(struct other *w, bool *ret_free)
{
	struct arena a = { 0 };
	struct crowd c;
	char what[512];
	bool acted = false;

	if (look(w, &a, &c) == 0) {
		if (sample(w, &c) && w->reported) {
			static const char text[] = "watch: it moves again\n";

			w->reported = false;
			say(w, text, sizeof(text) - 1);
		}
		if (past_limit(w, what, sizeof(what))) {
			report(w, &c, what, w->options->rescue, ret_free);
			acted = w->options->rescue;
		}
	}
	arena_release(&a);
	return acted;
}

static int watch_command(struct other *w, int signal_fd)
{
	unsigned every = look_every_ms(w);
	uint64_t next = monotonic_ns() + every * 1000000ull;
	bool all_free = false;
	int code = EXIT_FAILED;

	for (;;) {
		struct pollfd p = { .fd = signal_fd, .events = POLLIN };
		uint64_t now = monotonic_ns();

		(void)poll(&p, 1, now >= next ? 0 : (int)((next - now) / 1000000 + 1));
		pass_signals(signal_fd, w->root);
		if (reap(w->root, &code))
			return code;
		if (monotonic_ns() < next)
			continue;
		if (look_at_command(w, &all_free)) {
			(void)reap(w->root, &code);
			return all_free ? EXIT_STALLED : EXIT_FAILED;
		}
		next = monotonic_ns() + every * 1000000ull;
	}
}

static int run_command(struct other *w)
{
	static const int passed_on[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD };
	AUTOCLOSE int signal_fd = -1;
	sigset_t set, old;

	aims_of_arguments(w->options->argv, &w->aims);
	look_before(w);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		(void)sigaddset(&set, passed_on[i]);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	w->below = true;
	w->start_ns = w->looked_ns = monotonic_ns();
	w->root = signal_fd < 0 ? -1 : start_command(w->options, &old);
	if (w->root < 0) {
		(void)fprintf(stderr, "firn: watch: %s: fork: %s.\n", w->options->argv[0], strerror(errno));
		return EXIT_FAILED;
	}
	return watch_command(w, signal_fd);
}

/* ---- one that runs already ---- */

struct arguments {
	pid_t pid;
	ssize_t len;
	char text[ARGUMENTS_SIZE];
};

/* Waits for the task's memory map. */
static void read_arguments(void *arg)
{
	struct arguments *args = arg;
	char path[48];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", args->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	args->len = fd < 0 ? -1 : read(fd, args->text, sizeof(args->text) - 1);
}

static bool same_pid_namespace(pid_t pid)
{
	char path[48], own[64], other[64];
	ssize_t n, m;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	n = readlink("/proc/self/ns/pid", own, sizeof(own));
	m = readlink(path, other, sizeof(other));
	return n > 0 && n == m && memcmp(own, other, (size_t)n) == 0;
}

static void find_aims(struct other *w)
{
	struct arguments *shared = bounded_memory(sizeof(*shared));
	char *text = NULL, **argv = NULL;
	size_t n = 0, len;

	if (!shared)
		return;
	shared->pid = w->root;
	if (bounded_run(read_arguments, shared, 300) && shared->len > 0)
		text = arena_memdup(&w->arena, shared->text, (size_t)shared->len + 1);
	len = text ? (size_t)shared->len : 0;
	(void)munmap(shared, sizeof(*shared));
	argv = arena_array(&w->arena, len / 2 + 3, sizeof(*argv));
	for (size_t at = 0; argv && at < len && n < len / 2 + 2; at += strlen(text + at) + 1)
		argv[n++] = text + at;
	if (argv)
		aims_of_arguments(argv, &w->aims);
	/* Another process's words: its numbers mean something here only when it counts as this one does, and a folder that it
	 * names is none of this process's business. The groups of the tasks that it traces are found without. */
	w->aims.freezer = NULL;
	if (!same_pid_namespace(w->root))
		w->aims.n = 0;
}

/* A process that holds nobody is no checkpointer at work: a wrong pid must not be the end of it. */
static bool holds_something(struct other *w, const struct crowd *c)
{
	AUTOFREE struct freezers *frozen = calloc(1, sizeof(*frozen));

	for (size_t i = 0; i < c->n; i++)
		if (c->people[i].held)
			return true;
	if (frozen)
		rescue_freezers(c, &w->aims, frozen);
	if (frozen && frozen->n)
		return true;
	if (w->options->rescue)
		(void)fprintf(stderr,
			      "firn: watch: pid %d holds no task and no frozen control group: it is not ended.\n",
			      w->root);
	return false;
}

static int look_at_pid(struct other *w)
{
	const struct other_options *o = w->options;
	unsigned window = o->stall_ms ? o->stall_ms : 1000, every = window / 4 < 50 ? 50 : window / 4;
	bool moved = false, all_free = false, first = true;
	struct arena a = { 0 };
	struct crowd c;
	const struct person *self;
	char what[256];
	int code;

	w->root = o->pid;
	find_aims(w);
	for (uint64_t begin = w->looked_ns = monotonic_ns(); !moved; first = false) {
		arena_release(&a);
		if (look(w, &a, &c) || !crowd_find(&c, w->root)) {
			(void)fprintf(stderr, "firn: watch: pid %d: there is no such process.\n", w->root);
			arena_release(&a);
			return EXIT_FAILED;
		}
		self = crowd_find(&c, getpid());
		if (self && self->ours) {
			(void)fprintf(stderr, "firn: watch: pid %d: this firn runs below it.\n", w->root);
			arena_release(&a);
			return EXIT_USAGE;
		}
		moved = sample(w, &c) && !first;
		moved = moved || is_ready(&c);
		if (monotonic_ns() - begin >= window * 1000000ull)
			break;
		(void)poll(NULL, 0, (int)every);
	}
	(void)snprintf(what, sizeof(what), "pid %d: %s %.1f s", w->root,
		       moved ? "it moves, seen within" : "STUCK: nothing moved for", window / 1000.0);
	report(w, &c, what, o->rescue && !moved && holds_something(w, &c), &all_free);
	code = moved ? EXIT_DONE : o->rescue && !all_free ? EXIT_FAILED : EXIT_STALLED;
	arena_release(&a);
	return code;
}

int other_watch(const struct other_options *o)
{
	struct other w = { .options = o };

	return end(&w, o->argv ? run_command(&w) : look_at_pid(&w));
}
