/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by the files of image/ alone. */

#include "image/image.h"

#define MANIFEST_NAME "firn.manifest"
#define INVENTORY_NAME "inventory.img"
#define INVENTORY_PART "inventory.img.part"
#define SUBFOLDER_NAME ".firn-new"      /* where a dump writes until it is complete */
#define MANIFEST_MAX_SIZE (64ull << 20)
#define IMAGE_NAME_SIZE 64              /* room for the longest name of the table and a 64-bit id */

#define MAGIC_COMMON 0x54564319u        /* IMG_COMMON */
#define MAGIC_SERVICE 0x55105940u       /* IMG_SERVICE */

enum image_naming { NAME_SINGLE, NAME_DECIMAL, NAME_HEX };

struct image_kind {
	const char *prefix;             /* up to the id, or the whole name when there is none */
	const char *suffix;             /* after the id */
	enum image_naming naming;
	uint32_t magic;                 /* 0: a raw image, without magic and entries */
	const ProtobufCMessageDescriptor *desc;
};

/* NULL for a value outside of the enum. */
const struct image_kind *image_kind_of(enum image_type t);

struct image_file {
	char *name;                     /* malloc'd */
	uint64_t size;                  /* bytes */
	uint32_t crc;
	bool summed;                    /* crc holds; pages are not summed */
	bool unfinished;                /* created, size not yet known */
};

struct image_manifest {
	struct image_file *files;       /* in order of creation; ascending by name after manifest_parse() */
	size_t n, room;
	uint64_t bytes;                 /* of all files */
	bool writing;
	bool foreign;                   /* reading a folder without a manifest */
	bool nested;                    /* image_dir.fd is the subfolder, @folder the folder itself; owned */
	bool replaced;                  /* writing: the older checkpoint is gone, the new one is complete */
	int folder;
};

struct image_manifest *manifest_new(void);
struct image_manifest *manifest_free(struct image_manifest *m);         /* NULL */
/* 0 or -ENOMEM. */
int manifest_add(struct image_manifest *m, const char *name, bool unfinished, struct image_file **ret);
/* By a search of all (writing) or by bisection (reading). NULL when it is not there. */
struct image_file *manifest_find(const struct image_manifest *m, const char *name);
/* Text of the whole manifest, malloc'd. 0 or -ENOMEM. */
int manifest_format(const struct image_manifest *m, char **ret_text, size_t *ret_len);
/* Fills an empty @m from hostile text. 0, -EBADMSG, or -ENOMEM; *ret_why is a static phrase for the sentence. */
int manifest_parse(struct image_manifest *m, const char *text, size_t len, const char **ret_why);

uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* Without the processor's instruction: for the unit test, and where there is none. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);

/* "FOLDER/NAME: CALL of N bytes: reason", with a hint where there is one. @bytes 0 = not told. */
int image_raise_file(const struct image_dir *d, const char *name, const char *call, uint64_t bytes, int number,
		     struct error *e);
/* "images folder PATH: CALL: reason", likewise. */
int image_raise_folder(const char *path, const char *call, int number, struct error *e);
/* Every file of the manifest, except where the file system has nothing to sync. */
int image_sync_files(const struct image_dir *d, struct error *e);
/* Makes an empty subfolder that d->fd then is; what an aborted dump left in the folder goes, or is moved up when it is
 * the only complete checkpoint. Raised. */
int image_begin_replacing(struct image_dir *d, struct error *e);
/* The subfolder is complete: its files take the place of the older checkpoint. Raised. */
int image_replace(struct image_dir *d, struct error *e);
/* Removes the subfolder and its files, unless the older checkpoint is gone already. */
void image_stop_replacing(struct image_dir *d);
/* Reading: makes d->fd the subfolder; false when there is none. */
bool image_enter_subfolder(struct image_dir *d);
/* Bytes dirty or being written back, by the text of /proc/meminfo; UINT64_MAX when it does not say. */
uint64_t image_parse_dirty(const char *meminfo);
/* 0 or -errno, nothing raised. */
int image_write_all(int fd, const void *data, size_t len);
/* Creates @name, which must not exist, and writes it whole. Raised. @sync: fsync it too. */
int image_put_file(const struct image_dir *d, const char *name, const void *data, size_t len, bool sync,
		   struct error *e);
/* Opens an existing regular file for reading; -ENOENT is not raised when @optional. */
int image_open_file(const struct image_dir *d, const char *name, bool optional, int *ret_fd, uint64_t *ret_size,
		    struct error *e);
/* The manifest's entry of @name, NULL for a foreign folder; raises when the folder has a manifest without it. */
int image_expect(const struct image_dir *d, const char *name, const struct image_file **ret, struct error *e);
/* Passes over the magic numbers at the start of r->buf. Raised. */
int image_check_magic(struct image_reader *r, enum image_type t, struct error *e);
