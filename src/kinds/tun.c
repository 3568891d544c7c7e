/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/procfs.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "tun.pb-c.h"
#include "watch/recorder.h"

/*
 * Descriptors of /dev/net/tun. A persistent device stays on the machine when its program ends, with its addresses and
 * routes, and a restore takes hold of it again. Another one goes with its last descriptor, and its addresses with it:
 * it is refused.
 *
 * What waits to be read is dropped, as on any wire.
 */
#define TUN_MAJOR 10u
#define TUN_MINOR 200u
/* What TUNSETIFF takes. */
#define TUN_KEPT \
	(IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_ONE_QUEUE | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_NAPI | IFF_NAPI_FRAGS)

static bool tun_recognise(const struct fd_facts *f)
{
	return f->fd >= 0 && !(f->info.flags & O_PATH) && S_ISCHR(f->st.st_mode) &&
	       f->st.st_rdev == makedev(TUN_MAJOR, TUN_MINOR);
}

/* 0: @ifr is filled; -EBADFD: attached to no device. Not raised. */
static int get_iff(int fd, struct ifreq *ifr)
{
	memset(ifr, 0, sizeof(*ifr));
	return ioctl(fd, TUNGETIFF, ifr) < 0 ? -errno : 0;
}

static int tun_check(struct operation *op, const struct fd_facts *f)
{
	struct sock_fprog filter = { 0 };
	struct ifreq ifr;
	int r = get_iff(f->fd, &ifr);

	if (r == -EBADFD)
		return 0;
	if (r < 0)
		return error_raise_call(op->error, -r, "ioctl(TUNGETIFF)", "%s", facts_describe(op, f));
	if (!(ifr.ifr_flags & IFF_PERSIST)) {
		(void)error_raise(
			op->error, EOPNOTSUPP,
			"%s: %.15s goes when its program ends, with its addresses and routes, and is not carried",
			facts_describe(op, f), ifr.ifr_name);
		error_hint(op->error, "Make the device persistent: ip tuntap add, or TUNSETPERSIST.");
		return -EOPNOTSUPP;
	}
	if ((ifr.ifr_flags & IFF_TAP) && ioctl(f->fd, TUNGETFILTER, &filter) == 0 && filter.len > 0) {
		(void)error_raise(op->error, EOPNOTSUPP, "%s: the filter of %.15s (TUNATTACHFILTER) is not carried",
				  facts_describe(op, f), ifr.ifr_name);
		error_hint(op->error, "The kernel does not give it back: detach it before the dump.");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* TUNGETIFF says IFF_NOFILTER with the very bit of IFF_NO_PI (0x1000); the device's own flags are in sysfs. */
static int read_flags(struct operation *op, const char *name, uint32_t *ret)
{
	AUTOFREE char *text = NULL;
	char path[64];
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%.15s/tun_flags", name);
	r = procfs_read(AT_FDCWD, path, 64, &text, &len);
	if (r < 0)
		return error_raise_call(op->error, -r, "read", "%s", path);
	*ret = (uint32_t)strtoul(text, NULL, 16);
	return 0;
}

static int tun_dump(struct operation *op, struct file *f)
{
	TunfileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct pollfd poll_fd = { .fd = f->facts.fd, .events = POLLIN };
	struct ifreq ifr;
	int value, r;

	if (!m)
		return raise_no_memory(op);
	tunfile_entry__init(m);
	m->id = f->id;
	m->has_firn_flags = true;
	m->firn_flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	if (fown_fill(&f->facts, &m->firn_fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->tunf = m;
	if (get_iff(f->facts.fd, &ifr) < 0)
		return 0;
	r = tun_check(op, &f->facts);
	if (r < 0)
		return r;
	m->netdev = arena_printf(&op->arena, "%.15s", ifr.ifr_name);
	if (!m->netdev)
		return raise_no_memory(op);
	m->has_firn_iff = true;
	r = read_flags(op, m->netdev, &m->firn_iff);
	if (r < 0)
		return r;
	if (ifr.ifr_flags & IFF_DETACH_QUEUE) {
		m->has_detached = m->detached = true;
		return 0;
	}
	if (ioctl(f->facts.fd, TUNGETSNDBUF, &value) == 0 && value > 0) {
		m->has_firn_sndbuf = true;
		m->firn_sndbuf = (uint32_t)value;
	}
	if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN))
		log_warn(f->facts.task->pid, "%s → %s: packets that wait to be read are dropped", f->facts.what,
			 m->netdev);
	return 0;
}

/* ---- restore ---- */

static void tun_describe(const FileEntry *entry, char *buf, size_t size)
{
	const TunfileEntry *m = entry->tunf;

	if (m)
		(void)snprintf(buf, size, "/dev/net/tun, %s%.15s%s", m->netdev ? "device " : "no device",
			       m->netdev ? m->netdev : "", m->has_detached && m->detached ? ", detached queue" : "");
}

static int tun_decode(struct operation *op, struct file *f)
{
	const TunfileEntry *m = f->entry->tunf;
	char text[96] = "/dev/net/tun";

	if (!m || m->id != f->id || (m->netdev && (m->netdev[0] == '\0' || strlen(m->netdev) >= IF_NAMESIZE)) ||
	    m->firn_sndbuf > INT32_MAX)
		return raise_damaged(op, f, "the tun device");
	if (m->netdev && !m->has_firn_iff)
		return error_raise(op->error, EOPNOTSUPP,
				   "files.img: file %u: a tun device of a network namespace is not carried yet", f->id);
	tun_describe(f->entry, text, sizeof(text));
	f->describe = arena_strdup(&op->arena, text);
	return f->describe ? 0 : raise_no_memory(op);
}

static int attach(struct operation *op, const struct file *f, const TunfileEntry *m)
{
	struct ifreq ifr = { .ifr_flags = (short)(m->firn_iff & (TUN_KEPT)) }, q = { .ifr_flags = IFF_DETACH_QUEUE };
	int sndbuf = (int)m->firn_sndbuf;

	memcpy(ifr.ifr_name, m->netdev, strlen(m->netdev));
	/* TUNSETIFF would make a device that has no addresses. */
	if (if_nametoindex(m->netdev) == 0) {
		(void)error_raise(op->error, ENODEV, "%s: this machine has no such device", f->describe);
		error_hint(op->error, "Make it first: ip tuntap add dev %s mode %s.", m->netdev,
			   m->firn_iff & IFF_TAP ? "tap" : "tun");
		return -ENODEV;
	}
	if (ioctl(f->fd, TUNSETIFF, &ifr) < 0) {
		(void)error_raise_call(op->error, errno, "ioctl(TUNSETIFF)", "%s", f->describe);
		if (errno == EBUSY)
			error_hint(op->error, "Another process holds the device.");
		return -errno;
	}
	if (m->has_firn_sndbuf && ioctl(f->fd, TUNSETSNDBUF, &sndbuf) < 0)
		return error_raise_call(op->error, errno, "ioctl(TUNSETSNDBUF)", "%s", f->describe);
	if (m->has_detached && m->detached && ioctl(f->fd, TUNSETQUEUE, &q) < 0)
		return error_raise_call(op->error, errno, "ioctl(TUNSETQUEUE)", "%s", f->describe);
	return 0;
}

static int tun_create(struct operation *op, struct file *f)
{
	const TunfileEntry *m = f->entry->tunf;

	f->fd = open("/dev/net/tun", (m->has_firn_flags ? (int)m->firn_flags & O_ACCMODE : O_RDWR) | O_CLOEXEC);
	if (f->fd < 0)
		return error_raise_call(op->error, errno, "open", "/dev/net/tun");
	return m->netdev ? attach(op, f, m) : 0;
}

static int tun_finish(struct operation *op, struct file *f)
{
	const TunfileEntry *m = f->entry->tunf;
	int r = file_set_flags(op, f, m->has_firn_flags ? m->firn_flags : O_RDWR);

	return r == 0 ? fown_apply(op, f->fd, m->firn_fown, f->describe) : r;
}

const struct kind kind_tun = {
	.name = "tun device",
	.type = FD_TYPES__TUNF,
	.recognise = tun_recognise,
	.check = tun_check,
	.dump = tun_dump,
	.decode = tun_decode,
	.create = tun_create,
	.finish = tun_finish,
	.describe = tun_describe,
};
