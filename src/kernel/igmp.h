/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/*
 * The multicast groups that sockets of this network namespace have joined, from /proc/net/igmp and /proc/net/igmp6.
 * Parsers take a buffer and return 0, -EINVAL or -ENOMEM; read_… 0 or -errno, nothing raised.
 */
struct igmp_group {
	unsigned ifindex;
	uint8_t address[16];    /* in network order; IPv4 takes the first four bytes */
};

int parse_igmp(const char *text, size_t len, struct arena *a, struct igmp_group **ret, size_t *ret_n);
int parse_igmp6(const char *text, size_t len, struct arena *a, struct igmp_group **ret, size_t *ret_n);
int read_igmp(struct arena *a, struct igmp_group **ret, size_t *ret_n);
int read_igmp6(struct arena *a, struct igmp_group **ret, size_t *ret_n);
