// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_sockets FOLDER stream|dgram|seqpacket|passcred|empty|listen|named|passed|pending|shutdown|rebound|refiled|
 * peercred: pairs with queued data both ways, listeners by name and abstract name, named datagram sockets, options, half-closed pairs,
 * names that were deleted and given to another socket or file, the users in SO_PEERCRED. */
#include "check.h"

#include <sys/socket.h>
#include <sys/un.h>

static socklen_t name_of(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] == '@') {
		snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s-%d", name + 1, getpid());
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
	}
	snprintf(a->sun_path, sizeof(a->sun_path), "%s/%s", check_dir, name);
	return sizeof(*a);
}

static int pair[2];

static int child(void *arg)
{
	char buf[64];

	(void)arg;
	close(pair[0]);
	check_wait_trigger();
	CHECK_EQ(recv(pair[1], buf, 5, 0), 5, "recv in the child");
	CHECK(!memcmp(buf, "first", 5), "the child received %.5s", buf);
	CHECK_EQ(send(pair[1], "reply", 5, 0), 5, "send in the child");
	return 0;
}

static void pairs(int type, int passcred, bool empty)
{
	char buf[70000];
	int value;
	socklen_t len = sizeof(value);
	pid_t pid;
	ssize_t n;

	MUST(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair));
	value = 100000;
	MUST(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, sizeof(value)));
	/* with it the queued messages carry the sender's ids */
	MUST(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &passcred, sizeof(passcred)));
	MUST(send(pair[0], "first", 5, 0));
	MUST(send(pair[0], "second", 6, 0));
	pattern_fill(buf, sizeof(buf), 1);
	MUST(send(pair[1], buf, 30000, 0));
	MUST(send(pair[1], "tail", 4, 0));
	if (empty)
		MUST(send(pair[1], "", 0, 0));
	pid = check_fork(child, NULL);
	check_ready();
	CHECK_EQ(fcntl(pair[0], F_GETFD), FD_CLOEXEC, "close-on-exec");
	MUST(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, &len));
	CHECK_EQ(value, type, "type");
	MUST(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, &len));
	CHECK_EQ(value, 200000, "SO_SNDBUF");
	MUST(getsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &value, &len));
	CHECK_EQ(value, passcred, "SO_PASSCRED");
	n = recv(pair[0], buf, type == SOCK_STREAM ? 30000 : 70000, MSG_WAITALL);
	CHECK_EQ(n, 30000, "queued data");
	CHECK_PATTERN(buf, 30000, 1, "queued data");
	CHECK(recv(pair[0], buf, 4, 0) == 4 && !memcmp(buf, "tail", 4), "the second message");
	if (empty)
		CHECK_EQ(recv(pair[0], buf, 4, MSG_DONTWAIT), 0, "an empty message");
	check_child(pid);
	CHECK(recv(pair[0], buf, 64, 0) == 5 && !memcmp(buf, "reply", 5), "the child's reply");
	CHECK(recv(pair[1], buf, 64, MSG_DONTWAIT) == 6 && !memcmp(buf, "second", 6), "what the child left");
	CHECK(recv(pair[1], buf, 64, MSG_DONTWAIT) == -1 && errno == EAGAIN, "a drained socket");
}

static void listeners(bool pending)
{
	static const char *const names[] = { "listener", "@firn-test-listener" };
	int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	int fds[4], clients[4];
	struct sockaddr_un a;
	socklen_t len;
	struct stat st;

	for (int i = 0; i < 4; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s%d", names[i % 2], i / 2);
		fds[i] = (int)MUST(socket(AF_UNIX, types[i / 2], 0));
		len = name_of(&a, name);
		MUST(bind(fds[i], (struct sockaddr *)&a, len));
		MUST(listen(fds[i], 7));
		if (pending) {
			clients[i] = (int)MUST(socket(AF_UNIX, types[i / 2], 0));
			MUST(connect(clients[i], (struct sockaddr *)&a, len));
			MUST(send(clients[i], "early", 5, 0));
		}
	}
	check_ready();
	for (int i = 0; i < 4; i++) {
		char name[64], buf[16];
		int c, s, value = 0;
		socklen_t l = sizeof(value);

		MUST(getsockopt(fds[i], SOL_SOCKET, SO_ACCEPTCONN, &value, &l));
		CHECK_EQ(value, 1, "listening");
		snprintf(name, sizeof(name), "%s%d", names[i % 2], i / 2);
		if (name[0] != '@')
			CHECK(!stat(name, &st) && S_ISSOCK(st.st_mode), "the name %s is gone", name);
		len = name_of(&a, name);
		if (!pending) {
			c = (int)MUST(socket(AF_UNIX, types[i / 2], 0));
			CHECK(!connect(c, (struct sockaddr *)&a, len), "connect to %s: %s", name, strerror(errno));
			CHECK_EQ(send(c, "early", 5, 0), 5, "send");
		} else {
			c = clients[i];
		}
		s = accept(fds[i], NULL, NULL);
		CHECK(s >= 0, "accept: %s", strerror(errno));
		CHECK(recv(s, buf, 16, 0) == 5 && !memcmp(buf, "early", 5), "data through the listener");
		CHECK(send(s, "back", 4, 0) == 4 && recv(c, buf, 16, 0) == 4, "data back");
	}
}

static void named(void)
{
	struct sockaddr_un a, b, from;
	socklen_t la, lb, lf = sizeof(from);
	int sa, sb, sc, unbound;
	char buf[32];

	sa = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	sb = (int)MUST(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
	sc = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	unbound = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	la = name_of(&a, "a");
	lb = name_of(&b, "@firn-test-b");
	MUST(bind(sa, (struct sockaddr *)&a, la));
	MUST(bind(sb, (struct sockaddr *)&b, lb));
	MUST(connect(sc, (struct sockaddr *)&a, la));
	MUST(send(sc, "connected", 9, 0));
	MUST(sendto(sb, "from b", 6, 0, (struct sockaddr *)&a, la));
	check_ready();
	CHECK(recv(sa, buf, 32, 0) == 9 && !memcmp(buf, "connected", 9), "the first datagram");
	CHECK(recvfrom(sa, buf, 32, 0, (struct sockaddr *)&from, &lf) == 6, "the second datagram");
	CHECK_EQ(send(sc, "later", 5, 0), 5, "send on the connected one");
	CHECK(recv(sa, buf, 32, 0) == 5 && !memcmp(buf, "later", 5), "the later datagram");
	CHECK_EQ(sendto(sa, "to b", 4, 0, (struct sockaddr *)&b, lb), 4, "send to the abstract name");
	lf = sizeof(from);
	CHECK_EQ(recvfrom(sb, buf, 32, 0, (struct sockaddr *)&from, &lf), 4, "at the abstract name");
	CHECK(!strcmp(from.sun_path, a.sun_path), "the sender's name is %s", from.sun_path);
	CHECK(!listen(unbound, 1) || errno == EINVAL, "the unbound socket");
}

static void half(void)
{
	int a[2], b[2], c[2];
	char buf[16];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, b));
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, c));
	MUST(send(a[0], "bye", 3, 0));
	MUST(shutdown(a[0], SHUT_WR));
	MUST(send(b[0], "rest", 4, 0));
	close(b[0]);
	MUST(shutdown(c[1], SHUT_RD));
	signal(SIGPIPE, SIG_IGN);
	check_ready();
	CHECK(recv(a[1], buf, 16, 0) == 3 && recv(a[1], buf, 16, 0) == 0, "data, then the end");
	CHECK_EQ(send(a[1], "x", 1, 0), 1, "the other way stays open");
	CHECK(recv(a[0], buf, 16, 0) == 1, "and is received");
	CHECK(send(a[0], "x", 1, 0) == -1 && errno == EPIPE, "writing after shutdown");
	CHECK(recv(b[1], buf, 16, 0) == 4 && recv(b[1], buf, 16, 0) == 0, "data of a peer that is gone");
	CHECK(send(b[1], "x", 1, 0) == -1, "writing to a peer that is gone");
	CHECK(send(c[0], "x", 1, 0) == -1 && errno == EPIPE, "writing to a peer that reads no more");
}

static void passed(void)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 'f';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
	int fd = (int)MUST(open("passed", O_RDWR | O_CREAT, 0600)), got = -1;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(write(fd, "file", 4));
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	MUST(sendmsg(pair[0], &m, 0));
	close(fd);
	check_ready();
	CHECK_EQ(recvmsg(pair[1], &m, 0), 1, "recvmsg");
	cm = CMSG_FIRSTHDR(&m);
	if (cm)
		memcpy(&got, CMSG_DATA(cm), sizeof(int));
	CHECK(cm && lseek(got, 0, SEEK_CUR) == 4, "the passed descriptor");
}

static int connected_to(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = (int)MUST(socket(AF_UNIX, type, 0));

	MUST(connect(fd, (const struct sockaddr *)a, len));
	return fd;
}

static void check_name(int fd, bool peer, const char *want)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);

	if (peer)
		MUST(getpeername(fd, (struct sockaddr *)&a, &len));
	else
		MUST(getsockname(fd, (struct sockaddr *)&a, &len));
	CHECK(!strcmp(a.sun_path, want), "the name of %s is %s instead of %s", peer ? "the peer" : "the socket", a.sun_path,
	      want);
}

/* What is sent on @from arrives at @to. */
static void check_way(int from, int to, const char *text, bool send_it)
{
	char buf[32] = "";

	if (send_it)
		CHECK_EQ(send(from, text, strlen(text), 0), strlen(text), "send");
	CHECK_EQ(recv(to, buf, sizeof(buf) - 1, MSG_DONTWAIT), strlen(text), text);
	CHECK(!strcmp(buf, text), "received %s instead of %s", buf, text);
}

/* Each name belonged to a first socket, was deleted, and (but for the last) belongs to a second one, made sooner or later. */
static void rebound(int type)
{
	struct names {
		struct sockaddr_un a;
		socklen_t len;
		int fd[2], client[2], server[2];
	} names[3];
	struct stat st;

	for (int i = 0; i < 3; i++) {
		struct names *n = &names[i];
		char name[32];

		snprintf(name, sizeof(name), "rebound%d", i);
		n->len = name_of(&n->a, name);
		for (int k = 0; k < 2; k++)
			n->fd[i == 1 ? k : !k] = (int)MUST(socket(AF_UNIX, type, 0));
		for (int k = 0; k < (i == 2 ? 1 : 2); k++) {
			MUST(bind(n->fd[k], (struct sockaddr *)&n->a, n->len));
			if (type != SOCK_DGRAM)
				MUST(listen(n->fd[k], 5));
			n->client[k] = connected_to(type, &n->a, n->len);
			n->server[k] = type == SOCK_DGRAM ? n->fd[k] : (int)MUST(accept(n->fd[k], NULL, NULL));
			MUST(send(n->client[k], k ? "second" : "first", k ? 6 : 5, 0));
			if (k == 0)
				MUST(unlink(n->a.sun_path));
		}
	}
	check_ready();
	for (int i = 0; i < 3; i++) {
		struct names *n = &names[i];
		int last = i == 2 ? 0 : 1;

		for (int k = 0; k <= last; k++) {
			check_name(n->fd[k], false, n->a.sun_path);
			check_name(n->client[k], true, n->a.sun_path);
			check_way(n->client[k], n->server[k], k ? "second" : "first", false);
			check_way(n->client[k], n->server[k], k ? "to the second" : "to the first", true);
		}
		if (i == 2) {
			CHECK(stat(n->a.sun_path, &st) < 0 && errno == ENOENT, "the deleted name is back");
			continue;
		}
		if (stat(n->a.sun_path, &st) < 0) {
			FAIL("the name %s is gone", n->a.sun_path);
			continue;
		}
		n->client[0] = connected_to(type, &n->a, n->len);
		if (type != SOCK_DGRAM) {
			MUST(fcntl(n->fd[1], F_SETFL, O_NONBLOCK));
			n->server[1] = accept(n->fd[1], NULL, NULL);
		}
		check_way(n->client[0], n->server[1], "new", true);
	}
}

static void refiled(void)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, "refiled");
	int fd = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));

	MUST(bind(fd, (struct sockaddr *)&a, len));
	MUST(unlink(a.sun_path));
	MUST(open(a.sun_path, O_CREAT | O_EXCL | O_RDWR, 0600));
	check_ready();
	check_name(fd, false, a.sun_path);
}

/* Root does it as another user, an ordinary user as itself. */
static void be(uid_t id)
{
	if (getuid() != 0)
		return;
	MUST(seteuid(0));
	MUST(setegid(id));
	MUST(seteuid(id));
	(void)syscall(SYS_setfsuid, 0);
}

static void peercred(void)
{
	static const char *const names[] = { "peercred", "@firn-peercred", "gone" };
	struct ucred before[13], now;
	socklen_t len = sizeof(now);
	int fds[13], n = 0, late;
	struct sockaddr_un a;
	socklen_t la;

	for (int i = 0; i < 3; i++) {
		la = name_of(&a, names[i]);
		fds[n] = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		MUST(bind(fds[n], (struct sockaddr *)&a, la));
		be(i == 2 ? 1000 : 0);
		MUST(listen(fds[n], 5));
		be(i == 2 ? 0 : 1000);
		fds[n + 1] = connected_to(SOCK_STREAM, &a, la);
		be(0);
		fds[n + 2] = (int)MUST(accept(fds[n], NULL, NULL));
		n += 3;
	}
	/* the last of them without its listener */
	close(fds[n - 3]);
	fds[n - 3] = fds[n - 1];
	n--;
	be(1001);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fds + n));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds + n + 2));
	be(0);
	close(fds[n + 1]);
	fds[n + 1] = fds[n];
	n += 4;
	for (int i = 0; i < n; i++)
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_PEERCRED, &before[i], &len));
	check_ready();
	for (int i = 0; i < n; i++) {
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_PEERCRED, &now, &len));
		CHECK(now.uid == before[i].uid && now.gid == before[i].gid, "socket %d: peer is uid %u, gid %u instead of %u, %u", i,
		      now.uid, now.gid, before[i].uid, before[i].gid);
	}
	for (int i = 0; i < 2; i++) {
		la = name_of(&a, names[i]);
		late = connected_to(SOCK_STREAM, &a, la);
		MUST(getsockopt(late, SOL_SOCKET, SO_PEERCRED, &now, &len));
		CHECK(now.uid == getuid() && now.gid == getgid(), "the listener is uid %u, gid %u", now.uid, now.gid);
		check_way(fds[3 * i + 1], fds[3 * i + 2], "through", true);
		check_name(fds[3 * i + 2], false, i == 0 ? a.sun_path : "");
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "stream";

	check_begin(argc, argv);
	if (!strcmp(kind, "stream"))
		pairs(SOCK_STREAM, 0, false);
	else if (!strcmp(kind, "dgram"))
		pairs(SOCK_DGRAM, 0, false);
	else if (!strcmp(kind, "seqpacket"))
		pairs(SOCK_SEQPACKET, 0, false);
	else if (!strcmp(kind, "passcred"))
		pairs(SOCK_STREAM, 1, false);
	else if (!strcmp(kind, "empty"))
		pairs(SOCK_SEQPACKET, 0, true);
	else if (!strcmp(kind, "listen"))
		listeners(false);
	else if (!strcmp(kind, "pending"))
		listeners(true);
	else if (!strcmp(kind, "named"))
		named();
	else if (!strcmp(kind, "shutdown"))
		half();
	else if (!strcmp(kind, "rebound"))
		rebound(argc > 3 && !strcmp(argv[3], "dgram") ? SOCK_DGRAM : SOCK_STREAM);
	else if (!strcmp(kind, "peercred"))
		peercred();
	else if (!strcmp(kind, "refiled"))
		refiled();
	else
		passed();
	return check_end();
}
