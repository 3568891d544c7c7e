/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fdinfo.pb-c.h"
#include "tree/operation.h"

/*
 * A kind is one sort of open file: one source file with one `const struct kind` at its end, listed once in
 * registry.c. The verbs below stand in the order of their life.
 */

/* What is known of a descriptor before anything is called on it (dump). */
struct fd_facts {
	struct task *task;
	int number;                     /* -1 for exe, cwd, root and mapped files */
	const char *what;               /* "fd 14", "cwd", "exe", "mapping 7f12…": for messages */
	const char *link;               /* readlink of /proc/PID/fd/N: "/path", "pipe:[123]", "anon_inode:[eventfd]" … */
	struct proc_fdinfo info;
	struct stat st;                 /* fstat of the local copy (never of the path) */
	const struct proc_mount *mount; /* of info.mnt_id, NULL when it is not in the task's mountinfo */
	bool external;                  /* --external file[mnt_id:inode] names it: a restore is given it */
	int fd;                         /* local copy by pidfd_getfd, owned by the caller; -1 while not taken */
};

/* One open file description, shared by every descriptor that refers to it. */
struct file {
	uint32_t id;                    /* in files.img, > 0 */
	const struct kind *kind;
	FileEntry *entry;               /* the image's message */
	const char *describe;           /* "fd 5 → pipe:[123]" or the path: for messages */
	void *state;                    /* the kind's own */

	/* dump */
	struct fd_facts facts;          /* of the first descriptor met; facts.fd stays open until the images are written */

	/* restore */
	int fd;                         /* the engine's descriptor once created, else -1 */
	bool created, connected, finished;
	struct task *user;              /* some task that holds it */
	bool opened_as_wanted;          /* with all of its flags: file_set_flags() has nothing to do */
	bool async;                     /* O_ASYNC is to be set, see kinds/placement.h */
	bool mapped_only;               /* used by mappings, exe, cwd or root, by no descriptor */
};

struct file_table {
	struct file **files;            /* ascending by id */
	size_t n_files, room;
	uint32_t next_id;
	/* kinds keep what they share between files here (pipe data, pty pairs, ghost inodes …), by kind index */
	void **kind_state;
	/* dump */
	struct mount_cache *mounts;     /* mountinfo of each mount namespace met */
	struct path_table *paths;       /* files met as exe, cwd, root and mappings */
	struct usual_socket *usual;     /* kinds/usual_socket.h */
	/* restore */
	struct dead_task *dead;         /* kinds/dead.h */
};

/* The end of a dump, as the objects of the tree see it. */
enum parting {
	PART_RUN,                       /* the tasks are about to go on: leave-running, leave-stopped, or the dump failed */
	PART_KILLING,                   /* the images are complete, the tasks are about to be killed */
	PART_KILLED,                    /* all are dead */
};

struct kind {
	const char *name;               /* "pipe", "unix socket" */
	FdTypes type;                   /* in the image */

	/* ---- dump: the worker thread; the tree is frozen ---- */

	/* A pure predicate over the facts (fd may be -1 for things that must not be touched). First match in
	 * registry order wins. */
	bool (*recognise)(const struct fd_facts *f);
	/* Can it be carried with these options? Called for every file before anything is frozen, and again after.
	 * 0, or -errno with a sentence and a hint. May be NULL. Must not change the object. */
	int (*check)(struct operation *op, const struct fd_facts *f);
	/* As check, after every file is known (op->files is complete but for mappings): can what only the whole tree
	 * shows be carried? Called once when a file of the kind exists. May be NULL. */
	int (*check_all)(struct operation *op);
	/* Fills file->entry (type and id are set). facts.fd is open. */
	int (*dump)(struct operation *op, struct file *f);
	/* After all files: writes what belongs to the kind as a whole (pipes-data.img, tty-info.img, …). May be NULL. */
	int (*dump_all)(struct operation *op);

	/* What dump() and dump_all() have done to objects that the tasks share is undone, or left for the restore. Called
	 * once dump() of a kind may have run, also after failures; the tracer thread: quick, and never blocks. May be NULL. */
	void (*part)(struct operation *op, enum parting how);

	/* ---- restore: the worker thread, unless said otherwise ---- */

	/* Where several kinds have one type in the image: is this entry mine? NULL: whatever of the type no other owns. */
	bool (*owns)(const FileEntry *entry);
	/* Loads side images once, before any decode. Called only when a file of the kind exists. May be NULL. */
	int (*load_all)(struct operation *op);
	/* Checks the hostile entry; sets file->describe and state. */
	int (*decode)(struct operation *op, struct file *f);
	/* Makes the object and sets file->fd in the engine, or leaves -1 when another file's create makes it (the far
	 * end of a pair). Position, flags and owner are set here where that is safe. */
	int (*create)(struct operation *op, struct file *f);
	/* After every file was created: peers, queued data, epoll targets, names that must appear late. May be NULL. */
	int (*connect)(struct operation *op, struct file *f);
	/* Instead of create, for what stands for a task (a pidfd, a file of /proc/PID): makes the object once every task
	 * and thread exists, before descriptors are placed. May be NULL. */
	int (*appear)(struct operation *op, struct file *f);
	/* After memory and before the tasks run. May be NULL. */
	int (*finish)(struct operation *op, struct file *f);
	/* finish comes after that of every kind without this mark: what an epoll watches must have its data. */
	bool finish_last;

	/* The last thing before the tasks run, once for the kind; after it nothing else can fail. May be NULL. */
	int (*go_all)(struct operation *op);
	/* The very last but go_all: no file is touched after it, and of the engine's descriptors only those of such kinds
	 * are still open. For watches, which would tell of it. May be NULL. */
	int (*settle)(struct operation *op, struct file *f);

	/* Undo what a failed restore left outside of descriptors (a name in a directory). May be NULL. */
	void (*release)(struct operation *op, struct file *f);

	/* One line for the log, the stall report and firn show: from the entry alone. May be NULL. */
	void (*describe)(const FileEntry *entry, char *buf, size_t size);
};

extern const struct kind *const kinds[];
extern const size_t n_kinds;

/*
 * All functions below return 0 or -errno, raised, unless they return something else; they are the worker's and may
 * block on the objects, which the recorder is told before. What they allocate lies in the arena.
 */

/* dump ------------------------------------------------------------------------------------------------------- */

/* Reads every descriptor, exe, cwd and root of every task into op->files and task->descriptors; the worker's job. */
int files_collect(struct operation *op);
/* The file behind a mapped area, as an O_PATH or open descriptor gives it; adds it or finds it. Worker's job.
 * @writable: the mapping is shared and may be written (the image's open flags must then be O_RDWR). */
int files_add_mapping(struct operation *op, struct task *t, const struct proc_map *m, bool writable, struct file **ret);
/* The packet socket whose ring @m shows; -EOPNOTSUPP raised when no descriptor of the tree is that socket. */
int files_find_ring(struct operation *op, struct task *t, const struct proc_map *m, struct file **ret);
/* Writes files.img, fdinfo-*.img, fs-*.img and the kinds' own images. */
int files_write(struct operation *op);
void files_release(struct operation *op);    /* closes the local copies */
/* The tracer thread: the verb part of every kind. Harmless when nothing was collected yet, and when called again. */
void files_part(struct operation *op, enum parting how);

/* restore ---------------------------------------------------------------------------------------------------- */

/* Reads files.img, fdinfo-*.img, fs-*.img and decodes every file. */
int files_read(struct operation *op);
struct file *files_find(const struct operation *op, uint32_t id);
/* The same for what must be a path ("working directory", "executable"); -EINVAL raised otherwise. */
int files_find_path(struct operation *op, struct task *t, uint32_t id, const char *what, struct file **ret);
/* A descriptor of @f for mmap() with @open_flags (O_RDONLY or O_RDWR; VmaEntry.fdflags or the entry's own): f->fd when it
 * serves, else a new open file, which is kept until the operation ends. Owned by the table. After files_create(). */
int files_mapping_fd(struct operation *op, struct file *f, int open_flags, int *ret_fd);
/* create and connect of every kind, in the engine. */
int files_create(struct operation *op);
int files_connect(struct operation *op);
int files_appear(struct operation *op);
int files_finish(struct operation *op);
int files_go(struct operation *op);
int files_settle(struct operation *op);
/* Undo of a failed restore. */
void files_undo(struct operation *op);

/* Both: a file with the next free id in the table (dump), its entry initialised with @type and id. NULL: no memory,
 * raised. The kind may add files of its own (link-remap names) that no descriptor refers to. */
struct file *files_add(struct operation *op, const struct kind *k, const struct fd_facts *facts);
/* Where the kind keeps what its files share; NULL at first. */
void **files_kind_state(const struct operation *op, const struct kind *k);

/* Shared by the kinds (kinds/common.c) */
/* "pid 7 (x), fd 14 → /mnt/x": how every sentence about a descriptor of a dump begins. In the arena. */
const char *facts_describe(struct operation *op, const struct fd_facts *f);
/* F_SETFL of the settable flags in @flags (O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME). Not for O_PATH. O_ASYNC is noted in
 * @f and set by the task that gets the descriptor. */
int file_set_flags(struct operation *op, struct file *f, uint32_t flags);
/* The value after "@key:" in the kind's own lines of fdinfo; false when it is not there or no number. */
bool fdinfo_value(const struct fd_facts *f, const char *key, int base, uint64_t *ret);
/* F_GETOWN_EX, F_GETSIG, F_GETOWNER_UIDS of the local copy (all zero for O_PATH). 0 or -ENOMEM, not raised. */
int fown_fill(struct fd_facts *f, FownEntry **ret, struct arena *a);
/* In the verb finish, when the owner exists again. */
int fown_apply(struct operation *op, int fd, const FownEntry *m, const char *describe);
