// SPDX-License-Identifier: LGPL-2.1-or-later
/* fuse_server FOLDER: mounts a FUSE file system with one file, `data`, there and serves it until it is told not to:
 * SIGUSR1 makes it answer nothing any more, SIGUSR2 go on where it stopped, and SIGTERM end. The mount stays. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_INODE 2
#define DATA_SIZE 65536

static volatile sig_atomic_t silent;

static void on_signal(int sig)
{
	silent = sig == SIGUSR1;
}

static void answer(int fd, const struct fuse_in_header *in, int error, const void *body, size_t len)
{
	char buf[sizeof(struct fuse_out_header) + 65536];
	struct fuse_out_header *out = (struct fuse_out_header *)buf;

	*out = (struct fuse_out_header){ .len = (uint32_t)(sizeof(*out) + len), .error = -error, .unique = in->unique };
	if (len)
		memcpy(buf + sizeof(*out), body, len);
	/* ENOENT: the request was interrupted meanwhile */
	(void)!write(fd, buf, out->len);
}

static struct fuse_attr attributes(uint64_t inode)
{
	const int file = inode == DATA_INODE;

	return (struct fuse_attr){ .ino = inode,
				   .size = file ? DATA_SIZE : 0,
				   .mode = file ? S_IFREG | 0666 : S_IFDIR | 0777,
				   .nlink = 1,
				   .blksize = 4096 };
}

static void serve(int fd, const struct fuse_in_header *in)
{
	static char data[65536];
	const void *arg = in + 1;

	switch (in->opcode) {
	case FUSE_INIT: {
		const struct fuse_init_out out = { .major = 7, .minor = 31, .max_write = 4096 };

		answer(fd, in, 0, &out, sizeof(out));
		break;
	}
	case FUSE_LOOKUP: {
		const struct fuse_entry_out out = { .nodeid = DATA_INODE, .attr = attributes(DATA_INODE) };

		answer(fd, in, strcmp(arg, "data") ? ENOENT : 0, &out, strcmp(arg, "data") ? 0 : sizeof(out));
		break;
	}
	case FUSE_GETATTR: {
		const struct fuse_attr_out out = { .attr = attributes(in->nodeid) };

		answer(fd, in, 0, &out, sizeof(out));
		break;
	}
	case FUSE_OPEN:
	case FUSE_OPENDIR: {
		const struct fuse_open_out out = { 0 };

		answer(fd, in, 0, &out, sizeof(out));
		break;
	}
	case FUSE_READ: {
		const struct fuse_read_in *read = arg;

		answer(fd, in, 0, data, read->size < sizeof(data) ? read->size : sizeof(data));
		break;
	}
	case FUSE_READDIR:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(fd, in, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(fd, in, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	static char buf[256 * 1024] __attribute__((aligned(8)));
	sigset_t changes, none;
	char options[96];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (argc != 2 || fd < 0)
		return 77;
	(void)sigemptyset(&none);
	(void)sigemptyset(&changes);
	(void)sigaddset(&changes, SIGUSR1);
	(void)sigaddset(&changes, SIGUSR2);
	(void)sigaction(SIGUSR1, &sa, NULL);
	(void)sigaction(SIGUSR2, &sa, NULL);
	(void)sigprocmask(SIG_BLOCK, &changes, NULL);
	(void)snprintf(options, sizeof(options), "fd=%d,rootmode=40777,user_id=0,group_id=0,allow_other", fd);
	if (mount("zoo", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
		perror("mount");
		return 77;
	}
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (silent) {
			(void)sigsuspend(&none);
			continue;
		}
		n = read(fd, buf, sizeof(buf));
		if (n > 0) {
			serve(fd, (const struct fuse_in_header *)buf);
			continue;
		}
		if (errno != EAGAIN && errno != ENOENT && errno != EINTR)
			return errno == ENODEV ? 0 : 1;
		(void)ppoll(&p, 1, NULL, &none);
	}
}
