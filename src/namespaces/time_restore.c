/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The offsets of a time namespace can be written until the first task is in it, by whoever has it for his children (man 7
 * time_namespaces). unshare(2) gives one to the calling thread and nothing takes it back, so a passing process makes the
 * namespace and leaves a descriptor of it.
 *
 * What to do when it cannot be made: a tree that had its own needs one. A tree of another boot would see CLOCK_MONOTONIC
 * jump. Where it goes back, every deadline in the future is later by the jump, which is days and looks like a hang: that is
 * refused. Where it goes forward, deadlines pass, as for a program that was stopped for so long: the log warns.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "kernel/system.h"
#include "namespaces/time.h"
#include "timens.pb-c.h"
#include "watch/recorder.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define NSEC_PER_SEC 1000000000ll
#define SECONDS_MAX (INT64_MAX / NSEC_PER_SEC / 2) /* KTIME_SEC_MAX / 2: the most that the kernel takes */

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* ---- the decision ---- */

static int damaged(struct operation *op, uint32_t id)
{
	return error_raise(op->error, EBADMSG, "%s/timens-%u.img: a time that no clock shows", op->images.path, id);
}

/* The image's number, 0 when the tree had the clocks of whoever made the dump. */
static int find_namespace(struct operation *op, const TaskKobjIdsEntry *root_ids, uint32_t *ret)
{
	const struct task *root = op->tree.tasks[0];
	const TaskKobjIdsEntry *first = root->core->ids;

	*ret = 0;
	if (!first || !first->has_time_ns_id)
		return 0;
	for (size_t i = 1; i < op->tree.n_tasks; i++) {
		const struct task *t = op->tree.tasks[i];
		const TaskKobjIdsEntry *ids = t->core->ids;

		if (ids && (!ids->has_time_ns_id || ids->time_ns_id != first->time_ns_id))
			return error_raise(op->error, EOPNOTSUPP,
					   "pid %d (%s) was dumped in another time namespace than the root of its "
					   "tree, which firn "
					   "does not restore yet",
					   t->pid, t->comm);
	}
	if (root_ids && root_ids->has_time_ns_id && root_ids->time_ns_id != first->time_ns_id)
		*ret = first->time_ns_id;
	return 0;
}

static int read_image(struct operation *op, uint32_t id, const TimensEntry **ret)
{
	struct image_reader reader;
	ProtobufCMessage *m;
	const TimensEntry *t;
	int r = image_reader_open(&reader, &op->images, IMAGE_TIMENS, id, id == 0, &op->arena, op->error);

	*ret = NULL;
	if (r == -ENOENT && id == 0)
		return 0;
	if (r == 0)
		r = image_read(&reader, &timens_entry__descriptor, &m, op->error);
	if (r < 0)
		return r;
	if (r == 0)
		return id == 0 ? 0
			       : error_raise(op->error, EBADMSG, "%s/timens-%u.img: the image is empty",
					     op->images.path, id);
	t = (const TimensEntry *)m;
	if (t->monotonic->tv_sec > SECONDS_MAX || t->boottime->tv_sec > SECONDS_MAX ||
	    t->monotonic->tv_nsec >= NSEC_PER_SEC || t->boottime->tv_nsec >= NSEC_PER_SEC)
		return damaged(op, id);
	*ret = t;
	return 0;
}

/* Does firn have the very clocks that the tree had? */
static int same_clocks(struct operation *op, const TimensEntry *m, bool *ret)
{
	struct proc_timens_offsets own;
	char boot_id[BOOT_ID_SIZE];
	int r = time_namespace_own_offsets(op, &own);

	if (r < 0)
		return r;
	time_namespace_boot_id(boot_id);
	*ret = m->firn_boot_id && boot_id[0] && strcmp(m->firn_boot_id, boot_id) == 0 &&
	       m->firn_monotonic_offset == own.monotonic && m->firn_boottime_offset == own.boottime;
	return 0;
}

/* In ns, when the tree gets firn's own clocks: CLOCK_MONOTONIC's, or that of CLOCK_BOOTTIME when this one goes back further. */
static int64_t jump(const struct operation *op, const char **ret_clock)
{
	int64_t monotonic = now_ns(CLOCK_MONOTONIC) - op->clocks.monotonic;
	int64_t boottime = now_ns(CLOCK_BOOTTIME) - op->clocks.boottime;
	bool is_boottime = boottime < 0 && boottime < monotonic;

	if (ret_clock)
		*ret_clock = is_boottime ? "CLOCK_BOOTTIME" : "CLOCK_MONOTONIC";
	return is_boottime ? boottime : monotonic;
}

static void warn_of_jump(const struct operation *op, const char *why)
{
	const char *clock;
	int64_t ns = jump(op, &clock);

	log_warn(0, "%s goes %s by %lld.%03lld s for the tasks: %s", clock, ns < 0 ? "back" : "forward",
		 (long long)((ns < 0 ? -ns : ns) / NSEC_PER_SEC),
		 (long long)((ns < 0 ? -ns : ns) % NSEC_PER_SEC / 1000000), why);
}

int time_namespace_read(struct operation *op, const TaskKobjIdsEntry *root_ids)
{
	struct tree_clocks *c = &op->clocks;
	const TimensEntry *m;
	uint32_t id;
	bool same = false;
	int r = find_namespace(op, root_ids, &id);

	if (r == 0)
		r = read_image(op, id, &m);
	if (r < 0 || !m)
		return r;
	c->monotonic = (int64_t)(m->monotonic->tv_sec * NSEC_PER_SEC + m->monotonic->tv_nsec);
	c->boottime = (int64_t)(m->boottime->tv_sec * NSEC_PER_SEC + m->boottime->tv_nsec);
	r = id == 0 ? same_clocks(op, m, &same) : 0;
	if (r < 0)
		return r;
	/* A machine that was put back to a snapshot has the same boot, and earlier clocks. */
	same = same && jump(op, NULL) >= 0;
	c->go_on = same;
	if (!same && op->options->skip_timens)
		warn_of_jump(op, "--skip-timens gives them the clocks of firn itself");
	else if (!same)
		c->wanted = true;
	c->needed = c->wanted && (id != 0 || jump(op, NULL) < 0);
	return 0;
}

/* ---- the namespace ---- */

/* What the passing process, which lives in the engine's memory, does. */
struct making {
	char offsets[128];
	const char *call; /* that failed */
	int fd, number;
};

static int write_offsets(const char *text)
{
	AUTOCLOSE int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

static void pass(void *arg)
{
	struct making *m = arg;

	m->call = "unshare(CLONE_NEWTIME)";
	if (unshare(CLONE_NEWTIME) == 0) {
		m->call = "write(/proc/self/timens_offsets)";
		if (write_offsets(m->offsets) == 0) {
			m->call = "open(/proc/self/ns/time_for_children)";
			m->fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
		}
	}
	m->number = errno;
}

static int make(struct making *m)
{
	struct system_clone_args args = { .flags = CLONE_FILES };
	sigset_t all, old;
	pid_t pid;

	m->fd = -1;
	m->call = "clone3";
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = sys_clone3_vfork(&args, pass, m);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	if (pid < 0)
		m->number = -pid;
	return m->fd < 0 ? -m->number : 0;
}

/* Seconds rounded down: the kernel takes no negative nanoseconds. */
static void print_offset(char **at, const char *end, const char *name, int64_t ns)
{
	int64_t rest = (ns % NSEC_PER_SEC + NSEC_PER_SEC) % NSEC_PER_SEC;
	int n = snprintf(*at, (size_t)(end - *at), "%s %lld %lld\n", name, (long long)((ns - rest) / NSEC_PER_SEC),
			 (long long)rest);

	*at += n;
}

static int fail(struct operation *op, const struct making *m)
{
	const struct tree_clocks *c = &op->clocks;

	if (!c->needed) {
		warn_of_jump(op, "no time namespace can be made for them");
		log_info(0, "%s: %s", m->call, strerror(m->number));
		return 0;
	}
	(void)error_raise_call(op->error, m->number, m->call,
			       "a time namespace in which CLOCK_MONOTONIC goes on at %lld.%03lld s for the tasks",
			       (long long)(c->monotonic / NSEC_PER_SEC),
			       (long long)(c->monotonic % NSEC_PER_SEC / 1000000));
	error_hint(op->error,
		   "It takes CAP_SYS_ADMIN, CAP_SYS_TIME and a kernel with CONFIG_TIME_NS. --skip-timens gives the "
		   "tasks the clocks of this machine, which jump for them.");
	return -m->number;
}

int time_namespace_create(struct operation *op)
{
	struct tree_clocks *c = &op->clocks;
	struct proc_timens_offsets own;
	struct making m = { .number = EINTR };
	char *at = m.offsets, *end = m.offsets + sizeof(m.offsets);
	int r;

	if (!c->wanted)
		return 0;
	recorder_step(0, NULL, "unshare", "a time namespace for the tree");
	r = time_namespace_own_offsets(op, &own);
	if (r < 0)
		return r;
	c->monotonic_ahead = c->monotonic - now_ns(CLOCK_MONOTONIC);
	c->boottime_ahead = c->boottime - now_ns(CLOCK_BOOTTIME);
	print_offset(&at, end, "monotonic", own.monotonic + c->monotonic_ahead);
	print_offset(&at, end, "boottime", own.boottime + c->boottime_ahead);
	r = make(&m);
	if (r < 0) {
		c->monotonic_ahead = c->boottime_ahead = 0;
		return fail(op, &m);
	}
	c->fd = m.fd;
	c->made = c->go_on = true;
	log_info(0,
		 "a time namespace for the tasks: their CLOCK_MONOTONIC goes on at %lld s, that of firn is at %lld s",
		 (long long)(c->monotonic / NSEC_PER_SEC), (long long)(now_ns(CLOCK_MONOTONIC) / NSEC_PER_SEC));
	return 0;
}
