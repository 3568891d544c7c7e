// SPDX-License-Identifier: LGPL-2.1-or-later
/* bpf_maps FOLDER maps|queue|program: BPF maps with content; a map and a program that are not carried. */
#include "check.h"

#include <linux/bpf.h>

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int make(unsigned type, unsigned key, unsigned value, unsigned entries, unsigned flags, const char *name)
{
	union bpf_attr attr = { .map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags };
	int fd;

	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		check_skip("BPF map: %s", strerror(errno));
	return fd;
}

static int put(int fd, const void *key, const void *value)
{
	union bpf_attr attr = { .map_fd = fd, .key = (uintptr_t)key, .value = (uintptr_t)value };

	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

static int get(int fd, const void *key, void *value)
{
	union bpf_attr attr = { .map_fd = fd, .key = (uintptr_t)key, .value = (uintptr_t)value };

	return bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

static void info_of(int fd, struct bpf_map_info *info)
{
	union bpf_attr attr = { .info = { .bpf_fd = fd, .info_len = sizeof(*info), .info = (uintptr_t)info } };

	memset(info, 0, sizeof(*info));
	CHECK(!bpf(BPF_OBJ_GET_INFO_BY_FD, &attr), "info: %s", strerror(errno));
}

static int again(int fd, unsigned flags)
{
	struct bpf_map_info info;
	union bpf_attr attr = { 0 };

	info_of(fd, &info);
	attr.map_id = info.id;
	attr.open_flags = flags;
	return (int)MUST(bpf(BPF_MAP_GET_FD_BY_ID, &attr));
}

static void maps(void)
{
	int array = make(BPF_MAP_TYPE_ARRAY, 4, 12, 10, 0, "an_array"), hash = make(BPF_MAP_TYPE_HASH, 6, 8, 2000, BPF_F_NO_PREALLOC, "a_hash"),
	    empty = make(BPF_MAP_TYPE_HASH, 4, 4, 5, 0, ""), cpus = make(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 3, 0, "cpus"),
	    lru = make(BPF_MAP_TYPE_LRU_HASH, 4, 4, 64, 0, "lru"), frozen = make(BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, "frozen"),
	    trie = make(BPF_MAP_TYPE_LPM_TRIE, 8, 4, 8, BPF_F_NO_PREALLOC, "trie"), second = again(hash, 0), reader = again(hash, BPF_F_RDONLY),
	    all[] = { array, hash, empty, cpus, lru, frozen, trie };
	struct bpf_map_info before[7], now;
	union bpf_attr attr = { .map_fd = frozen };
	struct { unsigned len; unsigned char a[4]; } prefix = { 16, { 10, 1, 0, 0 } };
	unsigned long long per[256], eight;
	unsigned n = 0;
	char value[12], key[6];

	for (unsigned i = 0; i < 10; i++) {
		memset(value, (int)(i + 1), sizeof(value));
		MUST(put(array, &i, value));
	}
	for (unsigned i = 0; i < 1500; i++) {
		memcpy(key, (unsigned[]){ i, 7 }, 6);
		MUST(put(hash, key, (unsigned long long[]){ i * 3ull }));
	}
	for (unsigned i = 0; i < 3; i++) {
		for (size_t c = 0; c < 256; c++)
			per[c] = i * 100 + c;
		MUST(put(cpus, &i, per));
		MUST(put(lru, &i, (unsigned[]){ i + 50 }));
	}
	MUST(put(frozen, (unsigned[]){ 1 }, (unsigned long long[]){ 0x123456789ull }));
	MUST(bpf(BPF_MAP_FREEZE, &attr));
	MUST(put(trie, &prefix, (unsigned[]){ 77 }));
	for (int i = 0; i < 7; i++)
		info_of(all[i], &before[i]);
	check_ready();
	for (int i = 0; i < 7; i++) {
		info_of(all[i], &now);
		CHECK(now.type == before[i].type && now.key_size == before[i].key_size && now.value_size == before[i].value_size &&
		      now.max_entries == before[i].max_entries && now.map_flags == before[i].map_flags &&
		      !strcmp(now.name, before[i].name), "map %d is another", i);
	}
	for (unsigned i = 0; i < 10; i++) {
		memset(value, 0, sizeof(value));
		CHECK(!get(array, &i, value) && value[0] == (char)(i + 1) && value[11] == (char)(i + 1), "element %u", i);
	}
	for (unsigned i = 0; i < 1500; i++) {
		memcpy(key, (unsigned[]){ i, 7 }, 6);
		CHECK(!get(hash, key, &eight) && eight == i * 3ull, "key %u", i);
	}
	CHECK(get(empty, (unsigned[]){ 0 }, &n) == -1 && errno == ENOENT, "something is in the empty map");
	for (unsigned i = 0; i < 3; i++) {
		CHECK(!get(cpus, &i, per) && (unsigned)per[0] == i * 100 && (unsigned)per[1] == i * 100 + 1, "per-CPU element %u", i);
		CHECK(!get(lru, &i, &n) && n == i + 50, "LRU element %u", i);
	}
	CHECK(!get(frozen, (unsigned[]){ 1 }, &eight) && eight == 0x123456789ull, "frozen element");
	CHECK(put(frozen, (unsigned[]){ 0 }, &eight) == -1 && errno == EPERM, "it is not frozen");
	prefix.len = 32;
	prefix.a[3] = 9;
	CHECK(!get(trie, &prefix, &n) && n == 77, "prefix");
	/* One map, open three times. */
	memset(key, 0xee, 6);
	eight = 5;
	CHECK(!put(second, key, &eight), "second: %s", strerror(errno));
	eight = 0;
	CHECK(!get(reader, key, &eight) && eight == 5 && !get(hash, key, &eight), "the descriptors are different maps");
	CHECK(put(reader, key, &eight) == -1 && errno == EPERM, "the reader writes");
}

static int load(int map)
{
	struct bpf_insn with[] = {
		{ .code = 0x18 /* BPF_LD_IMM64 */, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map }, { 0 },
		{ .code = 0xb7, .dst_reg = 0, .imm = 1 }, { .code = 0x95 } };
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uintptr_t)with, .insn_cnt = 4, .license = (uintptr_t)"x" };

	return bpf(BPF_PROG_LOAD, &attr);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "maps";

	check_begin(argc, argv);
	if (!strcmp(mode, "maps")) {
		maps();
	} else if (!strcmp(mode, "queue")) {
		make(BPF_MAP_TYPE_QUEUE, 0, 4, 4, 0, "queue");
		check_ready();
	} else if (!strcmp(mode, "used")) {
		MUST(load(make(BPF_MAP_TYPE_ARRAY, 4, 4, 4, 0, "used")));
		check_ready();
	} else {
		DIE("no such mode");
	}
	return check_end();
}
