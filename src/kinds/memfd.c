/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "memory/memory.h"
#include "memfd.pb-c.h"
#include "watch/recorder.h"

/*
 * Memory files. One inode may have many open files and mappings; memfd.img has the inodes, files.img the open files, and
 * the content lies beside shared memory (pagemap-shmem-ID.img).
 *
 * Seals come back as soon as the content is there, when no mapping exists that could forbid them; but for
 * F_SEAL_FUTURE_WRITE alone, which must not touch the writable mappings that were there before it (man 2 fcntl).
 */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020    /* Linux 6.3 */
#endif
#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC)
#define HUGE_SIZE_BITS (0x3fu << MFD_HUGE_SHIFT)
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

static const char link_prefix[] = "/memfd:";
static const char deleted_mark[] = " (deleted)";

struct memfd_inode {
	struct memfd_inode *next;
	MemfdInodeEntry *m;
	uint64_t dev, ino;    /* dump */
	int fd;               /* restore: until the seals are on, else -1 */
};

static struct memfd_inode **inode_list(struct operation *op)
{
	return (struct memfd_inode **)files_kind_state(op, &kind_memfd);
}

static bool memfd_recognise(const struct fd_facts *f)
{
	size_t len = strlen(f->link);

	return strncmp(f->link, link_prefix, strlen(link_prefix)) == 0 && len > strlen(deleted_mark) &&
	       strcmp(f->link + len - strlen(deleted_mark), deleted_mark) == 0 && f->st.st_nlink == 0 && S_ISREG(f->st.st_mode);
}

static int dump_huge(int fd, const struct stat *st, MemfdInodeEntry *m)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	m->has_hugetlb_flag = true;
	m->hugetlb_flag = MFD_HUGETLB | (uint32_t)__builtin_ctzl((unsigned long)st->st_blksize) << MFD_HUGE_SHIFT;
	return 0;
}

static int dump_inode(struct operation *op, struct file *f, struct memfd_inode *inode)
{
	const struct stat *st = &f->facts.st;
	MemfdInodeEntry *m = inode->m;
	const char *name = f->facts.link + strlen(link_prefix);
	AUTOCLOSE int fd = -1;
	int seals, r;

	/* The local copy may be write-only or O_PATH: neither can be read, and O_PATH tells no seals. */
	fd = reopen(f->facts.fd, O_RDONLY);
	if (fd < 0)
		return error_raise_call(op->error, -fd, "open", "%s", facts_describe(op, &f->facts));
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return error_raise_call(op->error, errno, "fcntl(F_GET_SEALS)", "%s", facts_describe(op, &f->facts));
	m->name = arena_printf(&op->arena, "%.*s", (int)(strlen(name) - strlen(deleted_mark)), name);
	if (!m->name)
		return raise_no_memory(op);
	m->uid = st->st_uid;
	m->gid = st->st_gid;
	m->has_mode = true;
	m->mode = st->st_mode;
	m->size = (uint64_t)st->st_size;
	m->seals = (uint32_t)seals;
	r = dump_huge(fd, st, m);
	if (r < 0)
		return error_raise_call(op->error, -r, "fstatfs", "%s", facts_describe(op, &f->facts));
	return memory_add_shared(op, fd, &m->shmid);
}

static int find_inode(struct operation *op, struct file *f, struct memfd_inode **ret)
{
	struct memfd_inode **list = inode_list(op), *inode;
	uint64_t id = 1;
	int r;

	for (inode = *list; inode; inode = inode->next) {
		if (inode->dev == f->facts.st.st_dev && inode->ino == f->facts.st.st_ino) {
			*ret = inode;
			return 0;
		}
		if (inode->m->inode_id >= id)
			id = inode->m->inode_id + 1;
	}
	inode = arena_alloc(&op->arena, sizeof(*inode));
	if (!inode)
		return raise_no_memory(op);
	*inode = (struct memfd_inode){ .dev = f->facts.st.st_dev, .ino = f->facts.st.st_ino, .fd = -1 };
	inode->m = arena_alloc(&op->arena, sizeof(*inode->m));
	if (!inode->m)
		return raise_no_memory(op);
	memfd_inode_entry__init(inode->m);
	inode->m->inode_id = id;
	r = dump_inode(op, f, inode);
	if (r < 0)
		return r;
	inode->next = *list;
	*list = inode;
	*ret = inode;
	return 0;
}

static int memfd_dump(struct operation *op, struct file *f)
{
	MemfdFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct memfd_inode *inode = NULL;
	int r;

	if (!m)
		return raise_no_memory(op);
	memfd_file_entry__init(m);
	r = find_inode(op, f, &inode);
	if (r < 0)
		return r;
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	m->pos = f->facts.number >= 0 ? f->facts.info.pos : 0;
	m->inode_id = (uint32_t)inode->m->inode_id;
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->memfd = m;
	return 0;
}

static int memfd_dump_all(struct operation *op)
{
	struct image_writer w = { 0 };
	int r;

	r = image_writer_open(&w, &op->images, IMAGE_MEMFD_INODE, 0, op->error);
	for (struct memfd_inode *inode = *inode_list(op); r == 0 && inode; inode = inode->next)
		r = image_write(&w, &inode->m->base, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/* ---- restore ---- */

static int check_inode(struct operation *op, const MemfdInodeEntry *m)
{
	uint32_t huge = m->has_hugetlb_flag ? m->hugetlb_flag : 0;

	/* 249: what memfd_create() takes. CRIU keeps shared anonymous memory as a memory file of the name "/dev/zero". */
	if (strlen(m->name) > 249)
		return error_raise(op->error, EBADMSG, "memfd.img: the name of memory file %llu is damaged",
				   (unsigned long long)m->inode_id);
	if (m->size > INT64_MAX || m->shmid == 0 || (m->has_mode && (m->mode & ~(uint32_t)(S_IFREG | 07777))) || (huge & ~(MFD_HUGETLB | HUGE_SIZE_BITS)))
		return error_raise(op->error, EBADMSG, "memfd.img: memory file %llu (%s) is damaged",
				   (unsigned long long)m->inode_id, m->name);
	if (m->seals & ~(uint32_t)ALL_SEALS)
		return error_raise(op->error, EOPNOTSUPP, "memfd.img: memory file %llu (%s) has unknown seals %x",
				   (unsigned long long)m->inode_id, m->name, m->seals);
	return 0;
}

static struct memfd_inode *inode_by_id(struct operation *op, uint64_t id)
{
	for (struct memfd_inode *inode = *inode_list(op); inode; inode = inode->next) {
		if (inode->m->inode_id == id)
			return inode;
	}
	return NULL;
}

static int memfd_load_all(struct operation *op)
{
	struct image_reader reader = { 0 };
	struct memfd_inode *inode;
	ProtobufCMessage *m;
	int r;

	r = image_reader_open(&reader, &op->images, IMAGE_MEMFD_INODE, 0, false, &op->arena, op->error);
	if (r < 0)
		return r;
	while ((r = image_read(&reader, &memfd_inode_entry__descriptor, &m, op->error)) > 0) {
		r = check_inode(op, (MemfdInodeEntry *)m);
		if (r < 0)
			return r;
		if (inode_by_id(op, ((MemfdInodeEntry *)m)->inode_id))
			return error_raise(op->error, EBADMSG, "%s: two memory files have the id %llu", reader.name,
					   (unsigned long long)((MemfdInodeEntry *)m)->inode_id);
		inode = arena_alloc(&op->arena, sizeof(*inode));
		if (!inode)
			return raise_no_memory(op);
		*inode = (struct memfd_inode){ .next = *inode_list(op), .m = (MemfdInodeEntry *)m, .fd = -1 };
		*inode_list(op) = inode;
	}
	return r;
}

static int memfd_decode(struct operation *op, struct file *f)
{
	const MemfdFileEntry *m = f->entry->memfd;
	struct memfd_inode *inode;

	if (!m || m->id != f->id || !m->fown || m->pos > INT64_MAX)
		return raise_damaged(op, f, "the memory file");
	inode = inode_by_id(op, m->inode_id);
	if (!inode)
		return raise_damaged(op, f, "the inode of a memory file");
	f->state = inode;
	f->describe = arena_printf(&op->arena, "memfd:%s, %llu bytes", inode->m->name, (unsigned long long)inode->m->size);
	return f->describe ? 0 : raise_no_memory(op);
}

static bool seals_late(const MemfdInodeEntry *m)
{
	return (m->seals & F_SEAL_FUTURE_WRITE) && !(m->seals & F_SEAL_WRITE);
}

static int add_seals(struct operation *op, const struct memfd_inode *inode, const char *describe)
{
	if (inode->m->seals && fcntl(inode->fd, F_ADD_SEALS, (int)inode->m->seals) < 0)
		return error_raise_call(op->error, errno, "fcntl(F_ADD_SEALS)", "%s, seals %x", describe, inode->m->seals);
	return 0;
}

static int make_inode(struct operation *op, struct memfd_inode *inode, const char *describe)
{
	const MemfdInodeEntry *m = inode->m;
	int r;

	inode->fd = memfd_create(m->name, MFD_CLOEXEC | MFD_ALLOW_SEALING | m->hugetlb_flag);
	if (inode->fd < 0) {
		error_raise_call(op->error, errno, "memfd_create", "%s", describe);
		if (m->hugetlb_flag)
			error_hint(op->error, "It needs huge pages: see /proc/sys/vm/nr_hugepages.");
		return -op->error->number;
	}
	if (ftruncate(inode->fd, (off_t)m->size) < 0)
		return error_raise_call(op->error, errno, "ftruncate", "%s", describe);
	if (m->size > 0) {
		r = memory_shared_fill(op, m->shmid, inode->fd, m->size);
		if (r < 0)
			return r;
	}
	if (fchown(inode->fd, m->uid, m->gid) < 0)
		return error_raise_call(op->error, errno, "fchown", "%s", describe);
	if (m->has_mode && fchmod(inode->fd, m->mode & 07777) < 0)
		return error_raise_call(op->error, errno, "fchmod", "%s", describe);
	return seals_late(m) ? 0 : add_seals(op, inode, describe);
}

static int memfd_create_file(struct operation *op, struct file *f)
{
	const MemfdFileEntry *m = f->entry->memfd;
	struct memfd_inode *inode = f->state;
	int r;

	if (inode->fd < 0) {
		r = make_inode(op, inode, f->describe);
		if (r < 0)
			return r;
	}
	r = reopen(inode->fd, (int)(m->flags & (O_ACCMODE | O_PATH | O_LARGEFILE)));
	if (r < 0)
		return error_raise_call(op->error, -r, "open", "%s", f->describe);
	f->fd = r;
	if (m->flags & O_PATH)
		return 0;
	if (m->pos && lseek(f->fd, (off_t)m->pos, SEEK_SET) < 0)
		return error_raise_call(op->error, errno, "lseek", "%s", f->describe);
	return file_set_flags(op, f, m->flags);
}

static void close_inode(struct memfd_inode *inode)
{
	if (inode && inode->fd >= 0) {
		close(inode->fd);
		inode->fd = -1;
	}
}

static int memfd_finish(struct operation *op, struct file *f)
{
	const MemfdFileEntry *m = f->entry->memfd;
	struct memfd_inode *inode = f->state;
	int r = 0;

	if (!m)
		return 0;    /* a second open file for a mapping */
	if (inode->fd >= 0 && seals_late(inode->m))
		r = add_seals(op, inode, f->describe);
	close_inode(inode);
	return r == 0 && !(m->flags & O_PATH) ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}

static void memfd_release(struct operation *op, struct file *f)
{
	(void)op;
	close_inode(f->state);
}

static void memfd_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->memfd)
		(void)snprintf(buf, size, "memfd, inode %u", entry->memfd->inode_id);
}

const struct kind kind_memfd = {
	.name = "memory file",
	.type = FD_TYPES__MEMFD,
	.recognise = memfd_recognise,
	.dump = memfd_dump,
	.dump_all = memfd_dump_all,
	.load_all = memfd_load_all,
	.decode = memfd_decode,
	.create = memfd_create_file,
	.finish = memfd_finish,
	.release = memfd_release,
	.describe = memfd_describe,
};
