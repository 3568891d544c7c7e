// SPDX-License-Identifier: LGPL-2.1-or-later
/* unix_queues FOLDER senders|full|peek|shutdown|reset|options|owner|oob|row: what waits in the queues of unix sockets, and how
 * they are set: datagrams of several senders, full queues, SO_PEEK_OFF, every half shut down, peers that are gone, options,
 * owners for signals, urgent data, datagram sockets connected to each other in a row. */
#include "check.h"

#include <linux/filter.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static socklen_t name_of(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] == '@') {
		snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s-%d", name + 1, getpid());
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
	}
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);
	int fd = (int)MUST(socket(AF_UNIX, type, 0));

	MUST(bind(fd, (struct sockaddr *)&a, len));
	return fd;
}

static int connect_to(int fd, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);

	return connect(fd, (struct sockaddr *)&a, len);
}

static void expect(int fd, const char *text)
{
	char buf[64] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && !strcmp(buf, text), "received %zd bytes '%s' instead of '%s'", n, buf, text);
}

static void expect_from(int fd, const char *text, const char *name)
{
	struct sockaddr_un want, got = { 0 };
	socklen_t want_len = name_of(&want, name), len = sizeof(got);
	char buf[64] = "";
	ssize_t n = recvfrom(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT, (struct sockaddr *)&got, &len);

	CHECK(n == (ssize_t)strlen(text) && !strcmp(buf, text), "received %zd bytes '%s' instead of '%s'", n, buf, text);
	if (!name[0])
		want_len = 0;
	CHECK(len == want_len && !memcmp(got.sun_path, want.sun_path, len ? len - sizeof(sa_family_t) : 0),
	      "'%s' came from '%s%s' (%d bytes) instead of '%s'", text, got.sun_path, got.sun_path + 1, len, name);
}

/* Named, abstract, unnamed and autobound senders in turn, one of them connected elsewhere, one connected to the receiver. */
static void senders(void)
{
	int r = bound(SOCK_DGRAM, "receiver"), a = bound(SOCK_DGRAM, "sender-a"), b = bound(SOCK_DGRAM, "@sender-b");
	int c = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), d = bound(SOCK_DGRAM, "sender-d"), other = bound(SOCK_DGRAM, "other");
	struct sockaddr_un to;
	socklen_t len = name_of(&to, "receiver");

	MUST(sendto(a, "1", 1, 0, (struct sockaddr *)&to, len));
	MUST(sendto(b, "2", 1, 0, (struct sockaddr *)&to, len));
	MUST(sendto(c, "3", 1, 0, (struct sockaddr *)&to, len));
	MUST(connect_to(d, "receiver"));
	MUST(send(d, "4", 1, 0));
	MUST(connect_to(a, "other"));
	MUST(sendto(a, "5", 1, 0, (struct sockaddr *)&to, len));
	MUST(sendto(b, "", 0, 0, (struct sockaddr *)&to, len));
	MUST(sendto(b, "7", 1, 0, (struct sockaddr *)&to, len));
	MUST(send(a, "else", 4, 0));
	check_ready();
	expect_from(r, "1", "sender-a");
	expect_from(r, "2", "@sender-b");
	expect_from(r, "3", "");
	expect_from(r, "4", "sender-d");
	expect_from(r, "5", "sender-a");
	expect_from(r, "", "@sender-b");
	expect_from(r, "7", "@sender-b");
	expect_from(other, "else", "sender-a");
	CHECK_EQ(send(d, "late", 4, 0), 4, "send by the connected one");
	expect_from(r, "late", "sender-d");
	CHECK_EQ(send(a, "late", 4, 0), 4, "send to the other");
	expect_from(other, "late", "sender-a");
}

/* Sent until nothing goes in any more; afterwards exactly as many come out, and there is as much room as before. */
static void full(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	static char buf[5000], got[5000];
	int pairs[3][2], n[3];
	struct pollfd p = { .events = POLLOUT };

	for (int i = 0; i < 3; i++) {
		int size = 30000;

		MUST(socketpair(AF_UNIX, types[i] | SOCK_NONBLOCK, 0, pairs[i]));
		MUST(setsockopt(pairs[i][0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
		for (n[i] = 0;; n[i]++) {
			pattern_fill(buf, sizeof(buf), (uint32_t)n[i]);
			if (send(pairs[i][0], buf, sizeof(buf), 0) != sizeof(buf))
				break;
		}
	}
	check_ready();
	for (int i = 0; i < 3; i++) {
		int waiting = 0;

		p.fd = pairs[i][0];
		CHECK_EQ(poll(&p, 1, 0), 0, "a full socket can be written");
		/* a stream's bytes have no borders that anyone could see, but each message of before had its cost */
		if (types[i] != SOCK_STREAM)
			CHECK(send(pairs[i][0], buf, sizeof(buf), 0) == -1 && errno == EAGAIN, "one more message went in");
		MUST(ioctl(pairs[i][1], FIONREAD, &waiting));
		for (int k = 0; k < n[i]; k++) {
			CHECK_EQ(recv(pairs[i][1], got, sizeof(got), 0), sizeof(got), "a message");
			pattern_fill(buf, sizeof(buf), (uint32_t)k);
			CHECK(!memcmp(buf, got, sizeof(buf)), "message %d differs", k);
		}
		while (types[i] == SOCK_STREAM && recv(pairs[i][1], got, sizeof(got), 0) > 0)
			;
		CHECK(recv(pairs[i][1], got, 1, 0) == -1 && errno == EAGAIN, "more came than was sent");
		CHECK_EQ(poll(&p, 1, 0), 1, "an empty socket can be written");
	}
}

static void peek(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int pairs[3][2], offset = 4, now;
	socklen_t len = sizeof(now);
	char buf[16];

	for (int i = 0; i < 3; i++) {
		MUST(socketpair(AF_UNIX, types[i] | SOCK_NONBLOCK, 0, pairs[i]));
		MUST(send(pairs[i][0], "0123", 4, 0));
		MUST(send(pairs[i][0], "4567", 4, 0));
		MUST(send(pairs[i][0], "89", 2, 0));
		MUST(setsockopt(pairs[i][1], SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)));
	}
	check_ready();
	for (int i = 0; i < 3; i++) {
		MUST(getsockopt(pairs[i][1], SOL_SOCKET, SO_PEEK_OFF, &now, &len));
		CHECK_EQ(now, 4, "SO_PEEK_OFF");
		CHECK(recv(pairs[i][1], buf, 4, MSG_PEEK) == 4 && !memcmp(buf, "4567", 4), "a peek at the offset");
		CHECK(recv(pairs[i][1], buf, 2, MSG_PEEK) == 2 && !memcmp(buf, "89", 2), "the next peek");
		CHECK(recv(pairs[i][1], buf, 4, 0) == 4 && !memcmp(buf, "0123", 4), "a read");
	}
}

/* Each end's receiving and sending shut or not: 16 combinations, with data in both queues. */
static void shutdowns(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	static const int how[] = { -1, SHUT_RD, SHUT_WR, SHUT_RDWR };
	static struct {
		int fd[2];
		short events[2];
		int sent[2], sent_errno[2];
	} all[3][4][4];

	signal(SIGPIPE, SIG_IGN);
	for (int t = 0; t < 3; t++) {
		for (int i = 0; i < 16; i++) {
			int *fd = all[t][i / 4][i % 4].fd;

			MUST(socketpair(AF_UNIX, types[t] | SOCK_NONBLOCK, 0, fd));
			MUST(send(fd[0], "for 1", 5, 0));
			MUST(send(fd[1], "for 0", 5, 0));
			if (i / 4)
				MUST(shutdown(fd[0], how[i / 4]));
			if (i % 4)
				MUST(shutdown(fd[1], how[i % 4]));
			for (int k = 0; k < 2; k++) {
				struct pollfd p = { .fd = fd[k], .events = POLLIN | POLLOUT | POLLRDHUP };

				MUST(poll(&p, 1, 0));
				all[t][i / 4][i % 4].events[k] = p.revents;
			}
		}
	}
	check_ready();
	for (int t = 0; t < 3; t++) {
		for (int i = 0; i < 16; i++) {
			const int *fd = all[t][i / 4][i % 4].fd;

			for (int k = 0; k < 2; k++) {
				struct pollfd p = { .fd = fd[k], .events = POLLIN | POLLOUT | POLLRDHUP };
				int shut_here = k ? i % 4 : i / 4, shut_there = k ? i / 4 : i % 4;
				bool may_send;
				char buf[8];
				ssize_t n;

				MUST(poll(&p, 1, 0));
				CHECK(p.revents == all[t][i / 4][i % 4].events[k], "type %d, %d %d, end %d: poll gives %x instead of %x",
				      types[t], i / 4, i % 4, k, p.revents, all[t][i / 4][i % 4].events[k]);
				n = recv(fd[k], buf, 5, 0);
				/* shut for reading, waiting data is still read */
				CHECK(n == 5 && buf[4] == (k ? '1' : '0'), "type %d, %d %d, end %d: recv gives %zd", types[t], i / 4,
				      i % 4, k, n);
				may_send = !(shut_here & 2) && !(types[t] != SOCK_DGRAM && (shut_there & 1)) && !(shut_there & 1);
				n = send(fd[k], "x", 1, 0);
				CHECK(may_send ? n == 1 : n == -1 && errno == EPIPE, "type %d, %d %d, end %d: send gives %zd: %s",
				      types[t], i / 4, i % 4, k, n, n < 0 ? strerror(errno) : "");
			}
		}
	}
}

/* Peers that are gone: with and without data for us, and with data of ours that they never read. */
static void reset(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	int p[3][3][2];

	signal(SIGPIPE, SIG_IGN);
	for (int t = 0; t < 3; t++) {
		for (int i = 0; i < 3; i++) {
			MUST(socketpair(AF_UNIX, types[t] | SOCK_NONBLOCK, 0, p[t][i]));
			if (i == 1)
				MUST(send(p[t][i][1], "left", 4, 0));
			if (i == 2 && t != 2)
				MUST(send(p[t][i][0], "unread", 6, 0));
			close(p[t][i][1]);
		}
	}
	check_ready();
	for (int t = 0; t < 3; t++) {
		char buf[8];

		if (t == 2) {
			CHECK(recv(p[t][0][0], buf, 8, 0) == -1 && errno == EAGAIN, "a datagram socket has no end");
			expect(p[t][1][0], "left");
			CHECK(send(p[t][0][0], "x", 1, 0) == -1 && errno == ECONNREFUSED, "a datagram peer that is gone: %s",
			      strerror(errno));
			CHECK(send(p[t][0][0], "x", 1, 0) == -1 && errno == ENOTCONN, "the second time: %s", strerror(errno));
			continue;
		}
		CHECK_EQ(recv(p[t][0][0], buf, 8, 0), 0, "the end");
		expect(p[t][1][0], "left");
		CHECK_EQ(recv(p[t][1][0], buf, 8, 0), 0, "the end after data");
		CHECK(recv(p[t][2][0], buf, 8, 0) == -1 && errno == ECONNRESET, "the reset: %s", strerror(errno));
		CHECK_EQ(recv(p[t][2][0], buf, 8, 0), 0, "the end after the reset");
		CHECK(send(p[t][0][0], "x", 1, 0) == -1 && errno == EPIPE, "send to a peer that is gone");
	}
}

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

static void options(void)
{
	static const struct {
		int option, value, want;
	} ints[] = {
		{ SO_SNDBUF, 50000, 100000 }, { SO_RCVBUF, 60000, 120000 }, { SO_PASSCRED, 1, 1 }, { SO_PASSSEC, 1, 1 },
		{ SO_PASSPIDFD, 1, 1 },	      { SO_PRIORITY, 3, 3 },	     { SO_RCVLOWAT, 3, 3 }, { SO_KEEPALIVE, 1, 1 },
		{ SO_OOBINLINE, 1, 1 },	      { SO_BROADCAST, 1, 1 },	     { SO_REUSEADDR, 1, 1 }, { SO_TIMESTAMP, 1, 1 },
		{ SO_DONTROUTE, 1, 1 },
	};
	struct linger linger = { 1, 17 };
	struct timeval send_time = { 3, 500000 }, receive_time = { 7, 0 };
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 5) };
	struct sock_fprog filter = { 1, code };
	int fds[5], p[2];
	bool set[5][20];

	MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p));
	fds[0] = p[0];
	fds[1] = bound(SOCK_STREAM, "option-listener");
	MUST(listen(fds[1], 3));
	fds[2] = (int)MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	fds[3] = bound(SOCK_DGRAM, "option-datagram");
	fds[4] = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(connect_to(fds[4], "option-listener"));
	MUST(accept(fds[1], NULL, NULL));
	for (int i = 0; i < 5; i++) {
		for (size_t k = 0; k < sizeof(ints) / sizeof(*ints); k++)
			set[i][k] = setsockopt(fds[i], SOL_SOCKET, ints[k].option, &ints[k].value, sizeof(int)) == 0;
		MUST(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
		MUST(setsockopt(fds[i], SOL_SOCKET, SO_SNDTIMEO, &send_time, sizeof(send_time)));
		MUST(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &receive_time, sizeof(receive_time)));
	}
	MUST(setsockopt(p[1], SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)));
	check_ready();
	for (int i = 0; i < 5; i++) {
		struct linger l;
		struct timeval tv;
		socklen_t len;
		int value;

		for (size_t k = 0; k < sizeof(ints) / sizeof(*ints); k++) {
			len = sizeof(value);
			if (!set[i][k])
				continue;
			MUST(getsockopt(fds[i], SOL_SOCKET, ints[k].option, &value, &len));
			CHECK(value == ints[k].want, "socket %d, option %d: %d instead of %d", i, ints[k].option, value, ints[k].want);
		}
		len = sizeof(value);
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_BUF_LOCK, &value, &len));
		CHECK_EQ(value, 3, "SO_BUF_LOCK");
		len = sizeof(l);
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_LINGER, &l, &len));
		CHECK(l.l_onoff == 1 && l.l_linger == 17, "SO_LINGER %d %d", l.l_onoff, l.l_linger);
		len = sizeof(tv);
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_SNDTIMEO, &tv, &len));
		CHECK(tv.tv_sec == 3 && tv.tv_usec >= 499000 && tv.tv_usec <= 504000, "SO_SNDTIMEO");
		len = sizeof(tv);
		MUST(getsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
		CHECK(tv.tv_sec == 7 && tv.tv_usec == 0, "SO_RCVTIMEO");
	}
	MUST(send(p[0], "longer than five", 16, 0));
	expect(p[1], "longe");
}

static volatile sig_atomic_t got_signal, got_fd, got_band;

static void on_signal(int sig, siginfo_t *si, void *context)
{
	(void)context;
	got_signal = sig;
	got_fd = si->si_fd;
	got_band = (int)si->si_band;
}

/* F_SETOWN, F_SETSIG and O_ASYNC: data that comes later is told by the signal. */
static void owner(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	struct f_owner_ex o = { F_OWNER_TID, getpid() }, now;
	int p[2], l = bound(SOCK_STREAM, "async"), c;

	MUST(sigaction(SIGRTMIN + 3, &sa, NULL));
	MUST(sigaction(SIGIO, &sa, NULL));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	MUST(fcntl(p[1], F_SETOWN_EX, &o));
	MUST(fcntl(p[1], F_SETSIG, SIGRTMIN + 3));
	MUST(fcntl(p[1], F_SETFL, O_ASYNC | O_NONBLOCK));
	MUST(listen(l, 2));
	MUST(fcntl(l, F_SETOWN, getpid()));
	MUST(fcntl(l, F_SETFL, O_ASYNC));
	check_ready();
	CHECK_EQ(got_signal, 0, "a signal by the restore itself");
	MUST(fcntl(p[1], F_GETOWN_EX, &now));
	CHECK(now.type == F_OWNER_TID && now.pid == getpid(), "the owner: %d, %d", now.type, now.pid);
	CHECK_EQ(fcntl(p[1], F_GETSIG), SIGRTMIN + 3, "F_GETSIG");
	CHECK_EQ(fcntl(p[1], F_GETFL) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK, "flags");
	MUST(send(p[0], "x", 1, 0));
	CHECK_EQ(got_signal, SIGRTMIN + 3, "the signal");
	CHECK_EQ(got_fd, p[1], "its descriptor");
	CHECK(got_band & POLLIN, "its event %x", (unsigned)got_band);
	got_signal = 0;
	c = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_EQ(fcntl(l, F_GETOWN), getpid(), "the listener's owner");
	MUST(connect_to(c, "async"));
	CHECK_EQ(got_signal, SIGIO, "the listener's signal");
}

static void oob(void)
{
	int p[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	MUST(send(p[0], "abc", 3, 0));
	if (send(p[0], "!", 1, MSG_OOB) != 1)
		check_skip("MSG_OOB: %s", strerror(errno));
	check_ready();
	expect(p[1], "abc");
}

/* Datagram sockets that are connected to each other: in a row, a pair by names, and one to itself. */
static void row(void)
{
	int a = bound(SOCK_DGRAM, "row-a"), b = bound(SOCK_DGRAM, "row-b"), c = bound(SOCK_DGRAM, "row-c");
	int x = bound(SOCK_DGRAM, "row-x"), y = bound(SOCK_DGRAM, "@row-y"), loop = bound(SOCK_DGRAM, "row-loop");

	MUST(connect_to(a, "row-b"));
	MUST(send(a, "a to b", 6, 0));
	MUST(connect_to(b, "row-c"));
	MUST(send(b, "b to c", 6, 0));
	MUST(connect_to(x, "@row-y"));
	MUST(connect_to(y, "row-x"));
	MUST(send(x, "x to y", 6, 0));
	MUST(connect_to(loop, "row-loop"));
	MUST(send(loop, "loop", 4, 0));
	check_ready();
	expect_from(b, "a to b", "row-a");
	expect_from(c, "b to c", "row-b");
	expect_from(y, "x to y", "row-x");
	expect_from(loop, "loop", "row-loop");
	CHECK(send(a, "late", 4, MSG_DONTWAIT) == -1 && errno == EPERM, "b hears c alone: %s", strerror(errno));
	MUST(send(b, "late", 4, 0));
	expect_from(c, "late", "row-b");
	MUST(send(y, "late", 4, 0));
	expect_from(x, "late", "@row-y");
	MUST(send(x, "late", 4, 0));
	expect_from(y, "late", "row-x");
	MUST(send(loop, "late", 4, 0));
	expect_from(loop, "late", "row-loop");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = { { "senders", senders }, { "full", full },	  { "peek", peek }, { "shutdown", shutdowns }, { "reset", reset },
		      { "options", options }, { "owner", owner }, { "oob", oob },   { "row", row } };

	check_begin(argc, argv);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (argc > 2 && !strcmp(argv[2], modes[i].name)) {
			modes[i].run();
			return check_end();
		}
	}
	DIE("no such mode");
}
