/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "kinds/kind.h"

#define INET_ADDRESS_TEXT (46 + 16)    /* INET6_ADDRSTRLEN, brackets and a port */

/* The addresses of IP sockets, between the kernel, InetSkEntry and messages. */

/* "127.0.0.1:80", "[::1]:80" */
void inet_address_text(const struct sockaddr_storage *ss, char *buf, size_t size);
/* "127.0.0.1:80 → 127.0.0.1:4711" as far as known, of a local copy. In the arena. */
const char *inet_ends_text(struct operation *op, int fd);

/* dump: family, own address and, where there is one, the peer's. 0 or -errno, raised. */
int inet_address_dump(struct operation *op, const struct fd_facts *f, InetSkEntry *m);
/* Does the entry hold addresses of its family and ports that are some? For decode. */
bool inet_address_valid(const InetSkEntry *m);
/* restore, of a valid entry: the own address, the peer's. */
void inet_address_fill(const InetSkEntry *m, struct sockaddr_storage *ss, socklen_t *ret_len);
void inet_peer_fill(const InetSkEntry *m, struct sockaddr_storage *ss, socklen_t *ret_len);
/* Is the own address the one of a socket that was never bound: any address, and no port? */
bool inet_address_unset(const InetSkEntry *m);
bool inet_peer_unset(const InetSkEntry *m);
