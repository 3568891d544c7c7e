// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * tcp_listen FOLDER 4|6|both: TCP listeners on a port that the kernel chose, with options, and sockets not yet used.
 * tcp_listen FOLDER options4|options6: with every option of IP, before and after listen().
 * tcp_listen FOLDER left4|left6|left: without SO_REUSEADDR, and a closed connection still has the port (TIME_WAIT); the same for a
 * socket that listens no more. "left" listens to every address, and the connection was one of IPv4.
 */
#include "sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int make_listener(int family, struct sockaddr_in6 *a, socklen_t *len)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)a;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, zero = 0;

	if (fd < 0)
		check_skip("family %d: %s", family, strerror(errno));
	memset(a, 0, sizeof(*a));
	MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	if (family == AF_INET) {
		a4->sin_family = AF_INET;
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*len = sizeof(*a4);
		MUST(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
		MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	} else {
		a->sin6_family = AF_INET6;
		a->sin6_addr = in6addr_any;
		*len = sizeof(*a);
		MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)));
	}
	if (bind(fd, (struct sockaddr *)a, *len))
		check_skip("bind: %s", strerror(errno));
	MUST(listen(fd, 9));
	MUST(getsockname(fd, (struct sockaddr *)a, len));
	return fd;
}

static void use(int fd, int family, struct sockaddr_in6 *a, socklen_t len)
{
	struct sockaddr_in6 now = { 0 };
	socklen_t l = sizeof(now);
	int c, s, value = 0;
	char buf[8];

	MUST(getsockname(fd, (struct sockaddr *)&now, &l));
	CHECK(l == len && !memcmp(&now, a, len), "the address is another");
	l = sizeof(value);
	MUST(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &l));
	CHECK_EQ(value, 1, "listening");
	MUST(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, &l));
	CHECK_EQ(value, 1, "SO_REUSEADDR");
	if (family == AF_INET) {
		MUST(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &l));
		CHECK_EQ(value, 1, "SO_KEEPALIVE");
		MUST(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &l));
		CHECK_EQ(value, 1, "TCP_NODELAY");
	} else {
		MUST(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &l));
		CHECK_EQ(value, 0, "IPV6_V6ONLY");
		a->sin6_addr = in6addr_loopback;
	}
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "flags");
	CHECK(accept(fd, NULL, NULL) == -1 && errno == EAGAIN, "a connection from nowhere");
	c = (int)MUST(socket(family, SOCK_STREAM, 0));
	CHECK(!connect(c, (struct sockaddr *)a, len), "connect: %s", strerror(errno));
	s = accept(fd, NULL, NULL);
	CHECK(s >= 0, "accept: %s", strerror(errno));
	CHECK(send(c, "hello", 5, 0) == 5 && recv(s, buf, 8, 0) == 5, "data");
}

struct left {
	int fd;
	struct sockaddr_in6 address;
	socklen_t len;
	int other[8]; /* SO_REUSEADDR, SO_REUSEPORT … as they were */
};

static const int port_options[] = { SO_REUSEADDR, SO_REUSEPORT, SO_ACCEPTCONN };
#define N_PORT_OPTIONS (sizeof(port_options) / sizeof(*port_options))

static void port_options_of(int fd, int *ret)
{
	for (size_t i = 0; i < N_PORT_OPTIONS; i++) {
		socklen_t len = sizeof(int);

		MUST(getsockopt(fd, SOL_SOCKET, port_options[i], &ret[i], &len));
	}
}

/* The server closes first: the port is its own in TIME_WAIT. */
static void serve_once(struct left *l)
{
	struct sockaddr_in6 to = l->address;
	int c = (int)MUST(socket(l->address.sin6_family, SOCK_STREAM, 0)), s;
	char byte;

	if (to.sin6_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&to.sin6_addr))
		memcpy(&to.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
	MUST(connect(c, (struct sockaddr *)&to, l->len));
	s = (int)MUST(accept(l->fd, NULL, NULL));
	MUST(shutdown(s, SHUT_WR));
	CHECK_EQ(recv(c, &byte, 1, 0), 0, "the end");
	close(c);
	CHECK_EQ(recv(s, &byte, 1, 0), 0, "the end");
	close(s);
}

static int bind_another(const struct left *l, int option)
{
	int fd = (int)MUST(socket(l->address.sin6_family, SOCK_STREAM, 0)), one = 1, r;

	if (option)
		MUST(setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one)));
	r = bind(fd, (const struct sockaddr *)&l->address, l->len) < 0 || listen(fd, 1) < 0 ? errno : 0;
	close(fd);
	return r;
}

static void leave(struct left *l, int family, bool every, bool ends)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)&l->address;

	l->fd = socket(family, SOCK_STREAM, 0);
	if (l->fd < 0)
		check_skip("family %d: %s", family, strerror(errno));
	l->address.sin6_family = (sa_family_t)family;
	l->len = family == AF_INET ? sizeof(*a4) : sizeof(l->address);
	if (family == AF_INET)
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		l->address.sin6_addr = every ? in6addr_any : in6addr_loopback;
	if (every)
		set(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (bind(l->fd, (struct sockaddr *)&l->address, l->len))
		check_skip("bind: %s", strerror(errno));
	MUST(listen(l->fd, 3));
	MUST(getsockname(l->fd, (struct sockaddr *)&l->address, &l->len));
	serve_once(l);
	if (ends)
		MUST(shutdown(l->fd, SHUT_RD));
	port_options_of(l->fd, l->other);
	CHECK_EQ(bind_another(l, SO_REUSEADDR), EADDRINUSE, "the port is free");
}

static void check_left(struct left *l)
{
	struct sockaddr_in6 now = { 0 };
	socklen_t len = sizeof(now);
	int options[N_PORT_OPTIONS];

	MUST(getsockname(l->fd, (struct sockaddr *)&now, &len));
	CHECK(len == l->len && !memcmp(&now, &l->address, len), "the address is another");
	port_options_of(l->fd, options);
	for (size_t i = 0; i < N_PORT_OPTIONS; i++)
		CHECK(options[i] == l->other[i], "option %d: %d", port_options[i], options[i]);
	CHECK_EQ(bind_another(l, 0), EADDRINUSE, "another one has the port");
	CHECK_EQ(bind_another(l, SO_REUSEADDR), EADDRINUSE, "another one has the port by SO_REUSEADDR");
	CHECK_EQ(bind_another(l, SO_REUSEPORT), EADDRINUSE, "another one has the port by SO_REUSEPORT");
}

static int leftovers(int family, bool every)
{
	static struct left listening, bound;

	leave(&listening, family, every, false);
	leave(&bound, family, every, true);
	check_ready();
	check_left(&listening);
	check_left(&bound);
	serve_once(&listening);
	CHECK(connect((int)MUST(socket(family, SOCK_STREAM, 0)), (struct sockaddr *)&bound.address, bound.len) < 0 &&
		      errno == ECONNREFUSED,
	      "it listens");
	return check_end();
}

static int options(int family)
{
	static struct ip_snapshot before[2];
	struct sockaddr_in6 a;
	socklen_t len;
	int fds[2];

	fds[0] = make_listener(family, &a, &len);
	fds[1] = (int)MUST(socket(family, SOCK_STREAM, 0));
	for (int i = 0; i < 2; i++) {
		CHECK(ip_options_set(fds[i], family) >= 12, "few options");
		ip_snapshot_take(fds[i], &before[i]);
	}
	check_ready();
	for (int i = 0; i < 2; i++)
		ip_snapshot_compare(fds[i], &before[i]);
	return check_end();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "4";
	struct sockaddr_in6 a4, a6;
	socklen_t l4, l6;
	int f4 = -1, f6 = -1, fresh = -1;

	check_begin(argc, argv);
	if (!strncmp(kind, "left", 4))
		return leftovers(kind[4] == '4' ? AF_INET : AF_INET6, kind[4] == '\0');
	if (!strncmp(kind, "options", 7))
		return options(kind[7] == '6' ? AF_INET6 : AF_INET);
	if (strcmp(kind, "6"))
		f4 = make_listener(AF_INET, &a4, &l4);
	if (strcmp(kind, "4"))
		f6 = make_listener(AF_INET6, &a6, &l6);
	if (!strcmp(kind, "both"))
		fresh = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	check_ready();
	if (fresh >= 0)
		CHECK(!connect(fresh, (struct sockaddr *)&a4, l4), "connect with a fresh socket: %s", strerror(errno));
	if (fresh >= 0 && f4 >= 0)
		close(accept(f4, NULL, NULL));
	if (f4 >= 0)
		use(f4, AF_INET, &a4, l4);
	if (f6 >= 0)
		use(f6, AF_INET6, &a6, l6);
	return check_end();
}
