// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_mqueue FOLDER: POSIX message queues: messages with their priorities, the flags of each descriptor, a shared one. */
#include "check.h"

#include <mqueue.h>

static char name[64];

int main(int argc, char **argv)
{
	struct mq_attr attr = { .mq_maxmsg = 7, .mq_msgsize = 100 };
	char text[100] = "";
	unsigned priority;
	mqd_t q, reader, shared;
	int own;

	check_begin(argc, argv);
	snprintf(name, sizeof(name), "/firn-test-%d", getpid());
	if ((q = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr)) < 0)
		check_skip("mq_open: %s", strerror(errno));
	reader = (mqd_t)MUST(mq_open(name, O_RDONLY));
	shared = (mqd_t)MUST(dup2(q, 40));
	MUST(mq_send(q, "low", 4, 1));
	MUST(mq_send(q, "high", 5, 9));
	MUST(mq_send(q, "low too", 8, 1));
	check_ready();
	MUST(mq_getattr(q, &attr));
	CHECK_EQ(attr.mq_flags, O_NONBLOCK, "flags");
	CHECK(attr.mq_maxmsg == 7 && attr.mq_msgsize == 100, "size %ld of %ld", attr.mq_maxmsg, attr.mq_msgsize);
	CHECK_EQ(attr.mq_curmsgs, 3, "messages");
	MUST(mq_getattr(reader, &attr));
	CHECK_EQ(attr.mq_flags, 0, "flags of the reader");
	CHECK(mq_send(reader, "x", 1, 0) == -1 && errno == EBADF, "the reader can write");
	CHECK(mq_receive(reader, text, 100, &priority) == 5 && !strcmp(text, "high") && priority == 9, "the first: %s",
	      text);
	CHECK(mq_receive(q, text, 100, &priority) == 4 && !strcmp(text, "low") && priority == 1, "the second: %s",
	      text);
	CHECK(mq_receive(reader, text, 100, &priority) == 8 && !strcmp(text, "low too"), "the third: %s", text);
	CHECK(mq_receive(q, text, 100, &priority) == -1 && errno == EAGAIN, "one more: %s", text);
	/* one description under two numbers */
	attr.mq_flags = 0;
	MUST(mq_setattr(shared, &attr, NULL));
	MUST(mq_getattr(q, &attr));
	CHECK_EQ(attr.mq_flags, 0, "flags through the other number");
	own = fcntl(q, F_GETFD);
	CHECK_EQ(own, FD_CLOEXEC, "close-on-exec");
	mq_unlink(name);
	return check_end();
}
