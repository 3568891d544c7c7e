// SPDX-License-Identifier: LGPL-2.1-or-later
/* tcp_listen FOLDER 4|6|both: TCP listeners on a port that the kernel chose, with options, and sockets not yet used. */
#include "check.h"

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

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "4";
	struct sockaddr_in6 a4, a6;
	socklen_t l4, l6;
	int f4 = -1, f6 = -1, fresh = -1;

	check_begin(argc, argv);
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
