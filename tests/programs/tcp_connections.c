// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * tcp_connections FOLDER 4|6|mapped inside|outside SCENE: one TCP connection in a state of its life, its near end in this
 * process. The far end is in this process as well (inside), or in a process that is no part of the tree and lives on while
 * the tree does not (outside). After the trigger both ends go on and must see every byte, in order, and the end as it was
 * announced.
 */
#include "sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define NEAR 7     /* seeds of what each end sends */
#define FAR 1000

struct end {
	int fd;
	uint32_t sent, got;      /* bytes so far */
};

static struct end here, there;
static int listener = -1;
static struct sockaddr_in6 address;
static socklen_t address_len;
static bool outside;

static uint8_t byte_at(uint32_t seed, uint32_t at)
{
	return (uint8_t)(seed + at * 7 + (at >> 8) * 13 + (at >> 16));
}

static int state_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_state;
}

static int family_of(const char *kind)
{
	return strcmp(kind, "4") ? AF_INET6 : AF_INET;
}

static void make_listener(const char *kind, int backlog)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)&address;
	int zero = 0;

	listener = socket(family_of(kind), SOCK_STREAM, 0);
	if (listener < 0)
		check_skip("family %s: %s", kind, strerror(errno));
	if (!strcmp(kind, "4")) {
		a4->sin_family = AF_INET;
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		address_len = sizeof(*a4);
	} else {
		address.sin6_family = AF_INET6;
		address_len = sizeof(address);
		MUST(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)));
		address.sin6_addr = in6addr_loopback;
		if (!strcmp(kind, "mapped"))
			memcpy(&address.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
	}
	MUST(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)));
	if (bind(listener, (struct sockaddr *)&address, address_len))
		check_skip("bind: %s", strerror(errno));
	MUST(listen(listener, backlog));
	MUST(getsockname(listener, (struct sockaddr *)&address, &address_len));
}

static void make_pair(const char *kind, bool near_connects)
{
	int a, b;

	make_listener(kind, 8);
	a = (int)MUST(socket(family_of(kind), SOCK_STREAM, 0));
	MUST(connect(a, (struct sockaddr *)&address, address_len));
	b = (int)MUST(accept(listener, NULL, NULL));
	here.fd = near_connects ? a : b;
	there.fd = near_connects ? b : a;
}

static void put(struct end *e, uint32_t seed, size_t len)
{
	uint8_t buf[4096];

	while (len) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);
		ssize_t done;

		for (size_t i = 0; i < n; i++)
			buf[i] = byte_at(seed, e->sent + (uint32_t)i);
		done = send(e->fd, buf, n, MSG_NOSIGNAL);
		if (done <= 0) {
			FAIL("send after %u bytes: %s", e->sent, strerror(errno));
			return;
		}
		e->sent += (uint32_t)done;
		len -= (size_t)done;
	}
}

/* Until nothing goes in any more and the other's window is shut. */
static void fill(struct end *e, uint32_t seed)
{
	uint8_t buf[4096];
	int tries = 0;

	do {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = byte_at(seed, e->sent + (uint32_t)i);
		ssize_t n = send(e->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			e->sent += (uint32_t)n;
			tries = 0;
		} else {
			sleep_ms(5);
			tries++;
		}
	} while (tries < 10);
}

/* Reads @len bytes, or until the end when @len is 0; true when the end came. */
static bool take(struct end *e, uint32_t seed, size_t len)
{
	uint8_t buf[8192];
	size_t got = 0;

	while (!len || got < len) {
		size_t want = !len || len - got > sizeof(buf) ? sizeof(buf) : len - got;
		ssize_t n = recv(e->fd, buf, want, 0);

		if (n == 0)
			return true;
		if (n < 0) {
			FAIL("recv after %u bytes: %s", e->got, strerror(errno));
			return true;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != byte_at(seed, e->got + (uint32_t)i)) {
				FAIL("byte %u is wrong", e->got + (uint32_t)i);
				return true;
			}
		}
		e->got += (uint32_t)n;
		got += (size_t)n;
	}
	return false;
}

static void take_end(struct end *e, uint32_t seed, uint32_t total)
{
	CHECK(take(e, seed, 0), "no end");
	CHECK_EQ(e->got, total, "bytes before the end");
}

/* After that neither has anything left to say. */
static void goodbye(struct end *e, uint32_t seed, uint32_t other_seed)
{
	put(e, seed, 333);
	CHECK(!take(e, other_seed, 333), "the end came too early");
	shutdown(e->fd, SHUT_WR);
	CHECK(take(e, other_seed, 0), "no end after goodbye");
	close(e->fd);
}

static int want_here, want_there;

static int readable(int fd)
{
	int n = 0;

	MUST(ioctl(fd, FIONREAD, &n));
	return n;
}

static void settle(int state_here, int state_there)
{
	want_here = state_here;
	want_there = state_there;
	if (state_here)
		WAIT_FOR(state_of(here.fd) == state_here);
	if (state_there)
		WAIT_FOR(state_of(there.fd) == state_there);
}

/* ---- the scenes: how each is set up, and how either end goes on ---- */

static void est_setup(void)
{
	put(&here, NEAR, 1000);
	put(&there, FAR, 30000);
	WAIT_FOR(readable(here.fd) == 30000);
	settle(TCP_ESTABLISHED, TCP_ESTABLISHED);
}
static void est_here(void)
{
	CHECK(readable(here.fd) >= 30000, "only %d bytes to read", readable(here.fd));
	take(&here, FAR, 30000);
	goodbye(&here, NEAR, FAR);
}
static void est_there(void)
{
	take(&there, NEAR, 1000);
	goodbye(&there, FAR, NEAR);
}

static void full_setup(void)
{
	fill(&here, NEAR);
	fill(&there, FAR);
	settle(TCP_ESTABLISHED, TCP_ESTABLISHED);
}
static void full_here(void)
{
	int n = 0;

	MUST(ioctl(here.fd, TIOCOUTQ, &n));
	CHECK(n > 4096 || outside, "only %d bytes in the send queue", n);
	take(&here, FAR, there.sent);
	goodbye(&here, NEAR, FAR);
}
static void full_there(void)
{
	take(&there, NEAR, here.sent);
	goodbye(&there, FAR, NEAR);
}

static void fin_wait2_setup(void)
{
	put(&here, NEAR, 500);
	shutdown(here.fd, SHUT_WR);
	settle(TCP_FIN_WAIT2, TCP_CLOSE_WAIT);
}
static void half_here(void)
{
	CHECK(send(here.fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "sent after shutdown");
	take_end(&here, FAR, 600 + there.sent);
}
static void half_there(void)
{
	uint32_t all = here.sent;

	/* What it sends ends the other's FIN_WAIT2: not before that was looked at. */
	WAIT_FOR(access("looked", F_OK) == 0);
	put(&there, FAR, 600);
	take_end(&there, NEAR, all);
	close(there.fd);
}

static void close_wait_setup(void)
{
	put(&there, FAR, 500);
	shutdown(there.fd, SHUT_WR);
	settle(TCP_CLOSE_WAIT, TCP_FIN_WAIT2);
}
static void close_wait_here(void)
{
	struct pollfd p = { .fd = here.fd, .events = POLLIN | POLLRDHUP };

	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLRDHUP), "poll: 0x%x", p.revents);
	take_end(&here, FAR, there.sent);
	put(&here, NEAR, 600);
	close(here.fd);
}
static void close_wait_there(void)
{
	take_end(&there, NEAR, here.sent + 600);
}

static void fin_wait1_setup(void)
{
	fill(&here, NEAR);
	shutdown(here.fd, SHUT_WR);
	settle(TCP_FIN_WAIT1, TCP_ESTABLISHED);
}

static void last_ack_setup(void)
{
	shutdown(there.fd, SHUT_WR);
	fill(&here, NEAR);
	shutdown(here.fd, SHUT_WR);
	settle(TCP_LAST_ACK, TCP_FIN_WAIT2);
}
static void closing_setup(void)
{
	fill(&here, NEAR);
	shutdown(here.fd, SHUT_WR);
	shutdown(there.fd, SHUT_WR);
	settle(TCP_CLOSING, TCP_FIN_WAIT2);
}
static void both_shut_here(void)
{
	CHECK(send(here.fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "sent after shutdown");
	take_end(&here, FAR, there.sent);
	WAIT_FOR(state_of(here.fd) == TCP_CLOSE);
}
static void both_shut_there(void)
{
	take_end(&there, NEAR, here.sent);
	close(there.fd);
}

static void closed_setup(void)
{
	put(&there, FAR, 5000);
	shutdown(there.fd, SHUT_WR);
	WAIT_FOR(state_of(here.fd) == TCP_CLOSE_WAIT);
	shutdown(here.fd, SHUT_WR);
	settle(TCP_CLOSE, 0);
}
static void closed_here(void)
{
	struct pollfd p = { .fd = here.fd, .events = POLLIN | POLLRDHUP };

	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLRDHUP | POLLHUP), "poll: 0x%x", p.revents);
	CHECK(send(here.fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "sent after shutdown");
	take_end(&here, FAR, 5000);
	CHECK(getpeername(here.fd, (struct sockaddr *)&address, &address_len) == -1 && errno == ENOTCONN, "it has a peer");
}
static void nothing_there(void)
{
}

static void reset_setup(void)
{
	struct linger now = { 1, 0 };

	put(&there, FAR, 100);
	WAIT_FOR(recv(here.fd, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
	MUST(setsockopt(there.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	close(there.fd);
	there.fd = -1;
	settle(TCP_CLOSE, 0);
}
static void reset_here(void)
{
	int error = 0;
	socklen_t len = sizeof(error);

	take(&here, FAR, 100);
	MUST(getsockopt(here.fd, SOL_SOCKET, SO_ERROR, &error, &len));
	CHECK_EQ(error, ECONNRESET, "error");
	CHECK_EQ(recv(here.fd, &(char){ 0 }, 1, 0), 0, "recv after the error");
}

static void refused_setup(void)
{
	int fd = (int)MUST(socket(address.sin6_family, SOCK_STREAM | SOCK_NONBLOCK, 0));
	struct pollfd p = { .fd = fd };

	close(listener);
	listener = -1;
	if (connect(fd, (struct sockaddr *)&address, address_len) != -1 || (errno != EINPROGRESS && errno != ECONNREFUSED))
		DIE("connect: %s", strerror(errno));
	if (errno != EINPROGRESS)
		check_skip("refused at once");
	MUST(poll(&p, 1, 5000));
	close(here.fd);
	close(there.fd);
	here.fd = fd;
	there.fd = -1;
	settle(TCP_CLOSE, 0);
}
static void refused_here(void)
{
	int error = 0;
	socklen_t len = sizeof(error);

	MUST(getsockopt(here.fd, SOL_SOCKET, SO_ERROR, &error, &len));
	CHECK_EQ(error, ECONNREFUSED, "error");
	CHECK(fcntl(here.fd, F_GETFL) & O_NONBLOCK, "it blocks");
}

/* A listener whose queue is full does not answer a SYN. */
static void syn_sent_setup(void)
{
	int fill1 = (int)MUST(socket(address.sin6_family, SOCK_STREAM, 0));
	int fd = (int)MUST(socket(address.sin6_family, SOCK_STREAM | SOCK_NONBLOCK, 0));

	close(here.fd);
	close(there.fd);
	MUST(listen(listener, 0));
	MUST(connect(fill1, (struct sockaddr *)&address, address_len));
	CHECK(connect(fd, (struct sockaddr *)&address, address_len) == -1 && errno == EINPROGRESS, "connect: %s",
	      strerror(errno));
	here.fd = fd;
	there.fd = fill1;
	settle(TCP_SYN_SENT, 0);
}
static void syn_sent_here(void)
{
	struct pollfd p = { .fd = here.fd, .events = POLLOUT };
	int error = -1;
	socklen_t len = sizeof(error);

	CHECK(poll(&p, 1, 12000) == 1, "not connected");
	MUST(getsockopt(here.fd, SOL_SOCKET, SO_ERROR, &error, &len));
	CHECK_EQ(error, 0, "error");
	MUST(fcntl(here.fd, F_SETFL, O_RDWR));
	goodbye(&here, NEAR, FAR);
}
static void syn_sent_there(void)
{
	close(there.fd);
	close((int)MUST(accept(listener, NULL, NULL)));
	there.fd = (int)MUST(accept(listener, NULL, NULL));
	there.sent = there.got = 0;
	goodbye(&there, FAR, NEAR);
}

/* shutdown(SHUT_RD): nothing is told to the other, but reading is at its end. */
static void shut_rd_setup(void)
{
	shutdown(here.fd, SHUT_RD);
	settle(TCP_ESTABLISHED, TCP_ESTABLISHED);
}
static void shut_rd_here(void)
{
	struct pollfd p = { .fd = here.fd, .events = POLLRDHUP };

	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLRDHUP, "poll: 0x%x", p.revents);
	CHECK_EQ(recv(here.fd, &(char){ 0 }, 1, 0), 0, "recv after SHUT_RD");
	put(&here, NEAR, 100);
	close(here.fd);
}
static void shut_rd_there(void)
{
	take_end(&there, NEAR, 100);
	close(there.fd);
}

/* Every option that a connection has; see the table. */
struct option {
	int level, name, value;
	const char *text;
};
static const struct option options[] = {
#define O(LEVEL, NAME, VALUE) { LEVEL, NAME, VALUE, #NAME }
	O(SOL_SOCKET, SO_KEEPALIVE, 1),	     O(IPPROTO_TCP, TCP_KEEPIDLE, 77),	  O(IPPROTO_TCP, TCP_KEEPINTVL, 11),
	O(IPPROTO_TCP, TCP_KEEPCNT, 4),	     O(IPPROTO_TCP, TCP_NODELAY, 1),	  O(IPPROTO_TCP, TCP_USER_TIMEOUT, 45000),
	O(IPPROTO_TCP, TCP_LINGER2, 33),     O(IPPROTO_TCP, TCP_SYNCNT, 3),	  O(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384),
	O(SOL_SOCKET, SO_REUSEADDR, 1),	     O(SOL_SOCKET, SO_REUSEPORT, 1),	  O(SOL_SOCKET, SO_OOBINLINE, 1),
	O(SOL_SOCKET, SO_RCVLOWAT, 3),	     O(SOL_SOCKET, SO_PRIORITY, 5),	  O(SOL_SOCKET, SO_TIMESTAMP, 1),
	O(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1),
};

static void options_setup(void)
{
	struct linger l = { 1, 9 };
	struct timeval tv = { 12, 500000 };

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		MUST(setsockopt(here.fd, options[i].level, options[i].name, &options[i].value, sizeof(int)));
	MUST(setsockopt(here.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	MUST(setsockopt(here.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	MUST(setsockopt(here.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 50000 }, sizeof(int)));
	MUST(setsockopt(here.fd, SOL_SOCKET, SO_RCVBUF, &(int){ 60000 }, sizeof(int)));
	if (address.sin6_family == AF_INET)
		MUST(setsockopt(here.fd, IPPROTO_IP, IP_TTL, &(int){ 31 }, sizeof(int)));
	MUST(setsockopt(here.fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	settle(TCP_ESTABLISHED, TCP_ESTABLISHED);
}
static void options_here(void)
{
	struct linger l = { 0 };
	struct timeval tv = { 0 };
	char name[17] = "";
	int value;
	socklen_t len = sizeof(int);

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		value = -1;
		MUST(getsockopt(here.fd, options[i].level, options[i].name, &value, &len));
		CHECK_EQ(value, options[i].value, options[i].text);
	}
	len = sizeof(l);
	MUST(getsockopt(here.fd, SOL_SOCKET, SO_LINGER, &l, &len));
	CHECK(l.l_onoff == 1 && l.l_linger == 9, "SO_LINGER: %d %d", l.l_onoff, l.l_linger);
	len = sizeof(tv);
	MUST(getsockopt(here.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	CHECK(tv.tv_sec == 12 && tv.tv_usec == 500000, "SO_RCVTIMEO: %ld %ld", tv.tv_sec, tv.tv_usec);
	len = sizeof(int);
	MUST(getsockopt(here.fd, SOL_SOCKET, SO_SNDBUF, &value, &len));
	CHECK_EQ(value, 100000, "SO_SNDBUF");
	MUST(getsockopt(here.fd, SOL_SOCKET, SO_RCVBUF, &value, &len));
	CHECK_EQ(value, 120000, "SO_RCVBUF");
	if (address.sin6_family == AF_INET) {
		MUST(getsockopt(here.fd, IPPROTO_IP, IP_TTL, &value, &len));
		CHECK_EQ(value, 31, "IP_TTL");
	}
	len = 16;
	MUST(getsockopt(here.fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
	CHECK(!strcmp(name, "reno"), "TCP_CONGESTION: %s", name);
	goodbye(&here, NEAR, FAR);
}
static void options_there(void)
{
	goodbye(&there, FAR, NEAR);
}

/* Those of the level of IP; the far end has said that it is done, which a restore must tell in spite of IP_MINTTL. */
static struct ip_snapshot ip_options;

static void ip_options_setup(void)
{
	int peek = 3;

	CHECK(ip_options_set(here.fd, address.sin6_family) >= 12, "few options");
	(void)setsockopt(here.fd, SOL_SOCKET, SO_PEEK_OFF, &peek, sizeof(peek));
	put(&there, FAR, 50);
	shutdown(there.fd, SHUT_WR);
	settle(TCP_CLOSE_WAIT, TCP_FIN_WAIT2);
	ip_snapshot_take(here.fd, &ip_options);
}
static void ip_options_here(void)
{
	int peek = 3, now = 3;
	socklen_t len = sizeof(now);
	uint8_t byte = 0;

	ip_snapshot_compare(here.fd, &ip_options);
	if (getsockopt(here.fd, SOL_SOCKET, SO_PEEK_OFF, &now, &len) == 0 && now >= 0) {
		CHECK_EQ(now, peek, "SO_PEEK_OFF");
		CHECK(recv(here.fd, &byte, 1, MSG_PEEK) == 1 && byte == byte_at(FAR, 3), "peeked %d", byte);
	}
	take_end(&here, FAR, 50);
	put(&here, NEAR, 600);
	close(here.fd);
}

/* What is held back by TCP_CORK stays held back. */
static void cork_setup(void)
{
	MUST(setsockopt(here.fd, IPPROTO_TCP, TCP_CORK, &(int){ 1 }, sizeof(int)));
	put(&here, NEAR, 100);
	settle(TCP_ESTABLISHED, TCP_ESTABLISHED);
}
static void cork_here(void)
{
	int value = 0;
	socklen_t len = sizeof(value);

	MUST(getsockopt(here.fd, IPPROTO_TCP, TCP_CORK, &value, &len));
	CHECK_EQ(value, 1, "TCP_CORK");
	MUST(setsockopt(here.fd, IPPROTO_TCP, TCP_CORK, &(int){ 0 }, sizeof(int)));
	goodbye(&here, NEAR, FAR);
}
static void cork_there(void)
{
	take(&there, NEAR, 100);
	goodbye(&there, FAR, NEAR);
}

/* Restored with --tcp-close. */
static void tcp_close_setup(void)
{
	put(&there, FAR, 100);
	settle(TCP_ESTABLISHED, TCP_ESTABLISHED);
}
static void tcp_close_here(void)
{
	struct pollfd p = { .fd = here.fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT | POLLHUP | POLLRDHUP), "poll: 0x%x", p.revents);
	CHECK_EQ(state_of(here.fd), TCP_CLOSE, "state");
	CHECK_EQ(recv(here.fd, &(char){ 0 }, 1, 0), 0, "recv");
	CHECK(send(here.fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "send");
	CHECK(getpeername(here.fd, (struct sockaddr *)&a, &len) == -1 && errno == ENOTCONN, "it has a peer");
}

/* What is refused. */
static void urgent_setup(void)
{
	MUST(send(there.fd, "!", 1, MSG_OOB));
	WAIT_FOR(poll(&(struct pollfd){ .fd = here.fd, .events = POLLPRI }, 1, 0) == 1);
}
static void mptcp_setup(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 262);

	if (fd < 0)
		check_skip("no MPTCP: %s", strerror(errno));
}
static void waiting_setup(void)
{
	int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));

	MUST(connect(fd, (struct sockaddr *)&address, address_len));
	WAIT_FOR(poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 0) == 1);
}
static void ulp_setup(void)
{
	if (setsockopt(here.fd, IPPROTO_TCP, TCP_ULP, "tls", 3))
		check_skip("no kernel TLS: %s", strerror(errno));
}
static void listening_here(void)
{
	int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), s;

	goodbye(&here, NEAR, FAR);
	if (!access("restored", F_OK))
		CHECK(poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 0) == 0, "somebody waits");
	CHECK(!connect(fd, (struct sockaddr *)&address, address_len), "connect: %s", strerror(errno));
	s = accept(listener, NULL, NULL);
	CHECK(s >= 0, "accept: %s", strerror(errno));
}

static const struct scene {
	const char *name;
	void (*setup)(void), (*here)(void), (*there)(void);
} scenes[] = {
	{ "est", est_setup, est_here, est_there },
	{ "full", full_setup, full_here, full_there },
	{ "fin_wait2", fin_wait2_setup, half_here, half_there },
	{ "close_wait", close_wait_setup, close_wait_here, close_wait_there },
	{ "fin_wait1", fin_wait1_setup, half_here, half_there },
	{ "last_ack", last_ack_setup, both_shut_here, both_shut_there },
	{ "closing", closing_setup, both_shut_here, both_shut_there },
	{ "closed", closed_setup, closed_here, nothing_there },
	{ "reset", reset_setup, reset_here, nothing_there },
	{ "refused", refused_setup, refused_here, nothing_there },
	{ "syn_sent", syn_sent_setup, syn_sent_here, syn_sent_there },
	{ "shut_rd", shut_rd_setup, shut_rd_here, shut_rd_there },
	{ "options", options_setup, options_here, options_there },
	{ "ip_options", ip_options_setup, ip_options_here, close_wait_there },
	{ "cork", cork_setup, cork_here, cork_there },
	{ "tcp_close", tcp_close_setup, tcp_close_here, nothing_there },
	{ "urgent", urgent_setup, nothing_there, nothing_there },
	{ "mptcp", mptcp_setup, nothing_there, nothing_there },
	{ "ulp", ulp_setup, nothing_there, nothing_there },
	{ "waiting", waiting_setup, listening_here, options_there },
};
static const struct scene *scene;

static int go_on_there(void *arg)
{
	(void)arg;
	close(here.fd);
	scene->there();
	return 0;
}

/* The far end outside: a grandchild in a session of its own, whose parent is gone. */
static pid_t start_peer(void)
{
	int p[2];
	pid_t pid, child;

	MUST(pipe(p));
	child = (pid_t)MUST(fork());
	if (child == 0) {
		pid = fork();
		if (pid > 0) {
			(void)!write(p[1], &pid, sizeof(pid));
			_exit(0);
		}
		setsid();
		close(p[0]);
		close(p[1]);
		close(here.fd);
		here.fd = -1;
		if (strcmp(scene->name, "syn_sent"))
			close(listener);
		check_wait_trigger();
		int status = 0;
		pid = check_fork(go_on_there, NULL);
		/* Its copies would keep the connection open. */
		close(there.fd);
		waitpid(pid, &status, 0);
		int fd = open("peer", O_WRONLY | O_CREAT, 0644);
		(void)!write(fd, status ? "FAIL" : "PASS", 4);
		_exit(0);
	}
	if (read(p[0], &pid, sizeof(pid)) != sizeof(pid))
		DIE("no peer");
	close(p[0]);
	close(p[1]);
	waitpid(child, NULL, 0);
	if (there.fd >= 0)
		close(there.fd);
	return pid;
}

static void await_peer(pid_t peer)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, peer, 0), .events = POLLIN };
	char *text;

	if (p.fd >= 0)
		CHECK(poll(&p, 1, 14000) == 1, "the far end does not come to its end");
	text = slurp("peer");
	CHECK(!strcmp(text, "PASS"), "the far end: %s (see stderr)", text);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "4";
	pid_t peer = -1;

	check_begin(argc, argv);
	outside = argc > 3 && !strcmp(argv[3], "outside");
	for (size_t i = 0; i < sizeof(scenes) / sizeof(*scenes); i++)
		if (argc > 4 && !strcmp(argv[4], scenes[i].name))
			scene = &scenes[i];
	if (!scene)
		DIE("which scene?");
	make_pair(kind, strcmp(scene->name, "est") && strcmp(scene->name, "close_wait"));
	scene->setup();
	if (outside) {
		peer = start_peer();
		if (!strcmp(scene->name, "syn_sent"))
			close(listener);
	}
	check_ready();
	if (want_here && want_here != TCP_FIN_WAIT1 && want_here != TCP_LAST_ACK && want_here != TCP_CLOSING &&
	    want_here != TCP_SYN_SENT && want_here != TCP_ESTABLISHED)
		CHECK_EQ(state_of(here.fd), want_here, "state");
	close((int)MUST(open("looked", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
	if (outside) {
		scene->here();
		await_peer(peer);
		return check_end();
	}
	peer = check_fork(go_on_there, NULL);
	if (there.fd >= 0)
		close(there.fd);
	scene->here();
	check_child(peer);
	return check_end();
}
