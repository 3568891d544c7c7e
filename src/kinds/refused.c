/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "kinds/socket.h"

/*
 * What is not carried, by name: a person should read what the descriptor is and what helps, not that something is
 * unknown. Takes every descriptor that no other kind took.
 */
static const struct {
	const char *prefix;    /* of the link */
	const char *what;
	const char *hint;
} refused[] = {
	{ "anon_inode:[io_uring]", "an io_uring instance",
	  "its queues live in the kernel: run the program with io_uring switched off (sysctl kernel.io_uring_disabled=2)" },
	{ "anon_inode:[perf_event]", "a perf event", "end the profiler first" },
	{ "anon_inode:[userfaultfd]", "a userfaultfd", NULL },
	{ "anon_inode:bpf-prog", "a BPF program", "unload it before the dump" },
	{ "anon_inode:bpf_link", "a BPF link", "detach it before the dump" },
	{ "anon_inode:bpf", "a BPF object", NULL },
	{ "anon_inode:kvm", "a KVM object", "virtual machines keep their state in the kernel and the processor" },
	{ "anon_inode:seccomp notify", "a seccomp listener", NULL },
	{ "anon_inode:[landlock", "a Landlock rule set", NULL },
	{ "anon_inode:dmabuf", "a DMA buffer", "close the graphics device first" },
	{ "/dmabuf:", "a DMA buffer", "close the graphics device first" },
	{ "/memfd:", "a memfd", NULL },
	{ "/secretmem", "secret memory", "the kernel gives its content to nobody" },
};

/* Sockets of families that have a kind of their own were taken by it, or refused there with more words. */
static const char *socket_name(const struct fd_facts *f)
{
	switch (socket_domain(f)) {
	case AF_XDP:
		return "an XDP socket";
	case AF_ALG:
		return "a socket of the kernel's crypto";
	case AF_CAN:
		return "a CAN socket";
	case AF_BLUETOOTH:
		return "a bluetooth socket";
	default:
		return "a socket of a family that firn does not know";
	}
}

static bool refused_recognise(const struct fd_facts *f)
{
	(void)f;
	return true;
}

static const char *mode_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFBLK:
		return "a block device that is open for writing,";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a FIFO";
	default:
		return "an object of a kind that firn does not know";
	}
}

static int refused_check(struct operation *op, const struct fd_facts *f)
{
	const char *what = S_ISSOCK(f->st.st_mode) ? socket_name(f) : mode_name(f->st.st_mode), *hint = NULL;
	char number[48] = "";

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		if (strncmp(f->link, refused[i].prefix, strlen(refused[i].prefix)) == 0) {
			what = refused[i].what;
			hint = refused[i].hint;
			break;
		}
	}
	if (S_ISCHR(f->st.st_mode) || S_ISBLK(f->st.st_mode))
		(void)snprintf(number, sizeof(number), " %u:%u", major(f->st.st_rdev), minor(f->st.st_rdev));
	(void)error_raise(op->error, EOPNOTSUPP, "%s: %s%s cannot be carried by this version of firn",
			  facts_describe(op, f), what, number);
	error_hint(op->error, "%s", hint ? hint : "let the program close it before the dump");
	return -EOPNOTSUPP;
}

static int refused_dump(struct operation *op, struct file *f)
{
	return refused_check(op, &f->facts);
}

const struct kind kind_refused = {
	.name = "unknown object",
	.type = FD_TYPES__UND,
	.recognise = refused_recognise,
	.check = refused_check,
	.dump = refused_dump,
};
