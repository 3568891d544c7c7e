/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "kinds/lock.h"
#include "kinds/registry.h"
#include "kinds/regular.h"
#include "kinds/table.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

/*
 * What is open in the tree, and which descriptors are one open file.
 *
 * First come facts that nothing behind the descriptor can hold up: numbers, links and fdinfo. Two descriptors can only
 * be the same open file when inode, mount, flags and position agree, so these are sorted first; among equals kcmp()
 * gives an order of the kernel's addresses, which makes ten thousand descriptors of /dev/null a matter of
 * n log n comparisons. Only one descriptor of each open file is then copied here by pidfd_getfd(), and only after the
 * recorder was told what it is: fstat() of a file on a dead server does not return.
 */
struct candidate {
	struct fd_facts facts;
	size_t slot; /* in task->descriptors */
	size_t order;
	struct candidate *same; /* the first descriptor of the same open file; itself when it is the first */
	struct file *file;
};

struct collection {
	struct candidate *all;
	size_t n, room;
};

struct mount_cache {
	struct mount_cache *next;
	const char *ns;
	struct proc_mount *mounts;
	size_t n;
};

/* A task's mountinfo leaves out what lies outside of its root directory (man 2 chroot), and its descriptors may be there:
 * firn's own is read where the namespace is the same. */
static int read_mounts(const struct task *t, const char *ns, struct arena *a, struct mount_cache *c)
{
	AUTOCLOSE int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *own;

	if (self >= 0 && read_proc_link(self, "ns/mnt", a, &own) == 0 && strcmp(own, ns) == 0)
		return read_proc_mountinfo(self, a, &c->mounts, &c->n);
	return read_proc_mountinfo(t->proc_fd, a, &c->mounts, &c->n);
}

static int mounts_of(struct operation *op, struct task *t, struct mount_cache **ret)
{
	struct mount_cache *c;
	char *ns;
	int r;

	r = read_proc_link(t->proc_fd, "ns/mnt", &op->arena, &ns);
	if (r < 0)
		return error_raise_call(op->error, -r, "readlink", "pid %d (%s), ns/mnt", t->pid, t->comm);
	for (c = op->files->mounts; c; c = c->next) {
		if (strcmp(c->ns, ns) == 0) {
			*ret = c;
			return 0;
		}
	}
	c = arena_alloc(&op->arena, sizeof(*c));
	if (!c)
		return raise_no_memory(op);
	recorder_step(t->pid, t->comm, "read", "/proc/%d/mountinfo", t->pid);
	r = read_mounts(t, ns, &op->arena, c);
	if (r < 0)
		return error_raise_call(op->error, -r, "read", "pid %d (%s), mountinfo", t->pid, t->comm);
	c->ns = ns;
	c->next = op->files->mounts;
	op->files->mounts = c;
	*ret = c;
	return 0;
}

static const struct proc_mount *mount_find(const struct mount_cache *c, int mnt_id)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->mounts[i].mnt_id == mnt_id)
			return &c->mounts[i];
	}
	return NULL;
}

static struct candidate *collection_add(struct collection *c)
{
	if (c->n == c->room) {
		size_t room = c->room ? c->room * 2 : 256;
		struct candidate *all = reallocarray(c->all, room, sizeof(*all));

		if (!all)
			return NULL;
		c->all = all;
		c->room = room;
	}
	memset(&c->all[c->n], 0, sizeof(c->all[c->n]));
	return &c->all[c->n++];
}

/* Facts of one descriptor that no object can block. 1: the descriptor is gone (the tree is not frozen yet). */
static int facts_read(struct operation *op, struct task *t, int number, const struct mount_cache *mounts,
		      struct fd_facts *ret)
{
	char name[32];
	char *link;
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->task = t;
	ret->number = number;
	ret->fd = -1;
	r = read_proc_fdinfo(t->proc_fd, number, &op->arena, &ret->info);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	(void)snprintf(name, sizeof(name), "fd/%d", number);
	r = read_proc_link(t->proc_fd, name, &op->arena, &link);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	ret->link = link;
	ret->what = arena_printf(&op->arena, "fd %d", number);
	ret->mount = mount_find(mounts, ret->info.mnt_id);
	return ret->what ? 0 : -ENOMEM;
}

static int note(struct operation *op, const struct fd_facts *f, int r)
{
	return r < 0 ? refusal_note_about(op, facts_describe(op, f), r) : r;
}

static int collect_task(struct operation *op, struct task *t, const struct mount_cache *mounts, struct collection *c)
{
	int *numbers;
	size_t n;
	int r;

	recorder_step(t->pid, t->comm, "read", "/proc/%d/fd", t->pid);
	r = read_proc_fds(t->proc_fd, &op->arena, &numbers, &n);
	if (r < 0)
		return error_raise_call(op->error, -r, "getdents", "pid %d (%s), /proc/%d/fd", t->pid, t->comm, t->pid);
	t->descriptors = arena_array(&op->arena, n ? n : 1, sizeof(*t->descriptors));
	t->n_descriptors = t->n_locks = 0;
	if (!t->descriptors)
		return raise_no_memory(op);
	for (size_t i = 0; i < n; i++) {
		struct candidate *cand = collection_add(c);

		if (!cand)
			return raise_no_memory(op);
		r = facts_read(op, t, numbers[i], mounts, &cand->facts);
		if (r < 0)
			return error_raise_call(op->error, -r, "read", "pid %d (%s), fdinfo of fd %d", t->pid, t->comm,
						numbers[i]);
		if (r > 0) {
			c->n--;
			continue;
		}
		r = note(op, &cand->facts, locks_collect(op, t, &cand->facts));
		if (r < 0)
			return r;
		cand->slot = t->n_descriptors;
		t->descriptors[t->n_descriptors].number = numbers[i];
		t->descriptors[t->n_descriptors++].cloexec = (cand->facts.info.flags & O_CLOEXEC) != 0;
	}
	return 0;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_key(const struct fd_facts *a, const struct fd_facts *b)
{
	const uint32_t mask = ~(uint32_t)O_CLOEXEC; /* the descriptor's, not the open file's */
	int r;

	r = compare_u64(a->info.ino, b->info.ino);
	if (r == 0)
		r = compare_u64((uint32_t)a->info.mnt_id, (uint32_t)b->info.mnt_id);
	if (r == 0)
		r = compare_u64(a->info.flags & mask, b->info.flags & mask);
	if (r == 0)
		r = compare_u64(a->info.pos, b->info.pos);
	return r;
}

/* 0: one open file. Errors (a descriptor that is gone) count as different. */
static int compare_open_files(const struct candidate *a, const struct candidate *b)
{
	long r;

	if (a == b)
		return 0;
	r = syscall(SYS_kcmp, task_living(a->facts.task), task_living(b->facts.task), KCMP_FILE, a->facts.number, b->facts.number);
	if (r == 0)
		return 0;
	if (r == 1)
		return -1;
	if (r == 2)
		return 1;
	return a->order < b->order ? -1 : 1;
}

static int compare_candidates(const void *pa, const void *pb)
{
	const struct candidate *a = *(struct candidate *const *)pa, *b = *(struct candidate *const *)pb;
	int r = compare_key(&a->facts, &b->facts);

	if (r == 0)
		r = compare_open_files(a, b);
	/* qsort() need not be stable; the lowest descriptor of the first task shall stand for the open file. */
	return r ? r : compare_u64(a->order, b->order);
}

static int group(struct operation *op, struct collection *c)
{
	AUTOFREE struct candidate **sorted = calloc(c->n + 1, sizeof(*sorted));

	if (!sorted)
		return raise_no_memory(op);
	for (size_t i = 0; i < c->n; i++) {
		c->all[i].order = i;
		c->all[i].same = &c->all[i];
		sorted[i] = &c->all[i];
	}
	recorder_step(0, NULL, "kcmp", "%zu descriptors of the tree", c->n);
	qsort(sorted, c->n, sizeof(*sorted), compare_candidates);
	for (size_t i = 1; i < c->n; i++) {
		if (compare_key(&sorted[i - 1]->facts, &sorted[i]->facts) == 0 &&
		    compare_open_files(sorted[i - 1], sorted[i]) == 0)
			sorted[i]->same = sorted[i - 1]->same;
	}
	return 0;
}

static int raise_descriptors(struct operation *op)
{
	(void)error_raise(op->error, EMFILE, "the tree has more open files than firn may hold at once (%llu)",
			  (unsigned long long)raise_nofile());
	error_hint(op->error, "raise the hard limit of open files for firn, e.g. with prlimit --nofile=1048576");
	return -EMFILE;
}

/* 1: gone meanwhile. */
static int take(struct operation *op, struct fd_facts *f)
{
	recorder_step(f->task->pid, f->task->comm, "pidfd_getfd", "%s → %s", f->what, f->link);
	f->fd = (int)syscall(SYS_pidfd_getfd, f->task->pidfd, f->number, 0);
	if (f->fd < 0) {
		if (errno == EMFILE)
			return raise_descriptors(op);
		if (errno == EBADF)
			return 1;
		return error_raise_call(op->error, errno, "pidfd_getfd", "%s", facts_describe(op, f));
	}
	recorder_step(f->task->pid, f->task->comm, "fstat", "%s → %s%s%s", f->what, f->link, f->mount ? " on " : "",
		      f->mount ? f->mount->fstype : "");
	if (fstat(f->fd, &f->st) < 0)
		return error_raise_call(op->error, errno, "fstat", "%s", facts_describe(op, f));
	f->external = regular_is_external(op, f);
	return 0;
}

static int add_recognised(struct operation *op, struct fd_facts *facts, struct file **ret)
{
	const struct kind *k = kind_recognise(facts);
	struct file *f;
	int r;

	recorder_step(facts->task->pid, facts->task->comm, "check", "%s → %s", facts->what, facts->link);
	/* What is refused and noted stays in the table: it may be the other end of what is not. */
	r = k->check ? note(op, facts, k->check(op, facts)) : 0;
	if (r < 0)
		return r;
	f = files_add(op, k, facts);
	if (!f)
		return -ENOMEM;
	facts->fd = -1; /* the table's now */
	f->user = facts->task;
	*ret = f;
	return 0;
}

static int take_all(struct operation *op, struct collection *c)
{
	int r;

	for (size_t i = 0; i < c->n; i++) {
		struct candidate *cand = &c->all[i];
		struct task *t = cand->facts.task;

		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "cancelled while descriptors were collected");
		if (cand->same != cand) {
			cand->file = cand->same->file;
		} else {
			r = take(op, &cand->facts);
			if (r == 0) {
				r = add_recognised(op, &cand->facts, &cand->file);
				if (cand->facts.fd >= 0)
					close(cand->facts.fd);
			}
			if (r < 0)
				return r;
		}
		t->descriptors[cand->slot].file = cand->file;
	}
	return 0;
}

/* Descriptors that went away between two looks: only while the tree still runs. */
static void drop_gone(struct task *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_descriptors; i++) {
		if (t->descriptors[i].file)
			t->descriptors[n++] = t->descriptors[i];
	}
	t->n_descriptors = n;
}

/* exe, cwd, root and mapped files: found again by path, so equal paths of one inode are one file. */
struct path_node {
	struct path_node *next;
	dev_t dev;
	uint64_t ino;
	uint32_t flags;
	const char *link;
	struct file *file;
};

#define PATH_BUCKETS 1024u
struct path_table {
	struct path_node *buckets[PATH_BUCKETS];
};

static struct path_node **path_slot(struct operation *op, dev_t dev, uint64_t ino, uint32_t flags, const char *link)
{
	struct path_node **n;
	uint64_t h = (ino * 0x9e3779b97f4a7c15ull) ^ dev;

	if (!op->files->paths)
		op->files->paths = arena_alloc(&op->arena, sizeof(*op->files->paths));
	if (!op->files->paths)
		return NULL;
	for (n = &op->files->paths->buckets[(h >> 32) % PATH_BUCKETS]; *n; n = &(*n)->next) {
		if ((*n)->dev == dev && (*n)->ino == ino && (*n)->flags == flags && strcmp((*n)->link, link) == 0)
			break;
	}
	return n;
}

static int path_remember(struct operation *op, struct path_node **slot, dev_t dev, uint64_t ino, uint32_t flags,
			 const char *link, struct file *f)
{
	struct path_node *n = arena_alloc(&op->arena, sizeof(*n));

	if (!n)
		return raise_no_memory(op);
	*n = (struct path_node){ .dev = dev, .ino = ino, .flags = flags, .link = link, .file = f };
	*slot = n;
	return 0;
}

/* Takes the object behind a magic link of /proc/PID, which leads there whatever became of the path. */
static int link_take(struct operation *op, struct task *t, const char *name, struct fd_facts *f)
{
	struct mount_cache *mounts;
	struct statx stx;
	int r;

	r = mounts_of(op, t, &mounts);
	if (r < 0)
		return r;
	recorder_step(t->pid, t->comm, "open(O_PATH)", "%s → %s", f->what, f->link);
	f->fd = openat(t->proc_fd, name, O_PATH | O_CLOEXEC);
	if (f->fd < 0 && errno == EPERM) {
		(void)error_raise_call(op->error, EPERM, "open", "%s", facts_describe(op, f));
		error_hint(op->error, "It needs root or CAP_CHECKPOINT_RESTORE: see firn check.");
		return -EPERM;
	}
	if (f->fd < 0)
		return errno == EMFILE ? raise_descriptors(op)
				       : error_raise_call(op->error, errno, "open", "%s", facts_describe(op, f));
	recorder_step(t->pid, t->comm, "fstat", "%s → %s", f->what, f->link);
	if (fstat(f->fd, &f->st) < 0)
		return error_raise_call(op->error, errno, "fstat", "%s", facts_describe(op, f));
	/* STATX_MNT_ID since Linux 5.8; costs no round trip to a server. */
	if (statx(f->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) == 0 &&
	    (stx.stx_mask & STATX_MNT_ID)) {
		f->info.mnt_id = (int)stx.stx_mnt_id;
		f->mount = mount_find(mounts, f->info.mnt_id);
	}
	f->info.ino = f->st.st_ino;
	return 0;
}

static int collect_link(struct operation *op, struct task *t, const char *name, struct file **ret)
{
	struct fd_facts f = { .task = t, .number = -1, .what = name, .fd = -1 };
	struct path_node **slot;
	char *link;
	int r;

	*ret = NULL;
	r = read_proc_link(t->proc_fd, name, &op->arena, &link);
	if (r == -ENOENT && strcmp(name, "exe") == 0)
		return 0; /* a task whose exe link was taken away with its mappings */
	if (r < 0)
		return error_raise_call(op->error, -r, "readlink", "pid %d (%s), %s", t->pid, t->comm, name);
	f.link = link;
	r = link_take(op, t, name, &f);
	if (r == 0) {
		slot = path_slot(op, f.st.st_dev, f.st.st_ino, 0, link);
		if (!slot)
			r = raise_no_memory(op);
		else if (*slot)
			*ret = (*slot)->file;
		else
			r = add_recognised(op, &f, ret);
		if (r == 0 && !*slot) {
			(*ret)->mapped_only = true;
			r = path_remember(op, slot, f.st.st_dev, f.st.st_ino, 0, link, *ret);
		}
	}
	if (f.fd >= 0)
		close(f.fd);
	return r;
}

int files_add_mapping(struct operation *op, struct task *t, const struct proc_map *m, bool writable, struct file **ret)
{
	struct fd_facts f = { .task = t, .number = -1, .link = m->path, .fd = -1 };
	dev_t dev = makedev(m->dev_major, m->dev_minor);
	struct path_node **slot;
	char name[64];
	int r;

	r = table_create(op);
	if (r < 0)
		return r;
	f.info.flags = writable ? O_RDWR : O_RDONLY;
	slot = path_slot(op, dev, m->inode, f.info.flags, m->path);
	if (!slot)
		return raise_no_memory(op);
	if (*slot) {
		*ret = (*slot)->file;
		return 0;
	}
	f.what = arena_printf(&op->arena, "mapping %llx", (unsigned long long)m->start);
	if (!f.what)
		return raise_no_memory(op);
	(void)snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)m->start,
		       (unsigned long long)m->end);
	r = link_take(op, t, name, &f);
	if (r == 0)
		r = add_recognised(op, &f, ret);
	if (f.fd >= 0)
		close(f.fd);
	if (r < 0)
		return r;
	(*ret)->mapped_only = true;
	return path_remember(op, slot, dev, m->inode, f.info.flags, m->path, *ret);
}

static int collect_links(struct operation *op, struct task *t)
{
	int r;

	r = collect_link(op, t, "exe", &t->exe);
	if (r == 0 && t->fs_owner == t)
		r = collect_link(op, t, "cwd", &t->cwd);
	if (r == 0 && t->fs_owner == t)
		r = collect_link(op, t, "root", &t->root);
	if (r == 0 && t->fs_owner != t) {
		t->cwd = t->fs_owner->cwd;
		t->root = t->fs_owner->root;
	}
	return r;
}

static int check_all(struct operation *op)
{
	int r;

	for (size_t k = 0; k < n_kinds; k++) {
		r = kinds[k]->check_all && kind_is_used(op, kinds[k]) ? refusal_note(op, kinds[k]->check_all(op)) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int files_collect(struct operation *op)
{
	struct collection c = { 0 };
	AUTOFREE struct candidate *all = NULL;
	int r;

	r = table_create(op);
	if (r < 0)
		return r;
	(void)raise_nofile();
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];
		struct mount_cache *mounts;

		if (!task_has_files(t) || t->files_owner != t)
			continue;
		r = mounts_of(op, t, &mounts);
		if (r == 0)
			r = collect_task(op, t, mounts, &c);
	}
	all = c.all;
	if (r == 0)
		r = group(op, &c);
	if (r == 0)
		r = take_all(op, &c);
	for (size_t i = 0; i < op->tree.n_tasks && r == 0; i++) {
		struct task *t = op->tree.tasks[i];

		if (!task_has_files(t))
			continue;
		drop_gone(t);
		r = collect_links(op, t);
	}
	return r < 0 ? r : check_all(op);
}
