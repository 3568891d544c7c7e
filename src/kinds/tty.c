/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kinds/tty.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/inherit.h"
#include "kinds/registry.h"
#include "regfile.pb-c.h"
#include "tree/refusals.h"
#include "watch/recorder.h"

/*
 * Terminals: pty pairs whose master belongs to the tree, the terminal of a shell job (a pty whose master does not), and
 * consoles. tty-info.img has the terminals, files.img the open files, each with a second entry for its path.
 *
 * Numbers and structs are the kernel's (asm/termbits.h), not the C library's. What waits to be read in a pair is carried
 * (tty_data.c); what was typed ahead on a shell job's terminal stays in that terminal.
 */

/*
 * CRIU numbers the terminals that are no pty by their type, one of each; it cannot read larger numbers. The first of a type
 * has that number, more have others.
 */
#define ID_CRIU_CONSOLE 2004u
#define ID_CRIU_VT 2008u
#define ID_CRIU_CTTY 2012u
#define ID_CRIU_GIVEN 2026u
#define ID_DEVICE 0x10000000u     /* ids of terminals that are no pty: far from the two per pty */
#define ID_SESSION 0x20000000u    /* of /dev/tty, by session */
#define ID_GIVEN 0x30000000u      /* of what is given at the restore, in the order met */
#define ID_HUNG_UP 0x38000000u    /* of /dev/tty whose terminal was hung up */

struct tty **tty_list(struct operation *op)
{
	return (struct tty **)files_kind_state(op, &kind_tty);
}

struct tty *tty_find(struct operation *op, uint32_t id)
{
	for (struct tty *t = *tty_list(op); t; t = t->next) {
		if (t->m->id == id)
			return t;
	}
	return NULL;
}

/* ---- recognise ---- */

static bool is_slave_device(dev_t rdev)
{
	return major(rdev) == UNIX98_PTY_SLAVE_MAJOR;    /* one major, a million minors (devpts) */
}

static TtyType type_of(dev_t rdev)
{
	if (is_slave_device(rdev) || rdev == makedev(TTYAUX_MAJOR, 2))
		return TTY_TYPE__PTY;
	if (rdev == makedev(TTYAUX_MAJOR, 0))
		return TTY_TYPE__CTTY;
	if (rdev == makedev(TTYAUX_MAJOR, 1))
		return TTY_TYPE__CONSOLE;
	if (major(rdev) == TTY_MAJOR)
		return minor(rdev) < 64 ? TTY_TYPE__VT : TTY_TYPE__SERIAL;
	return TTY_TYPE__UNKNOWN;
}

static bool tty_recognise(const struct fd_facts *f)
{
	return f->fd >= 0 && S_ISCHR(f->st.st_mode) && type_of(f->st.st_rdev) != TTY_TYPE__UNKNOWN &&
	       !(f->info.flags & O_PATH);
}

/* The device behind the open file, which for /dev/tty is another than its own. -EIO: the terminal was hung up. */
static int real_device(const struct fd_facts *f, dev_t *ret)
{
	unsigned int dev;

	if (ioctl(f->fd, TIOCGDEV, &dev) < 0)
		return -errno;
	*ret = makedev((dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00));
	return 0;
}

/* The index of the pty behind @f; -1 when it is none or was hung up. */
static int pty_index(const struct fd_facts *f)
{
	unsigned int number;
	dev_t dev;

	if (f->st.st_rdev == makedev(TTYAUX_MAJOR, 2))
		return ioctl(f->fd, TIOCGPTN, &number) < 0 ? -1 : (int)number;
	if (real_device(f, &dev) < 0 || !is_slave_device(dev))
		return -1;
	return (int)minor(dev);
}

static uint32_t encode(dev_t dev)
{
	return (uint32_t)(major(dev) << 8 | (minor(dev) & 0xff) | (minor(dev) & ~0xffu) << 12);
}

/* --external tty[rdev:dev]. Of /dev/tty only the number of the terminal behind it is known. */
static bool is_given(const struct operation *op, const struct fd_facts *f)
{
	dev_t dev = f->st.st_rdev;
	char key[64];

	if (type_of(dev) == TTY_TYPE__CTTY) {
		if (real_device(f, &dev) < 0)
			return false;
		(void)snprintf(key, sizeof(key), "tty[%x:", encode(dev));
		return external_begins(op, key);
	}
	(void)snprintf(key, sizeof(key), "tty[%x:%x]", encode(dev), encode(f->st.st_dev));
	return external_listed(op, key);
}

static const struct file *tree_master(const struct operation *op, int index)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];

		if (f->kind == &kind_tty && f->facts.fd >= 0 && f->facts.st.st_rdev == makedev(TTYAUX_MAJOR, 2) &&
		    pty_index(&f->facts) == index)
			return f;
	}
	return NULL;
}

static int check_packets(struct operation *op, const struct fd_facts *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLPRI };
	int packets = 0;

	if (ioctl(f->fd, TIOCGPKT, &packets) < 0 || !packets || poll(&p, 1, 0) != 1 || !(p.revents & POLLPRI))
		return 0;
	error_raise(op->error, EOPNOTSUPP, "%s: a status of packet mode (TIOCPKT) waits to be read, which is not carried",
		    facts_describe(op, f));
	error_hint(op->error, "Let the program read it, then dump again.");
	return -EOPNOTSUPP;
}

static int tty_check(struct operation *op, const struct fd_facts *f)
{
	struct stat st;
	dev_t dev;
	int discipline = 0;

	if (ioctl(f->fd, TIOCGETD, &discipline) == 0 && discipline != 0) {
		error_raise(op->error, EOPNOTSUPP, "%s: its line discipline %d is not carried", facts_describe(op, f), discipline);
		error_hint(op->error, "Only N_TTY is: end the program that attached another one (slip, ppp, bluetooth …).");
		return -EOPNOTSUPP;
	}
	if (is_given(op, f))
		return 0;
	if (f->st.st_rdev == makedev(TTYAUX_MAJOR, 2))
		return check_packets(op, f);
	if (type_of(f->st.st_rdev) != TTY_TYPE__PTY && type_of(f->st.st_rdev) != TTY_TYPE__CTTY && real_device(f, &dev) == -EIO)
		return error_raise(op->error, EOPNOTSUPP, "%s: the terminal behind it was hung up, which is not carried",
				   facts_describe(op, f));
	if (is_slave_device(f->st.st_rdev) && stat("/dev/pts", &st) == 0 && st.st_dev != f->st.st_dev) {
		error_raise(op->error, EOPNOTSUPP, "%s: it belongs to another devpts than /dev/pts here", facts_describe(op, f));
		error_hint(op->error, "--external 'tty[%x:%x]' leaves it out, and --inherit-fd gives another in its place.",
			   encode(f->st.st_rdev), encode(f->st.st_dev));
		return -EOPNOTSUPP;
	}
	return 0;
}

static int tty_check_all(struct operation *op)
{
	for (size_t i = 0; i < op->files->n_files; i++) {
		const struct file *f = op->files->files[i];
		int index, r;

		if (f->kind != &kind_tty || f->facts.fd < 0 || f->facts.st.st_rdev == makedev(TTYAUX_MAJOR, 2))
			continue;
		index = pty_index(&f->facts);
		if (index < 0 || op->options->shell_job || tree_master(op, index) || is_given(op, &f->facts))
			continue;
		error_raise(op->error, EOPNOTSUPP, "%s: the master side of this terminal belongs to a process outside the tree",
			    facts_describe(op, &f->facts));
		error_hint(op->error, "With --shell-job the restore puts the terminal it is started on in its place, with "
				      "--external and --inherit-fd one that is given.");
		r = refusal_note(op, -EOPNOTSUPP);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- dump ---- */

static TermiosEntry *termios_entry(struct operation *op, const struct termios *t)
{
	TermiosEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!m)
		return NULL;
	termios_entry__init(m);
	m->c_iflag = t->c_iflag;
	m->c_oflag = t->c_oflag;
	m->c_cflag = t->c_cflag;
	m->c_lflag = t->c_lflag;
	m->c_line = t->c_line;
	m->c_cc = arena_array(&op->arena, TTY_CC, sizeof(*m->c_cc));
	if (!m->c_cc)
		return NULL;
	m->n_c_cc = TTY_CC;
	/* CRIU copies the bytes into the first words of the array; so does firn. */
	memcpy(m->c_cc, t->c_cc, sizeof(t->c_cc) < TTY_CC ? sizeof(t->c_cc) : TTY_CC);
	return m;
}

static int dump_termios(struct operation *op, const struct file *f, TtyInfoEntry *m)
{
	struct termios t = { 0 }, locked = { 0 };
	struct termios2 t2;
	struct winsize w = { 0 };
	WinsizeEntry *size = arena_alloc(&op->arena, sizeof(*size));

	if (ioctl(f->facts.fd, TCGETS, &t) < 0 || ioctl(f->facts.fd, TIOCGLCKTRMIOS, &locked) < 0)
		return errno == EIO ? 0 : error_raise_call(op->error, errno, "ioctl(TCGETS)", "%s", facts_describe(op, &f->facts));
	m->termios = termios_entry(op, &t);
	m->termios_locked = termios_entry(op, &locked);
	if (!m->termios || !m->termios_locked || !size)
		return raise_no_memory(op);
	/* A speed of its own kind (BOTHER) is not in the flags. */
	if (((t.c_cflag & CBAUD) == BOTHER || (t.c_cflag >> IBSHIFT & CBAUD) == BOTHER) && ioctl(f->facts.fd, TCGETS2, &t2) == 0) {
		m->termios->c_ispeed = t2.c_ispeed;
		m->termios->c_ospeed = t2.c_ospeed;
	}
	if (ioctl(f->facts.fd, TIOCGWINSZ, &w) < 0)
		return error_raise_call(op->error, errno, "ioctl(TIOCGWINSZ)", "%s", facts_describe(op, &f->facts));
	winsize_entry__init(size);
	size->ws_row = w.ws_row;
	size->ws_col = w.ws_col;
	size->ws_xpixel = w.ws_xpixel;
	size->ws_ypixel = w.ws_ypixel;
	m->winsize = size;
	return 0;
}

/* Whose controlling terminal @dev is: the kernel tells outsiders only through /proc/PID/stat. */
static void dump_session(const struct operation *op, dev_t dev, TtyInfoEntry *m)
{
	for (size_t i = 0; i < op->tree.n_tasks; i++) {
		const struct proc_stat *s = &op->tree.tasks[i]->stat;
		unsigned nr = (unsigned)s->tty_nr;

		if (nr && makedev((nr >> 8) & 0xfff, (nr & 0xff) | ((nr >> 12) & 0xfff00)) == dev) {
			m->sid = (uint32_t)s->sid;
			m->pgrp = s->tty_pgrp > 0 ? (uint32_t)s->tty_pgrp : 0;
			return;
		}
	}
}

/* The slave's own node, also when nobody has it open. */
static void dump_slave_owner(const struct file *f, TtyInfoEntry *m)
{
	struct stat st;
	char path[32];

	(void)snprintf(path, sizeof(path), "/dev/pts/%u", m->pty->index);
	recorder_step(f->facts.task->pid, f->facts.task->comm, "stat", "%s", path);
	if (stat(path, &st) < 0 || st.st_rdev != makedev(UNIX98_PTY_SLAVE_MAJOR, m->pty->index))
		return;
	m->has_firn_slave_uid = m->has_firn_slave_gid = m->has_firn_slave_mode = true;
	m->firn_slave_uid = st.st_uid;
	m->firn_slave_gid = st.st_gid;
	m->firn_slave_mode = st.st_mode & 07777;
}

static int dump_master(struct operation *op, const struct file *f, TtyInfoEntry *m)
{
	struct pollfd p = { .fd = f->facts.fd };
	int locked = 0, packet = 0;

	if (ioctl(f->facts.fd, TIOCGPTLCK, &locked) < 0 || ioctl(f->facts.fd, TIOCGPKT, &packet) < 0)
		return error_raise_call(op->error, errno, "ioctl(TIOCGPTLCK)", "%s", facts_describe(op, &f->facts));
	m->locked = locked;
	m->packet_mode = packet;
	dump_slave_owner(f, m);
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP))
		m->has_firn_other_closed = m->firn_other_closed = true;
	return 0;
}

static int dump_info(struct operation *op, struct file *f, dev_t dev, TtyInfoEntry *m)
{
	const struct stat *st = &f->facts.st;
	int exclusive = 0, r;

	m->type = is_given(op, &f->facts) && type_of(st->st_rdev) != TTY_TYPE__CTTY ? TTY_TYPE__EXT_TTY : type_of(st->st_rdev);
	m->rdev = encode(st->st_rdev);
	m->has_dev = m->has_uid = m->has_gid = true;
	m->dev = encode(st->st_dev);
	m->uid = st->st_uid;
	m->gid = st->st_gid;
	if (ioctl(f->facts.fd, TIOCGEXCL, &exclusive) == 0)
		m->exclusive = exclusive;
	if (m->type == TTY_TYPE__PTY) {
		m->pty = arena_alloc(&op->arena, sizeof(*m->pty));
		if (!m->pty)
			return raise_no_memory(op);
		tty_pty_entry__init(m->pty);
		m->pty->index = tty_is_master(m) ? (uint32_t)pty_index(&f->facts) : minor(st->st_rdev);
	}
	r = tty_is_master(m) ? dump_master(op, f, m) : 0;
	if (r == 0)
		r = dump_termios(op, f, m);
	if (tty_is_master(m))
		dev = makedev(UNIX98_PTY_SLAVE_MAJOR, m->pty->index);
	if (r == 0 && m->termios)
		dump_session(op, dev, m);
	return r;
}

/* /dev/tty is one terminal for each session. */
static uint32_t ctty_id(struct operation *op, const struct task *t)
{
	const struct tty *first = tty_find(op, ID_CRIU_CTTY);

	if (!first || first->file->facts.task->stat.sid == t->stat.sid)
		return ID_CRIU_CTTY;
	return ID_SESSION + (uint32_t)t->stat.sid;
}

static uint32_t device_id(struct operation *op, TtyType type, dev_t rdev)
{
	const uint32_t id = type == TTY_TYPE__CONSOLE ? ID_CRIU_CONSOLE : ID_CRIU_VT;
	const struct tty *first = tty_find(op, id);

	if (type != TTY_TYPE__SERIAL && (!first || first->m->rdev == encode(rdev)))
		return id;
	return ID_DEVICE + TTY_INDEX_MAX + encode(rdev);
}

static uint32_t given_id(struct operation *op, const struct fd_facts *f)
{
	uint32_t next = ID_CRIU_GIVEN;

	for (const struct tty *t = *tty_list(op); t; t = t->next) {
		if (!tty_is_given(t->m))
			continue;
		if (t->m->rdev == encode(f->st.st_rdev) && t->m->dev == encode(f->st.st_dev))
			return t->m->id;
		next = next == ID_CRIU_GIVEN ? ID_GIVEN : next + 1;
	}
	return next;
}

static int dump_id(struct operation *op, const struct file *f, dev_t *ret_dev, uint32_t *ret)
{
	const struct fd_facts *facts = &f->facts;
	int index = pty_index(facts);
	TtyType type = type_of(facts->st.st_rdev);

	*ret_dev = facts->st.st_rdev;
	if (type != TTY_TYPE__CTTY && is_given(op, facts)) {
		*ret = given_id(op, facts);
		return 0;
	}
	if (type == TTY_TYPE__PTY && facts->st.st_rdev == makedev(TTYAUX_MAJOR, 2)) {
		if (index < 0)
			return error_raise_call(op->error, errno, "ioctl(TIOCGPTN)", "%s", facts_describe(op, facts));
		*ret = (uint32_t)index * 2 + 1;
		return 0;
	}
	if (type == TTY_TYPE__PTY) {
		/* A hung up slave keeps its number, which may have another owner by now. */
		*ret = index >= 0 ? (uint32_t)index * 2 : ID_DEVICE + minor(facts->st.st_rdev);
		return 0;
	}
	if (type == TTY_TYPE__CTTY && real_device(facts, ret_dev) == -EIO) {
		*ret = ID_HUNG_UP + f->id;
		return 0;
	}
	if (real_device(facts, ret_dev) < 0)
		return error_raise(op->error, EOPNOTSUPP, "%s: the terminal behind it was hung up, which is not carried",
				   facts_describe(op, facts));
	*ret = type == TTY_TYPE__CTTY ? ctty_id(op, facts->task) : device_id(op, type, facts->st.st_rdev);
	return 0;
}

static int tty_dump(struct operation *op, struct file *f)
{
	TtyFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct tty *tty;
	uint32_t id = 0;
	dev_t dev = 0;
	int r;

	if (!m)
		return raise_no_memory(op);
	r = dump_id(op, f, &dev, &id);
	if (r < 0)
		return r;
	tty = tty_find(op, id);
	if (!tty) {
		tty = arena_alloc(&op->arena, sizeof(*tty));
		if (!tty)
			return raise_no_memory(op);
		tty->m = arena_alloc(&op->arena, sizeof(*tty->m));
		if (!tty->m)
			return raise_no_memory(op);
		tty_info_entry__init(tty->m);
		tty->m->id = id;
		tty->file = f;
		r = dump_info(op, f, dev, tty->m);
		if (r < 0)
			return r;
		tty->next = *tty_list(op);
		*tty_list(op) = tty;
	}
	tty_file_entry__init(m);
	m->id = f->id;
	m->tty_info_id = id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	if (fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->tty = m;
	return 0;
}

/* Unread data, of pairs that come back as new ones. */
static int dump_queues(struct operation *op)
{
	int r = 0;

	for (struct tty *t = *tty_list(op); r == 0 && t; t = t->next) {
		struct tty *master;

		if (t->m->type != TTY_TYPE__PTY || !t->m->termios)
			continue;
		master = tty_find(op, t->m->pty->index * 2 + 1);
		if (master)
			r = tty_data_dump(op, t, master);
	}
	return r;
}

/* The path of the open file, as a regular file of files.img that no descriptor refers to. */
static int add_path(struct operation *op, struct file *f)
{
	struct file *path = files_add(op, &kind_regular, NULL);
	RegFileEntry *m = arena_alloc(&op->arena, sizeof(*m));

	if (!path || !m)
		return raise_no_memory(op);
	reg_file_entry__init(m);
	m->id = path->id;
	m->flags = f->entry->tty->flags;
	m->fown = f->entry->tty->fown;
	m->name = (char *)f->facts.link;
	m->has_mode = true;
	m->mode = f->facts.st.st_mode;
	path->entry->reg = m;
	path->describe = f->facts.link;
	f->entry->tty->has_regf_id = true;
	f->entry->tty->regf_id = path->id;
	return 0;
}

static int tty_dump_all(struct operation *op)
{
	struct image_writer w = { 0 };
	size_t n = op->files->n_files;
	int r;

	r = dump_queues(op);
	if (r == 0)
		r = tty_data_write(op);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (op->files->files[i]->kind == &kind_tty && op->files->files[i]->entry->tty)
			r = add_path(op, op->files->files[i]);
	}
	if (r < 0)
		return r;
	r = image_writer_open(&w, &op->images, IMAGE_TTY_INFO, 0, op->error);
	for (struct tty *t = *tty_list(op); r == 0 && t; t = t->next)
		r = image_write(&w, &t->m->base, op->error);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

static void tty_describe(const FileEntry *entry, char *buf, size_t size)
{
	if (entry->tty)
		(void)snprintf(buf, size, "terminal %u", entry->tty->tty_info_id);
}

const struct kind kind_tty = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.recognise = tty_recognise,
	.check = tty_check,
	.check_all = tty_check_all,
	.dump = tty_dump,
	.dump_all = tty_dump_all,
	.load_all = tty_load_all,
	.decode = tty_decode,
	.create = tty_create,
	.finish = tty_finish,
	.describe = tty_describe,
};
