/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "base/arena.h"
#include "base/print.h"
#include "core.pb-c.h"
#include "fdinfo.pb-c.h"
#include "fs.pb-c.h"
#include "image/image.h"
#include "inventory.pb-c.h"
#include "memfd.pb-c.h"
#include "mm.pb-c.h"
#include "pstree.pb-c.h"
#include "remap-file-path.pb-c.h"

/* `firn show`: a checkpoint as read for printing. Everything lies in the arena; all of it is hostile input. */

enum show_state { SHOW_RUNNING, SHOW_STOPPED, SHOW_ZOMBIE, SHOW_UNKNOWN };

struct show_thread {
	uint32_t tid;
	const char *comm;
};

struct show_task {
	const PstreeEntry *entry;
	const CoreEntry *core;
	enum show_state state;
	const char *comm;
	const char *exe; /* NULL when unknown */
	char **argv;	 /* NULL when its memory is not in the checkpoint */
	size_t n_argv;
	struct show_thread *threads; /* none for zombies */
	size_t n_threads;
	const MmEntry *mm; /* NULL for zombies and for those who share another's */
	uint64_t mapped;   /* bytes of all areas but [vsyscall] */
	uint64_t present;  /* bytes of pages in the checkpoint */
	uint32_t files_id; /* 0 = unknown */
	FdinfoEntry **fds;
	size_t n_fds;
	bool fds_shared;   /* the table is that of a task further up */
	const FsEntry *fs; /* NULL for zombies and for those who share another's */

	struct show_task *parent, *first_child, *last_child, *next_sibling;
	unsigned depth;
};

struct show_shmem {
	uint64_t shmid;
	uint64_t present; /* bytes */
};

struct show {
	struct arena arena;
	struct image_dir dir;
	const char *path;
	bool by_firn; /* it has firn's manifest */
	time_t made;
	uint64_t bytes; /* of all its files */
	size_t n_image_files;

	struct show_task *tasks; /* as in pstree.img */
	size_t n_tasks;
	struct show_task **order; /* parents before children, depth first */
	size_t n_threads;
	FileEntry **files; /* ascending by id */
	size_t n_files;
	size_t n_open; /* of them, those that a descriptor refers to */
	MemfdInodeEntry **memfds;
	size_t n_memfds;
	RemapFilePathEntry **remaps;
	size_t n_remaps;
	struct show_shmem *shmem;
	size_t n_shmem;
	uint64_t present, shmem_present; /* bytes, of all tasks; of all shared memory */
};

/* 0 or -errno, raised (-EBADMSG: damaged images). May block on the folder. show_release() is due in any case. */
int show_load(struct show *s, const char *path, struct error *e);
void show_release(struct show *s);

const FileEntry *show_find_file(const struct show *s, uint32_t id);
/* The path of a regular file or directory; NULL when @id is not one. */
const char *show_file_path(const struct show *s, uint32_t id);
/* One line, the type included, at least 64 bytes of @buf; not yet safe to print. */
void show_describe_file(const struct show *s, const FileEntry *f, char *buf, size_t size);
/* "pipe", "regular file", …; "type 77" in @buf when unknown. */
const char *show_type_name(FdTypes type, char *buf, size_t size);
const char *show_state_name(enum show_state s);

void show_print_text(const struct show *s, FILE *out);
void show_print_json(const struct show *s, FILE *out);
