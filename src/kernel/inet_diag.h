/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/*
 * SOCK_DIAG for TCP (man 7 sock_diag): what getpeername() does not tell. The kernel answers from its own tables.
 *
 * The far end of the socket with the inode @ino that is in SYN_SENT: its address in network order (IPv4: four bytes) and port.
 * @family is the socket's. 0, -ENOENT when there is none, or -errno; nothing is raised.
 */
int inet_diag_connecting(int family, uint32_t ino, uint8_t ret_address[16], uint16_t *ret_port);
