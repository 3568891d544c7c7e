/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <fcntl.h>

#include "kinds/path.h"
#include "kinds/proc_file.h"
#include "remap-file-path.pb-c.h"

/*
 * Files that are found again by path. Between regular.c, remap.c and ghost.c; fifo.c has one for its path.
 *
 * Unless it says otherwise a function returns 0 or -errno, raised, is the worker's, and may block on the file system
 * of the path. What it allocates lies in the arena; descriptors belong to the file table.
 */

/* A deleted inode that is kept in the images (ghost-file-ID.img). */
struct ghost {
	struct ghost *next;
	uint32_t id;
	dev_t dev; /* restore: kernel_dev() */
	ino_t ino;
	struct file **files; /* restore: every open file of it */
	size_t n_files, room;
	bool created;
	struct making *making; /* a folder whose name stays until all others are made */
};

/* Of a file under restore (file->state). */
struct regular {
	struct ghost *ghost; /* or NULL */
	struct file *linked; /* the file that carries the link-remap name, or NULL */
	bool hidden;	     /* not opened by itself: a link-remap name, the path of a FIFO */
	bool late;	     /* of /proc/PID: opened when its task exists */
	struct dead_task *dead; /* of a task that had ended, or NULL */
	bool unlinked;	     /* its link-remap name was removed */
};

/* Of the kind (dump and restore). */
struct regular_state {
	struct ghost *ghosts;
	uint32_t next_ghost;
	RemapFilePathEntry **remaps;
	size_t n_remaps, room;
	const char **made; /* dump: names made by link-remap, to be removed when the dump fails */
	size_t n_made, made_room;
	bool ghosts_made;
	const char *verified; /* restore: the last path that was checked; consecutive files often share one */
	const struct stat *verified_st;
};

struct regular_state *regular_state(struct operation *op);
/* file->state, made when it is not there yet; NULL: no memory, raised. */
struct regular *regular_of(struct operation *op, struct file *f);

/* dump: fills @f's entry; makes ghosts and link-remap names. */
int regular_dump_entry(struct operation *op, struct file *f);
/* Is it named by --external file[mnt_id:inode]? Pure. */
bool regular_is_external(const struct operation *op, const struct fd_facts *f);
/* Refuses what cannot be found again. */
int regular_check_path(struct operation *op, const struct fd_facts *f);
/* restore: opens it into f->fd, hidden or not. */
int regular_create(struct operation *op, struct file *f);
/* The entry's flags as open() takes them; @mode of the entry. Pure. */
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)
int regular_open_flags(uint32_t flags, bool mapped_only, mode_t mode);
/*
 * open() of a FIFO, which waits for nobody: the FIFO is held open for both directions meanwhile, but for a reader that does
 * not block (man 7 fifo): to that one poll() must not show a writer that has come and gone. A descriptor, O_NONBLOCK
 * unless O_PATH; or -errno, not raised.
 */
int regular_open_fifo(const char *name, int flags);
/* /dev/null and the like: nothing is kept per open file. Pure. */
bool device_is_stateless(dev_t rdev);
/* Sets position and flags after open. */
int regular_adjust(struct operation *op, struct file *f);

/* remap.c */
int remap_dump(struct operation *op, struct file *f, enum path_state state, const char *name);
/* A file of /proc/PID whose task has ended. */
int remap_dump_dead(struct operation *op, struct file *f, const struct proc_path *p);
int remap_dump_all(struct operation *op);
int remap_load(struct operation *op);
int remap_open_linked(struct operation *op, struct file *f);
int remap_finish(struct operation *op, struct file *f);
void remap_undo_dump(struct operation *op);

/* ghost.c */
int ghost_write(struct operation *op, const struct fd_facts *f, uint32_t id);
/* Makes every ghost of the images, once. */
int ghosts_create(struct operation *op);
/* restore: an open file of the deleted inode that had these numbers (kernel_dev()); NULL when there is none. */
struct file *ghost_find(struct operation *op, uint32_t dev, uint64_t ino);

/* ghost_content.c */
struct ghost_chunk {
	uint64_t off, len;
};
/* Where data is, by SEEK_DATA and SEEK_HOLE, in the arena. -errno, not raised. */
int ghost_chunks_plan(int fd, uint64_t size, struct arena *a, struct ghost_chunk **ret, size_t *ret_n);
/* The next chunk of a hostile image must follow the last one and end within @size. Pure. */
bool ghost_chunk_is_sane(uint64_t off, uint64_t len, uint64_t last_end, uint64_t size);
