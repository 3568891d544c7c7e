/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>

#include "kernel/diag.h"
#include "kernel/igmp.h"
#include "kernel/proc_net.h"

static void test_igmp(void **unused)
{
	static const char text[] = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
				   "1\tlo        :     2      V3\n"
				   "\t\t\t\t030201EF     1 0:00000000\t\t0\n"
				   "\t\t\t\t010000E0     1 0:00000000\t\t0\n"
				   "4\teth0      :     1      V3\n"
				   "\t\t\t\t010000E0     1 0:00000000\t\t0\n";
	struct arena a = { 0 };
	struct igmp_group *g;
	size_t n;

	(void)unused;
	assert_int_equal(parse_igmp(text, sizeof(text) - 1, &a, &g, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(g[0].ifindex, 1);
	assert_memory_equal(g[0].address, ((uint8_t[]){ 0xef, 1, 2, 3 }), 4);
	assert_int_equal(g[2].ifindex, 4);
	assert_int_equal(parse_igmp("", 0, &a, &g, &n), -EINVAL);
	assert_int_equal(parse_igmp("Idx\n\tXYZ\n", 9, &a, &g, &n), -EINVAL);
	assert_int_equal(parse_igmp("Idx\n\t010000E0\n", 14, &a, &g, &n), -EINVAL);    /* a group of no device */
	arena_release(&a);
}

static void test_igmp6(void **unused)
{
	static const char text[] = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n"
				   "2    ifb0            ff010000000000000000000000000001     1 00000008 0\n";
	struct arena a = { 0 };
	struct igmp_group *g;
	size_t n;

	(void)unused;
	assert_int_equal(parse_igmp6(text, sizeof(text) - 1, &a, &g, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(g[1].ifindex, 2);
	assert_memory_equal(g[1].address, ((uint8_t[16]){ 0xff, 1, [15] = 1 }), 16);
	assert_int_equal(parse_igmp6("1 lo ff02\n", 10, &a, &g, &n), -EINVAL);
	arena_release(&a);
}

static void test_proc_net(void **unused)
{
	static const char text[] =
		"   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
		"    1: 00000000:0001 0100007F:0000 01 00000000:00000000 00:00000000 00000000     0        0 2710 2 0000000000000000 0\n";
	static const char six[] =
		"  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
		"   58: 00000000000000000000000000000000:003A 00000000000000000000000001000000:0007 01 00000000:00000000 00:00000000 00000000 65534 0 99 2 0000000000000000 0\n";
	struct arena a = { 0 };
	struct proc_net_socket *s = NULL;
	size_t n = 0;

	(void)unused;
	assert_int_equal(parse_proc_net(text, sizeof(text) - 1, &a, &s, &n), 0);
	assert_int_equal(parse_proc_net(six, sizeof(six) - 1, &a, &s, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(s[0].ino, 2710);
	assert_int_equal(s[0].state, 1);
	assert_int_equal(s[0].peer[0], htonl(0x7f000001));
	assert_int_equal(s[0].peer_port, 0);
	assert_int_equal(s[1].ino, 99);
	assert_int_equal(s[1].peer[3], htonl(1));
	assert_int_equal(s[1].peer_port, 7);
	for (size_t cut = 140; cut < sizeof(text) - 40; cut += 7) {
		s = NULL;
		n = 0;
		(void)parse_proc_net(text, cut, &a, &s, &n);    /* under ASan: reads nothing beyond */
	}
	arena_release(&a);
}

/* An attribute with its head, padded. */
static size_t put(uint8_t *p, uint16_t type, const void *data, uint16_t len)
{
	uint16_t head[2] = { (uint16_t)(len + 4), type };

	memcpy(p, head, 4);
	memcpy(p + 4, data, len);
	return (len + 4u + 3u) / 4 * 4;
}

static void test_diag(void **unused)
{
	union {
		uint8_t bytes[512];
		uint32_t align;
	} u = { .bytes = { 0 } };
	uint8_t *buf = u.bytes;
	struct arena a = { 0 };
	struct inet_diag inet;
	struct netlink_diag nl;
	struct packet_diag pk;
	struct inet_diag_msg in = { .idiag_family = 2, .idiag_state = 7, .idiag_inode = 12, .idiag_rqueue = 3 };
	struct netlink_diag_msg nm = { .ndiag_protocol = 15, .ndiag_state = 1, .ndiag_portid = 9, .ndiag_ino = 13, .ndiag_dst_group = 2 };
	struct packet_diag_msg pm = { .pdiag_type = 3, .pdiag_num = 0x88b5, .pdiag_ino = 14 };
	struct packet_diag_info info = { .pdi_index = 1, .pdi_version = 2, .pdi_flags = PDI_AUXDATA };
	struct packet_diag_mclist group = { .pdmc_index = 1, .pdmc_count = 2, .pdmc_type = 0, .pdmc_alen = 6, .pdmc_addr = { 1, 2 } };
	uint32_t flags = NDIAG_FLAG_CB_RUNNING;
	size_t n;

	(void)unused;
	memcpy(buf, &in, sizeof(in));
	n = sizeof(in) + put(buf + sizeof(in), INET_DIAG_SHUTDOWN, "\2", 1);
	assert_int_equal(parse_inet_diag(buf, n, &inet), 0);
	assert_int_equal(inet.ino, 12);
	assert_int_equal(inet.shutdown, 2);
	assert_int_equal(parse_inet_diag(buf, sizeof(in) - 1, &inet), -EINVAL);
	buf[sizeof(in)] = 200;    /* an attribute that is longer than the answer */
	assert_int_equal(parse_inet_diag(buf, n, &inet), -EINVAL);

	memcpy(buf, &nm, sizeof(nm));
	n = sizeof(nm) + put(buf + sizeof(nm), NETLINK_DIAG_FLAGS, &flags, 4);
	assert_int_equal(parse_netlink_diag(buf, n, &nl), 0);
	assert_int_equal(nl.portid, 9);
	assert_int_equal(nl.dst_group, 2);
	assert_int_equal(nl.flags, NDIAG_FLAG_CB_RUNNING);

	memcpy(buf, &pm, sizeof(pm));
	n = sizeof(pm) + put(buf + sizeof(pm), PACKET_DIAG_INFO, &info, sizeof(info));
	n += put(buf + n, PACKET_DIAG_MCLIST, &group, sizeof(group));
	assert_int_equal(parse_packet_diag(buf, n, &a, &pk), 0);
	assert_int_equal(pk.protocol, 0x88b5);
	assert_int_equal(pk.version, 2);
	assert_int_equal(pk.n_groups, 1);
	assert_int_equal(pk.groups[0].count, 2);
	assert_false(pk.has_rx || pk.has_tx || pk.has_fanout);
	group.pdmc_alen = 33;
	n = sizeof(pm) + put(buf + sizeof(pm), PACKET_DIAG_MCLIST, &group, sizeof(group));
	assert_int_equal(parse_packet_diag(buf, n, &a, &pk), -EINVAL);
	n = sizeof(pm) + put(buf + sizeof(pm), PACKET_DIAG_RX_RING, &group, 8);
	assert_int_equal(parse_packet_diag(buf, n, &a, &pk), -EINVAL);
	arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_igmp),
		cmocka_unit_test(test_igmp6),
		cmocka_unit_test(test_proc_net),
		cmocka_unit_test(test_diag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
