// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_rights FOLDER nested|both|self|circle|kinds|epoll|many|dgram|split: descriptors in the queues of unix sockets: of sockets
 * that have descriptors in their own queue, of both ends of a pair, of the socket that receives them, of other kinds, as
 * many as a message may have, in datagrams, and received in part. */
#include "check.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MOST 253

static void send_fds(int to, const int *fds, int n, const char *text)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))] = "";
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
	MUST(sendmsg(to, &m, 0));
}

static void send_fd(int to, int fd, const char *text)
{
	send_fds(to, &fd, 1, text);
}

/* The number of descriptors that came, with exactly @text. */
static int receive_fds(int from, int *fds, int room, const char *text)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
	char buf[256] = "";
	struct iovec iov = { buf, sizeof(buf) - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(from, &m, MSG_DONTWAIT);
	int n = 0;

	CHECK(len == (ssize_t)strlen(text) && !strcmp(buf, text), "received %zd bytes '%s' instead of '%s'", len, buf, text);
	if (len < 0)
		return 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), sizeof(int) * (size_t)(n < room ? n : room));
	}
	return n;
}

static int receive_fd(int from, const char *text)
{
	int fd = -1, n = receive_fds(from, &fd, 1, text);

	CHECK_EQ(n, 1, "descriptors in the message");
	return fd;
}

static int file_at(const char *name, int position)
{
	int fd = (int)MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));

	MUST(ftruncate(fd, 1000));
	MUST(lseek(fd, position, SEEK_SET));
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[64] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && !strcmp(buf, text), "received %zd bytes '%s' instead of '%s'", n, buf, text);
}

/* a pair whose queue has a socket whose queue has a socket whose queue has a file */
static void nested(void)
{
	int a[2], b[2], c[2], file = file_at("nested", 7), fd;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, b));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, c));
	send_fd(c[0], file, "file");
	send_fd(b[0], c[1], "c");
	send_fd(a[0], b[1], "b");
	MUST(send(a[0], "more", 4, 0));
	MUST(send(b[1], "to b0", 5, 0));
	close(file);
	close(c[1]);
	close(b[1]);
	check_ready();
	b[1] = receive_fd(a[1], "b");
	expect(a[1], "more");
	c[1] = receive_fd(b[1], "c");
	fd = receive_fd(c[1], "file");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 7, "position of the file");
	expect(b[0], "to b0");
	MUST(send(b[0], "alive", 5, 0));
	expect(b[1], "alive");
	MUST(send(c[0], "alive", 5, 0));
	expect(c[1], "alive");
}

/* both ends of a pair lie in a queue, with data in both */
static void both(void)
{
	int a[2], b[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, b));
	MUST(send(b[0], "for 1", 5, 0));
	MUST(send(b[1], "for 0", 5, 0));
	send_fds(a[0], b, 2, "both");
	close(b[0]);
	close(b[1]);
	check_ready();
	b[0] = b[1] = -1;
	CHECK_EQ(receive_fds(a[1], b, 2, "both"), 2, "descriptors");
	expect(b[1], "for 1");
	expect(b[0], "for 0");
	MUST(send(b[0], "alive", 5, 0));
	expect(b[1], "alive");
}

/* a socket in its own queue; and one that is held by its own peer's queue alone */
static void self(void)
{
	int a[2], b[2], fd;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, b));
	send_fd(a[0], a[1], "itself");
	send_fd(b[0], b[0], "the sender");
	close(b[0]);
	check_ready();
	fd = receive_fd(a[1], "itself");
	MUST(send(a[0], "twice", 5, 0));
	expect(fd, "twice");
	b[0] = receive_fd(b[1], "the sender");
	MUST(send(b[0], "alive", 5, 0));
	expect(b[1], "alive");
}

/* two sockets, each in the queue of the other */
static void circle(void)
{
	int a[2], b[2], x, y;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, b));
	send_fd(a[0], b[1], "b1");
	send_fd(b[0], a[1], "a1");
	close(b[1]);
	check_ready();
	x = receive_fd(a[1], "b1");
	y = receive_fd(x, "a1");
	MUST(send(b[0], "alive", 5, 0));
	expect(x, "alive");
	MUST(send(a[0], "alive", 5, 0));
	expect(y, "alive");
}

static void kinds(void)
{
	int a[2], fds[5], pipes[2], got[6], n;
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "in-flight" };
	uint64_t value = 0;
	char buf[8] = "";

	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, a));
	MUST(pipe(pipes));
	MUST(write(pipes[1], "pipe", 4));
	fds[0] = pipes[0];
	fds[1] = eventfd(42, EFD_NONBLOCK);
	fds[2] = memfd_create("in flight", 0);
	MUST(pwrite(fds[2], "memory", 6, 5000));
	fds[3] = file_at("deleted", 3);
	MUST(unlink("deleted"));
	fds[4] = (int)MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
	MUST(bind(fds[4], (struct sockaddr *)&name, sizeof(name)));
	MUST(listen(fds[4], 3));
	send_fds(a[0], fds, 5, "five");
	for (int i = 0; i < 5; i++)
		close(fds[i]);
	check_ready();
	n = receive_fds(a[1], got, 6, "five");
	CHECK_EQ(n, 5, "descriptors");
	if (n != 5)
		return;
	MUST(write(pipes[1], "line", 4));
	CHECK(read(got[0], buf, 8) == 8 && !memcmp(buf, "pipeline", 8), "the pipe: %.8s", buf);
	CHECK(read(got[1], &value, 8) == 8 && value == 42, "the eventfd");
	CHECK(pread(got[2], buf, 6, 5000) == 6 && !memcmp(buf, "memory", 6), "the memfd");
	CHECK_EQ(lseek(got[3], 0, SEEK_CUR), 3, "the deleted file");
	n = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK(!connect(n, (struct sockaddr *)&name, sizeof(name)), "connect: %s", strerror(errno));
	CHECK(accept(got[4], NULL, NULL) >= 0, "accept: %s", strerror(errno));
}

/* an epoll that only a queue has, which watches what the process has */
static void epoll(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0x123456789abcdefull }, got;
	int a[2], fd = eventfd(0, EFD_NONBLOCK), ep = (int)MUST(epoll_create1(0));
	uint64_t one = 1;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	send_fd(a[0], ep, "epoll");
	close(ep);
	check_ready();
	ep = receive_fd(a[1], "epoll");
	CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0, "nothing yet");
	MUST(write(fd, &one, 8));
	CHECK_EQ(epoll_wait(ep, &got, 1, 0), 1, "an event");
	CHECK_EQ(got.data.u64, ev.data.u64, "its data");
}

static void many(void)
{
	int a[2], fds[MOST], got[MOST], n;
	char name[32];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	for (int i = 0; i < MOST; i++) {
		snprintf(name, sizeof(name), "many%d", i % 7);
		fds[i] = i < 7 ? file_at(name, i) : (int)MUST(dup(fds[i % 7]));
	}
	MUST(send(a[0], "before", 6, 0));
	send_fds(a[0], fds, MOST, "first");
	MUST(send(a[0], "between", 7, 0));
	send_fds(a[0], fds, 3, "second");
	send_fds(a[0], fds + 3, 2, "third");
	for (int i = 0; i < MOST; i++)
		close(fds[i]);
	check_ready();
	/* a stream's bytes before descriptors come together with them */
	n = receive_fds(a[1], got, MOST, "beforefirst");
	CHECK_EQ(n, MOST, "descriptors");
	for (int i = 0; i < n; i++)
		CHECK_EQ(lseek(got[i], 0, SEEK_CUR), i % 7, "position");
	if (n == MOST) {
		MUST(lseek(got[0], 77, SEEK_SET));
		CHECK_EQ(lseek(got[7], 0, SEEK_CUR), 77, "one open file stays one");
		MUST(lseek(got[0], 0, SEEK_SET));
	}
	CHECK_EQ(receive_fds(a[1], got, MOST, "betweensecond"), 3, "descriptors");
	CHECK_EQ(receive_fds(a[1], got, MOST, "third"), 2, "descriptors");
	CHECK_EQ(lseek(got[1], 0, SEEK_CUR), 4, "position");
}

/* in a datagram from a named socket, and one without a byte */
static void dgram(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "rights-a" },
			   b = { .sun_family = AF_UNIX, .sun_path = "rights-b" };
	int sa = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), sb = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), fd;

	MUST(bind(sa, (struct sockaddr *)&a, sizeof(a)));
	MUST(bind(sb, (struct sockaddr *)&b, sizeof(b)));
	MUST(connect(sa, (struct sockaddr *)&b, sizeof(b)));
	fd = file_at("dgram", 5);
	send_fd(sa, fd, "with");
	send_fd(sa, fd, "");
	close(fd);
	check_ready();
	fd = receive_fd(sb, "with");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5, "position");
	fd = receive_fd(sb, "");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5, "position");
}

/* The first byte of a stream's message took its descriptors along; the rest has none. */
static void split(void)
{
	int a[2], fd = file_at("split", 1);
	char byte;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	send_fd(a[0], fd, "abcdef");
	send_fd(a[0], fd, "ghi");
	MUST(recv(a[1], &byte, 1, 0));
	check_ready();
	CHECK_EQ(receive_fd(a[1], "bcdefghi") >= 0, 1, "the second message's descriptor");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = { { "nested", nested }, { "both", both }, { "self", self }, { "circle", circle }, { "kinds", kinds },
		      { "epoll", epoll }, { "many", many }, { "dgram", dgram }, { "split", split } };

	check_begin(argc, argv);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (argc > 2 && !strcmp(argv[2], modes[i].name)) {
			modes[i].run();
			return check_end();
		}
	}
	DIE("no such mode");
}
