/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * SOCK_DIAG for TCP (man 7 sock_diag): what getpeername() does not tell. The kernel answers from its own tables.
 *
 * The far end of the socket with the inode @ino that is in SYN_SENT: its address in network order (IPv4: four bytes) and port.
 * @family is the socket's. 0, -ENOENT when there is none, or -errno; nothing is raised.
 */
int inet_diag_connecting(int family, uint32_t ino, uint8_t ret_address[16], uint16_t *ret_port);

/* A socket with a certain local port. @address: 16 bytes in network order (IPv4: the first four). @ino: 0 when nobody holds
 * it, as in TIME_WAIT. True: the search ends. */
typedef bool (*inet_diag_holder)(void *arg, int family, const uint8_t *address, uint32_t ino);
/* Every TCP socket with that local port (those that are only bound: Linux 6.8). 0 when @holder ended it, -ENOENT when it was
 * asked about all, or -errno; nothing is raised. */
int inet_diag_holders(uint16_t port, inet_diag_holder holder, void *arg);
