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
 * A folder is complete or refused. A dump writes into a subfolder (.firn-new), each file under its final name and
 * recorded in the manifest (firn.manifest: format version, then "crc32c size name" per line; pages-*.img carry "-" in
 * place of the checksum); inventory.img is written there last, under a temporary name, after all others are synced, and
 * renamed into place. Then an older checkpoint in the folder is removed, its inventory first, and the files are moved
 * up, inventory.img last. The reader refuses a folder without inventory.img, and one whose manifest does not match; a
 * folder without a manifest is CRIU's and is taken as it is.
 */

/* Names and magic numbers of each stand in magic.c. The id is a pid (CORE, PAGEMAP, MM, FS, IDS), the files_id of
 * FDINFO, the shmid of PAGEMAP_SHMEM, the remap_id of GHOST_FILE, the inode of TCP_STREAM, or the id of a namespace. */
enum image_type {
	IMAGE_INVENTORY, IMAGE_PSTREE, IMAGE_CORE, IMAGE_IDS, IMAGE_MM, IMAGE_PAGEMAP, IMAGE_PAGEMAP_SHMEM,
	IMAGE_FDINFO, IMAGE_FILES, IMAGE_FS, IMAGE_PIPES_DATA, IMAGE_FIFO_DATA, IMAGE_SK_QUEUES, IMAGE_GHOST_FILE,
	IMAGE_REMAP_FPATH, IMAGE_TTY_INFO, IMAGE_TTY_DATA, IMAGE_MEMFD_INODE, IMAGE_SECCOMP, IMAGE_CGROUP,
	IMAGE_FILE_LOCKS, IMAGE_TCP_STREAM, IMAGE_EVENTPOLL_TFD, IMAGE_INOTIFY_WD, IMAGE_FANOTIFY_MARK,
	IMAGE_BPFMAP_DATA, IMAGE_APPARMOR, IMAGE_CPUINFO,
	IMAGE_STATS,                   /* id: enum image_stats; see image_write_stats() */
	/* namespaces */
	IMAGE_TIMENS, IMAGE_PIDNS, IMAGE_UTSNS, IMAGE_USERNS, IMAGE_IPC_VAR, IMAGE_IPC_SHM, IMAGE_IPC_MSG, IMAGE_IPC_SEM,
	IMAGE_MOUNTPOINTS, IMAGE_NETDEV, IMAGE_NETNS, IMAGE_AUTOFS, IMAGE_BINFMT_MISC, IMAGE_BINFMT_MISC_OLD,
	/* namespaces, raw: what other programs print, without magic and entries */
	IMAGE_IFADDR, IMAGE_ROUTE, IMAGE_ROUTE6, IMAGE_RULE, IMAGE_IPTABLES, IMAGE_IP6TABLES, IMAGE_NFTABLES,
	IMAGE_NETNS_CT, IMAGE_NETNS_EXP, IMAGE_TMPFS, IMAGE_TMPFS_DEV,
	/* CRIU's older split of files.img and of core, read but never written */
	IMAGE_REG_FILES, IMAGE_EXT_FILES, IMAGE_NS_FILES, IMAGE_PIPES, IMAGE_FIFO, IMAGE_UNIXSK_OLD, IMAGE_INETSK,
	IMAGE_PACKETSK, IMAGE_NETLINKSK, IMAGE_EVENTFD, IMAGE_EVENTPOLL, IMAGE_SIGNALFD, IMAGE_INOTIFY, IMAGE_FANOTIFY,
	IMAGE_TIMERFD, IMAGE_TTY_FILES, IMAGE_TUNFILE, IMAGE_BPFMAP_FILE, IMAGE_PIDFD,
	IMAGE_CREDS, IMAGE_SIGACT, IMAGE_ITIMERS, IMAGE_POSIX_TIMERS, IMAGE_RLIMIT, IMAGE_VMAS, IMAGE_SIGNAL_S,
	IMAGE_SIGNAL_P,
	/* raw memory; image_pages_…() */
	IMAGE_PAGES,
	IMAGE_TYPE_COUNT
};

/* InventoryEntry.img_version: two magics a file. */
#define IMAGE_VERSION 2

/* No image but pages may be larger; above, the writer refuses to write and the reader to read. */
#define IMAGE_MAX_SIZE (1ull << 30)

/*
 * Errors: -EBADMSG means a folder that is incomplete or damaged; any other number is that of the failed call. All
 * functions that take a struct error raise. All but image_name(), image_write() and image_read…() may block on the
 * folder's file system.
 */
struct image_dir {
	int fd;                        /* owned; -1 when closed; the subfolder while writing */
	const char *path;              /* for messages; the caller's, must outlive this */
	struct image_manifest *manifest;   /* owned */
};

/* Opens the folder for writing: checks that it is a writable directory, removes what an aborted dump left, and makes
 * the subfolder. An older checkpoint stays as it is. May block on foreign ground: the worker's job. */
int image_dir_create(struct image_dir *d, const char *path, struct error *e);
/* Opens a folder for reading, refuses an incomplete one, verifies the manifest (sizes; checksums of all but pages). */
int image_dir_open(struct image_dir *d, const char *path, struct error *e);
/* Makes the folder complete: syncs every file, writes the manifest and inventory (@inventory: an InventoryEntry), and
 * puts all in the place of an older checkpoint. */
int image_dir_commit(struct image_dir *d, const ProtobufCMessage *inventory, struct error *e);
/* Did image_dir_commit() get so far that the older checkpoint is gone? Then the new one is complete, even when moving
 * its files failed. */
bool image_dir_replaced(const struct image_dir *d);
/* Reading a folder whose dump was ended while it moved its files: d->fd is the subfolder, and this the folder, where
 * the other files are. Else -1. Not the caller's to close. */
int image_dir_folder(const struct image_dir *d);
/* Is @name a file of the checkpoint in image_dir_folder(), not one that the older left? */
bool image_dir_moved(const struct image_dir *d, const char *name);
/* Removes every file written so far; for a dump that fails. Nothing can be written after it. Best effort, never blocks
 * the rollback: worker's job. Does nothing to a folder that was opened for reading, nor after image_dir_replaced(). */
void image_dir_abandon(struct image_dir *d);
/* Safe on a zeroed or closed one. */
void image_dir_close(struct image_dir *d);
/* Bytes written so far in all files, pages included. */
uint64_t image_dir_bytes(const struct image_dir *d);

/* "core-%u.img" and so on; @id is ignored by kinds that have one file. -EINVAL when it does not fit. */
int image_name(enum image_type t, uint64_t id, char *buf, size_t size);
/* The reverse: is @name a file that firn or CRIU writes? Only canonical names are ("core-7.img", not "core-07.img"). */
bool image_name_parse(const char *name, enum image_type *ret_type, uint64_t *ret_id);
/* The message of the entries; NULL for raw images. Files with several messages give that of the first entry. */
const ProtobufCMessageDescriptor *image_descriptor(enum image_type t);

/* Buffers the entries in memory; the file appears at image_writer_close(). Zeroed = unused. */
struct image_writer {
	struct image_dir *dir;
	enum image_type type;
	uint64_t id;
	uint8_t *buf;
	size_t len, room;
};

int image_writer_open(struct image_writer *w, struct image_dir *d, enum image_type t, uint64_t id, struct error *e);
/* A message without a length before it is image_write_raw() of what the caller packed. */
int image_write(struct image_writer *w, const ProtobufCMessage *m, struct error *e);
int image_write_raw(struct image_writer *w, const void *data, size_t len, struct error *e);   /* no length before it */
int image_writer_close(struct image_writer *w, struct error *e);      /* writes, records in the manifest, frees */
void image_writer_discard(struct image_writer *w);                    /* frees; safe on a zeroed or closed one */

/* Reads the whole file at open. Hostile input: lengths are checked before use. */
struct image_reader {
	const char *name;              /* folder and file; in the arena, for messages */
	uint8_t *buf;                  /* in the arena */
	size_t len, pos;
	unsigned entry;                /* number of the next entry, from 0 */
	struct arena *arena;
};

/* 0; -ENOENT without raising when the file is not there and @optional; raised otherwise. */
int image_reader_open(struct image_reader *r, struct image_dir *d, enum image_type t, uint64_t id, bool optional,
		      struct arena *a, struct error *e);
/* The same for an image that may be missing: then there is nothing in the reader. 0 or -errno, raised. */
int image_reader_open_if_there(struct image_reader *r, struct image_dir *d, enum image_type t, uint64_t id,
			       struct arena *a, struct error *e);
/* 1 and *ret (in the arena) for a message, 0 at the end of the file, -errno raised for a damaged one. */
int image_read(struct image_reader *r, const ProtobufCMessageDescriptor *desc, ProtobufCMessage **ret, struct error *e);
/* Points *ret into the reader's buffer: the next @len bytes; -EBADMSG raised when fewer are left. */
int image_read_raw(struct image_reader *r, size_t len, const uint8_t **ret, struct error *e);

/* The pages of a pagemap: pages-ID.img is raw. */
int image_pages_create(struct image_dir *d, uint32_t id, int *ret_fd, struct error *e);
/* Records the size in the manifest and takes the descriptor. */
int image_pages_finish(struct image_dir *d, uint32_t id, int fd, uint64_t size, struct error *e);
/* For whoever writes pages: raises "FOLDER/pages-ID.img: CALL of N bytes: reason" with a hint about room. @number is
 * positive. Returns -number. */
int image_pages_raise(const struct image_dir *d, uint32_t id, const char *call, uint64_t bytes, int number,
		      struct error *e);
int image_pages_open(struct image_dir *d, uint32_t id, int *ret_fd, uint64_t *ret_size, struct error *e);

/* Writes stats-dump or stats-restore (@which) into the work folder @dirfd, over an older one. Not part of a
 * checkpoint: neither in the manifest nor needed to restore. */
enum image_stats { IMAGE_STATS_DUMP, IMAGE_STATS_RESTORE };
int image_write_stats(int dirfd, const char *path, enum image_stats which, const ProtobufCMessage *stats,
		      struct error *e);

/*
 * Unpacks one message into the arena: 0, -EBADMSG when it is damaged or would need more memory than a message of its
 * length can (a few bytes must not cost gigabytes), -ENOMEM. Nothing raised.
 */
int image_unpack(const ProtobufCMessageDescriptor *desc, const uint8_t *buf, size_t len, struct arena *a,
		 ProtobufCMessage **ret);

/* protobuf-c allocator that allocates in an arena and never frees. */
ProtobufCAllocator image_arena_allocator(struct arena *a);
