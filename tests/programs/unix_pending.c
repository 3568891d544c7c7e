// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_pending FOLDER empty|full|data|passed|child: listeners whose connections were not accepted yet: clients of several
 * kinds in a certain order, some with data, half closed or gone, more than the backlog has room for, with descriptors in
 * their data, made by another process. */
#include "check.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define N 5

static const struct {
	int type;
	const char *name;
} listeners[] = {
	{ SOCK_STREAM, "stream" },
	{ SOCK_STREAM, "@firn-test-stream" },
	{ SOCK_SEQPACKET, "packet" },
	{ SOCK_SEQPACKET, "@firn-test-packet" },
};

static int server[4], client[4][N];

static socklen_t name_of(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] == '@') {
		snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s-%d", name + 1, getpid());
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
	}
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", name);
	return sizeof(*a);
}

static void set_up(int i, int n, int backlog)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, listeners[i].name);

	server[i] = (int)MUST(socket(AF_UNIX, listeners[i].type | SOCK_NONBLOCK, 0));
	MUST(bind(server[i], (struct sockaddr *)&a, len));
	MUST(listen(server[i], backlog));
	for (int k = 0; k < n; k++) {
		client[i][k] = (int)MUST(socket(AF_UNIX, listeners[i].type, 0));
		MUST(connect(client[i][k], (struct sockaddr *)&a, len));
	}
}

static int take(int i)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = accept(server[i], NULL, NULL);

	CHECK(fd >= 0, "accept on %s: %s", listeners[i].name, strerror(errno));
	if (fd < 0)
		return -1;
	MUST(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	CHECK(cred.pid == getpid() && cred.uid == getuid() && cred.gid == getgid(), "the client is pid %d, uid %u, gid %u",
	      cred.pid, cred.uid, cred.gid);
	return fd;
}

static void no_more(int i)
{
	struct pollfd p = { .fd = server[i], .events = POLLIN };

	CHECK_EQ(poll(&p, 1, 0), 0, "poll of an empty backlog");
	CHECK(accept(server[i], NULL, NULL) == -1 && errno == EAGAIN, "one more connection on %s", listeners[i].name);
}

static void expect(int fd, const char *text)
{
	char buf[64] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && !strcmp(buf, text), "received %zd bytes '%s' instead of '%s'", n, buf, text);
}

static void expect_both_ways(int s, int c)
{
	CHECK_EQ(send(c, "there", 5, MSG_NOSIGNAL), 5, "send to the server");
	expect(s, "there");
	CHECK_EQ(send(s, "back", 4, MSG_NOSIGNAL), 4, "send to the client");
	expect(c, "back");
}

/* The clients' state is as before; the order is told by what each sends now. */
static void empty(bool full)
{
	for (int i = 0; i < 4; i++) {
		set_up(i, 3, 5);
		if (full)
			MUST(listen(server[i], 1));
		MUST(shutdown(client[i][2], SHUT_WR));
	}
	check_ready();
	for (int i = 0; i < 4; i++) {
		struct sockaddr_un a;
		socklen_t len = name_of(&a, listeners[i].name);
		int late = (int)MUST(socket(AF_UNIX, listeners[i].type | SOCK_NONBLOCK, 0)), s;

		if (full)
			CHECK(connect(late, (struct sockaddr *)&a, len) == -1 && errno == EAGAIN,
			      "connect to a full backlog: %s", strerror(errno));
		for (int k = 0; k < 2; k++) {
			CHECK_EQ(send(client[i][k], k ? "second" : "first", k ? 6 : 5, MSG_NOSIGNAL), k ? 6 : 5, "send");
			s = take(i);
			expect(s, k ? "second" : "first");
			expect_both_ways(s, client[i][k]);
		}
		s = take(i);
		CHECK(send(client[i][2], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "writing after shutdown");
		expect(s, "");
		CHECK_EQ(send(s, "back", 4, MSG_NOSIGNAL), 4, "send to the half closed client");
		expect(client[i][2], "back");
		no_more(i);
	}
}

/* In this order: nothing, two messages, closed with data, half closed with data, closed with nothing. */
static void data(void)
{
	char big[20000];

	pattern_fill(big, sizeof(big), 9);
	for (int i = 0; i < 4; i++) {
		set_up(i, N, 10);
		MUST(send(client[i][1], "one", 3, 0));
		MUST(send(client[i][1], big, sizeof(big), 0));
		MUST(send(client[i][2], "last words", 10, 0));
		close(client[i][2]);
		MUST(send(client[i][3], "half", 4, 0));
		MUST(shutdown(client[i][3], SHUT_WR));
		close(client[i][4]);
	}
	check_ready();
	for (int i = 0; i < 4; i++) {
		int s = take(i);
		char buf[4];

		expect_both_ways(s, client[i][0]);
		s = take(i);
		CHECK(recv(s, buf, 3, MSG_DONTWAIT) == 3 && !memcmp(buf, "one", 3), "the first message");
		memset(big, 0, sizeof(big));
		CHECK_EQ(recv(s, big, sizeof(big), MSG_DONTWAIT), sizeof(big), "the second message");
		CHECK_PATTERN(big, sizeof(big), 9, "the second message");
		expect_both_ways(s, client[i][1]);
		s = take(i);
		expect(s, "last words");
		expect(s, "");
		CHECK(send(s, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "writing to a client that is gone");
		s = take(i);
		expect(s, "half");
		expect(s, "");
		CHECK_EQ(send(s, "back", 4, MSG_NOSIGNAL), 4, "send to the half closed client");
		expect(client[i][3], "back");
		s = take(i);
		expect(s, "");
		no_more(i);
	}
}

static void send_fd(int to, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { (char *)"f", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	MUST(sendmsg(to, &m, 0));
}

/* The descriptor in the next message, or -1; with who sent it. */
static int receive_fd(int from, struct ucred *cred)
{
	_Alignas(struct cmsghdr) char control[256];
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(from, &m, MSG_DONTWAIT) != 1)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		if (c->cmsg_type == SCM_CREDENTIALS)
			memcpy(cred, CMSG_DATA(c), sizeof(*cred));
	}
	return fd;
}

/* A file that only the backlog holds; the listener itself; a client that waits and that only its own queue holds. */
static void passed(void)
{
	int on = 1;

	for (int i = 0; i < 4; i += 2) {
		int fd = (int)MUST(open("passed", O_RDWR | O_CREAT | O_TRUNC, 0600));

		set_up(i, 3, 10);
		MUST(write(fd, "file", 4));
		send_fd(client[i][0], fd);
		close(fd);
		send_fd(client[i][1], server[i]);
		send_fd(client[i][1], client[i][2]);
		MUST(send(client[i][2], "deep", 4, 0));
		close(client[i][2]);
	}
	check_ready();
	for (int i = 0; i < 4; i += 2) {
		struct ucred cred = { 0 };
		int s = take(i), fd, deep;

		MUST(setsockopt(s, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
		fd = receive_fd(s, &cred);
		CHECK(fd >= 0 && lseek(fd, 0, SEEK_CUR) == 4, "the file");
		CHECK(cred.pid == getpid() && cred.uid == getuid(), "its sender is pid %d, uid %u", cred.pid, cred.uid);
		s = take(i);
		fd = receive_fd(s, &cred);
		CHECK(fd >= 0, "the listener");
		deep = receive_fd(s, &cred);
		CHECK(deep >= 0, "the client in a queue");
		close(server[i]);
		server[i] = fd;
		s = take(i);
		expect(s, "deep");
		expect_both_ways(s, deep);
		no_more(i);
	}
}

static int child_client(void *arg)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, "stream");
	int fd = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));

	MUST(connect(fd, (struct sockaddr *)&a, len));
	MUST(write(*(int *)arg, "c", 1));
	check_wait_trigger();
	MUST(send(fd, "child", 5, 0));
	return 0;
}

static void child(void)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int pipes[2], s;
	char byte;
	pid_t pid;

	set_up(0, 0, 5);
	MUST(pipe(pipes));
	pid = check_fork(child_client, &pipes[1]);
	MUST(read(pipes[0], &byte, 1));
	check_ready();
	MUST(fcntl(server[0], F_SETFL, 0));
	s = (int)MUST(accept(server[0], NULL, NULL));
	MUST(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	CHECK_EQ(cred.pid, pid, "the client's pid");
	check_child(pid);
	expect(s, "child");
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "empty";

	check_begin(argc, argv);
	if (!strcmp(kind, "data"))
		data();
	else if (!strcmp(kind, "passed"))
		passed();
	else if (!strcmp(kind, "child"))
		child();
	else
		empty(!strcmp(kind, "full"));
	return check_end();
}
