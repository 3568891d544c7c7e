/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/tty.h"

/* tty-info.img and the terminals of files.img: hostile input. */

static int check_termios(const TermiosEntry *t)
{
	if (!t)
		return 0;
	return t->n_c_cc < (TTY_CC + 3) / 4 || t->c_line > 30 ? -EINVAL : 0;
}

static int check_info(struct operation *op, const char *image, const TtyInfoEntry *m)
{
	if (check_termios(m->termios) < 0 || check_termios(m->termios_locked) < 0 || m->sid > INT32_MAX ||
	    m->pgrp > INT32_MAX ||
	    (m->winsize && (m->winsize->ws_row > UINT16_MAX || m->winsize->ws_col > UINT16_MAX ||
			    m->winsize->ws_xpixel > UINT16_MAX || m->winsize->ws_ypixel > UINT16_MAX)))
		return error_raise(op->error, EBADMSG, "%s: terminal %u is damaged", image, m->id);
	if (m->type == TTY_TYPE__PTY && (!m->pty || m->pty->index > TTY_INDEX_MAX))
		return error_raise(op->error, EBADMSG, "%s: terminal %u has no index", image, m->id);
	if (m->termios && m->termios->c_line != 0)
		return error_raise(op->error, EOPNOTSUPP,
				   "%s: terminal %u has the line discipline %u, which is not carried", image, m->id,
				   m->termios->c_line);
	if (tty_is_given(m) && !m->has_dev)
		return error_raise(op->error, EBADMSG, "%s: terminal %u, which is to be given, has no device", image,
				   m->id);
	if (m->type == TTY_TYPE__UNKNOWN)
		return error_raise(op->error, EOPNOTSUPP, "%s: terminal %u is of a type that is not carried yet", image,
				   m->id);
	return 0;
}

int tty_load_all(struct operation *op)
{
	struct image_reader reader = { 0 };
	ProtobufCMessage *m;
	struct tty *tty;
	int r;

	r = image_reader_open(&reader, &op->images, IMAGE_TTY_INFO, 0, false, &op->arena, op->error);
	if (r < 0)
		return r;
	while ((r = image_read(&reader, &tty_info_entry__descriptor, &m, op->error)) > 0) {
		r = check_info(op, reader.name, (TtyInfoEntry *)m);
		if (r < 0)
			return r;
		if (tty_find(op, ((TtyInfoEntry *)m)->id))
			return error_raise(op->error, EBADMSG, "%s: two terminals have the id %u", reader.name,
					   ((TtyInfoEntry *)m)->id);
		tty = arena_alloc(&op->arena, sizeof(*tty));
		if (!tty)
			return raise_no_memory(op);
		*tty = (struct tty){ .next = *tty_list(op), .m = (TtyInfoEntry *)m };
		*tty_list(op) = tty;
	}
	return r == 0 ? tty_data_read(op) : r;
}

static const char *type_text(const TtyInfoEntry *m)
{
	return tty_is_master(m)		      ? "master of pty"
	       : m->type == TTY_TYPE__PTY     ? "pty"
	       : tty_is_given(m)	      ? "terminal from outside"
	       : m->type == TTY_TYPE__CTTY    ? "/dev/tty"
	       : m->type == TTY_TYPE__CONSOLE ? "/dev/console"
					      : "terminal";
}

/* The path's entry is no file of its own: nothing shall open it. */
static int claim_path(struct operation *op, struct file *f, const TtyFileEntry *m)
{
	struct file *path;

	if (!m->has_regf_id)
		return 0;
	path = files_find(op, m->regf_id);
	if (!path || path->entry->type != FD_TYPES__REG || !path->entry->reg || path->entry->reg->name[0] != '/')
		return raise_damaged(op, f, "the path of a terminal");
	path->created = path->connected = path->finished = true;
	return 0;
}

int tty_decode(struct operation *op, struct file *f)
{
	const TtyFileEntry *m = f->entry->tty;
	struct tty *tty;

	if (!m || m->id != f->id || !m->fown)
		return raise_damaged(op, f, "the terminal");
	tty = tty_find(op, m->tty_info_id);
	if (!tty)
		return raise_damaged(op, f, "the terminal's entry in tty-info.img");
	if (tty->file && tty_is_master(tty->m))
		return raise_damaged(op, f, "the master of a pty (two open files of one)");
	if (!tty->file)
		tty->file = f;
	f->state = tty;
	if (tty->m->pty)
		f->describe = arena_printf(&op->arena, "%s %u", type_text(tty->m), tty->m->pty->index);
	else
		f->describe = arena_printf(&op->arena, "%s", type_text(tty->m));
	return f->describe ? claim_path(op, f, m) : raise_no_memory(op);
}
