/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "image/image.h"
#include "kinds/common.h"

/*
 * What pipes and FIFOs have in common: an inode with a buffer, and open files that are its ends. pipe.c and fifo.c keep
 * a table of them each; pipes-data.img and fifo-data.img have one entry for the buffer, or several, one a packet, where a
 * writer uses packet mode (O_DIRECT, man 2 pipe).
 */

struct pipe_packet {
	struct pipe_packet *next;
	const uint8_t *data; /* in the arena */
	size_t len;
};

struct pipe_inode {
	struct pipe_inode *next;  /* in its bucket */
	struct pipe_inode *newer; /* in the order in which they were met */
	uint32_t id;		  /* pipe_id in the images */
	uint32_t size;		  /* F_GETPIPE_SZ; 0 = not known */
	/* dump */
	dev_t dev;
	ino_t ino;
	const struct file *reader, *writer, *any; /* ends in the tree, or NULL; @any may be O_PATH */
	/* restore */
	struct pipe_packet *packets, **last;
	size_t n_packets;
	bool packet_mode; /* some writer's */
	bool made;
	bool inherited;		 /* pipe.c: the caller of the restore gave it */
	int ends[2];		 /* pipe.c: of pipe2(), until an open file takes them; else -1 */
	const struct file *open; /* some end that was created, or NULL */
};

/* dump ---- */

/* The inode behind @f, with @f as one of its ends. @id: 0 = the next free one. NULL: no memory, raised. */
struct pipe_inode *pipe_inode_add_end(struct operation *op, const struct kind *k, const struct file *f, uint32_t id);
/* Writes the data of every inode of the kind into @image. The buffers are left as they are (man 2 tee). Does not block:
 * all descriptors are local copies. */
int pipe_inodes_write(struct operation *op, const struct kind *k, enum image_type image);

/* restore ---- */

/* Reads @image into the table. */
int pipe_inodes_read(struct operation *op, const struct kind *k, enum image_type image);
/* The inode with that id, made when it has no data. NULL: no memory, raised. */
struct pipe_inode *pipe_inode_get(struct operation *op, const struct kind *k, uint32_t id);
/* Sets the size of the buffer behind @fd, any end. */
int pipe_inode_resize(struct operation *op, const struct pipe_inode *p, int fd, const char *describe);
/* Writes the data into the empty buffer behind @fd, an open end for writing of its own, which changes its flags. */
int pipe_inode_fill(struct operation *op, const struct pipe_inode *p, int fd, const char *describe);

/* What open() takes to make one more end with F_GETFL's @flags; the rest is set afterwards. Pure. */
int pipe_open_flags(uint32_t flags);
