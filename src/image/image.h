/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

/*
 * A folder of images in CRIU's format: each file is a common magic, a magic of its kind, then entries of a 32-bit
 * little-endian length and a protobuf message; some entries are followed by raw bytes (pipe data, ghost content).
 *
 * A folder is complete or refused. Files are written under their final names, each recorded in the manifest
 * (firn.manifest: format version, then "crc32c size name" per line; pages-*.img carry "-" in place of the checksum);
 * inventory.img is written last, under a temporary name, after all others are synced, and renamed into place. A dump
 * into a folder that holds an older checkpoint removes its inventory first. The reader refuses a folder without
 * inventory.img, and one whose manifest does not match; a folder without a manifest is CRIU's and is taken as it is.
 */

enum image_type {
	IMAGE_INVENTORY, IMAGE_PSTREE, IMAGE_CORE, IMAGE_IDS, IMAGE_MM, IMAGE_PAGEMAP, IMAGE_PAGEMAP_SHMEM,
	IMAGE_FDINFO, IMAGE_FILES, IMAGE_FS, IMAGE_PIPES_DATA, IMAGE_FIFO_DATA, IMAGE_SK_QUEUES, IMAGE_GHOST_FILE,
	IMAGE_REMAP_FPATH, IMAGE_TTY_INFO, IMAGE_TTY_DATA, IMAGE_MEMFD_INODE, IMAGE_SECCOMP, IMAGE_CGROUP,
	IMAGE_FILE_LOCKS, IMAGE_STATS, IMAGE_TIMENS, IMAGE_UNIXSK_OLD,
	/* CRIU's older split of files.img and of core, read but never written */
	IMAGE_REG_FILES, IMAGE_CREDS, IMAGE_SIGACT, IMAGE_ITIMERS,
	IMAGE_TYPE_COUNT
};

struct image_dir {
	int fd;                        /* owned */
	const char *path;              /* for messages */
	struct image_manifest *manifest;   /* owned */
};

/* Opens the folder for writing: checks that it is a writable directory and removes what an older dump or an aborted
 * one left (inventory first). May block on foreign ground: the worker's job. */
int image_dir_create(struct image_dir *d, const char *path, struct error *e);
/* Opens a folder for reading, refuses an incomplete one and verifies the manifest (sizes; checksums of all but pages). */
int image_dir_open(struct image_dir *d, const char *path, struct error *e);
/* Makes the folder complete: syncs every file, writes the manifest and inventory (@inventory: an InventoryEntry). */
int image_dir_commit(struct image_dir *d, const ProtobufCMessage *inventory, struct error *e);
/* Removes every file written so far; for a dump that fails. Best effort, never blocks the rollback: worker's job. */
void image_dir_abandon(struct image_dir *d);
void image_dir_close(struct image_dir *d);
/* Bytes written so far in all files, pages included. */
uint64_t image_dir_bytes(const struct image_dir *d);

/* "core-%u.img" and so on; @id is ignored by kinds that have one file. */
int image_name(enum image_type t, uint32_t id, char *buf, size_t size);

/* Buffers the entries in memory; the file appears at image_writer_close(). Zeroed = unused. */
struct image_writer {
	struct image_dir *dir;
	enum image_type type;
	uint32_t id;
	uint8_t *buf;
	size_t len, room;
};

int image_writer_open(struct image_writer *w, struct image_dir *d, enum image_type t, uint32_t id, struct error *e);
int image_write(struct image_writer *w, const ProtobufCMessage *m, struct error *e);
int image_write_raw(struct image_writer *w, const void *data, size_t len, struct error *e);   /* no length before it */
int image_writer_close(struct image_writer *w, struct error *e);      /* writes, records in the manifest, frees */
void image_writer_discard(struct image_writer *w);                    /* frees; safe on a zeroed or closed one */

/* Reads the whole file at open. Hostile input: lengths are checked before use. */
struct image_reader {
	const char *name;              /* in the arena, for messages */
	uint8_t *buf;                  /* in the arena */
	size_t len, pos;
	struct arena *arena;
};

/* 0; -ENOENT without raising when the file is not there and @optional; raised otherwise. */
int image_reader_open(struct image_reader *r, struct image_dir *d, enum image_type t, uint32_t id, bool optional,
		      struct arena *a, struct error *e);
/* 1 and *ret (in the arena) for a message, 0 at the end of the file, -errno raised for a damaged one. */
int image_read(struct image_reader *r, const ProtobufCMessageDescriptor *desc, ProtobufCMessage **ret, struct error *e);
/* Points *ret into the reader's buffer. */
int image_read_raw(struct image_reader *r, size_t len, const uint8_t **ret, struct error *e);

/* The pages of a pagemap: pages-ID.img is raw. */
int image_pages_create(struct image_dir *d, uint32_t id, int *ret_fd, struct error *e);
/* Records the size in the manifest and takes the descriptor. */
int image_pages_finish(struct image_dir *d, uint32_t id, int fd, uint64_t size, struct error *e);
int image_pages_open(struct image_dir *d, uint32_t id, int *ret_fd, uint64_t *ret_size, struct error *e);

/* A raw side file such as ghost content follows in later kinds. */

/* protobuf-c allocator that allocates in an arena and never frees. */
ProtobufCAllocator image_arena_allocator(struct arena *a);
