/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bpfmap-data.pb-c.h"
#include "bpfmap-file.pb-c.h"
#include "kernel/procfs.h"
#include "kinds/common.h"
#include "kinds/registry.h"
#include "watch/recorder.h"

/*
 * BPF maps: arrays and hash tables of all sorts, with their content. A map may be open several times; bpfmap-data.img
 * has it once.
 *
 * A restored map is a new one, so a map that a loaded program uses is refused: the program would go on with the old one.
 * Maps with type information (BTF) are refused as well: their values may hold locks and timers.
 *
 * The descriptor may be for reading or writing alone, so content is read and written through one of firn's own, which
 * the map's id gives (Linux 4.13, needs CAP_SYS_ADMIN).
 */
#define CONTENT_MAX (UINT64_C(900) << 20) /* of one image */
#define BTF_OR_VALUE(info) ((info)->btf_id || (info)->btf_vmlinux_value_type_id)

struct bpf_map {
	struct bpf_map *next;
	uint32_t id; /* in the images */
	const BpfmapFileEntry *m;
	const char *describe;
	BpfmapDataEntry *data; /* restore; NULL: nothing in it */
	const uint8_t *keys, *values;
	int fd; /* restore: for reading and writing */
};

static int bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

static bool is_array(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static bool is_carried(uint32_t type)
{
	return is_array(type) || type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LPM_TRIE;
}

static bool map_recognise(const struct fd_facts *f)
{
	return strcmp(f->link, "anon_inode:bpf-map") == 0;
}

/* The last number of "0-3": CPUs that may ever be there each have a value in a per-CPU map. */
static unsigned possible_cpus(void)
{
	AUTOFREE char *text = NULL;
	const char *last;
	size_t len;

	if (procfs_read(AT_FDCWD, "/sys/devices/system/cpu/possible", 4096, &text, &len) < 0)
		return 0;
	last = text + len;
	while (last > text && last[-1] != '-' && last[-1] != ',')
		last--;
	return (unsigned)strtoul(last, NULL, 10) + 1;
}

/* How many bytes a value has for user space. */
static uint64_t value_bytes(const BpfmapFileEntry *m)
{
	if (m->map_type != BPF_MAP_TYPE_PERCPU_ARRAY && m->map_type != BPF_MAP_TYPE_PERCPU_HASH)
		return m->value_size;
	return ((uint64_t)m->value_size + 7) / 8 * 8 * possible_cpus();
}

static int get_info(struct operation *op, const struct fd_facts *f, struct bpf_map_info *info)
{
	union bpf_attr attr = {
		.info = { .bpf_fd = (uint32_t)f->fd, .info_len = sizeof(*info), .info = (uintptr_t)info }
	};
	int r;

	memset(info, 0, sizeof(*info));
	r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	return r < 0 ? error_raise_call(op->error, -r, "bpf(BPF_OBJ_GET_INFO_BY_FD)", "%s", facts_describe(op, f)) : 0;
}

/* Does the program use the map? -errno, not raised. */
static int program_uses(uint32_t program, uint32_t map)
{
	union bpf_attr attr = { .prog_id = program };
	struct bpf_prog_info info = { 0 };
	AUTOFREE uint32_t *ids = NULL;
	AUTOCLOSE int fd = -1;
	int r;

	fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	if (r < 0 || info.nr_map_ids == 0)
		return r;
	ids = calloc(info.nr_map_ids, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	r = (int)info.nr_map_ids;
	memset(&info, 0, sizeof(info));
	info.nr_map_ids = (uint32_t)r;
	info.map_ids = (uintptr_t)ids;
	r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	for (uint32_t i = 0; r == 0 && i < info.nr_map_ids; i++) {
		if (ids[i] == map)
			return 1;
	}
	return r;
}

static int check_programs(struct operation *op, const struct fd_facts *f, uint32_t map)
{
	union bpf_attr attr = { .start_id = 0 };
	int r;

	while ((r = bpf(BPF_PROG_GET_NEXT_ID, &attr)) == 0) {
		uint32_t program = attr.next_id;

		r = program_uses(program, map);
		if (r < 0)
			break;
		if (r > 0) {
			(void)error_raise(op->error, EOPNOTSUPP, "%s: a BPF map that program %u uses is not carried",
					  facts_describe(op, f), program);
			error_hint(op->error,
				   "BPF programs cannot be restored: unload it before the dump (bpftool prog).");
			return -EOPNOTSUPP;
		}
		memset(&attr, 0, sizeof(attr));
		attr.start_id = program;
	}
	return r == -ENOENT ? 0
			    : error_raise_call(op->error, -r, "bpf", "the programs that use %s", facts_describe(op, f));
}

static int map_check(struct operation *op, const struct fd_facts *f)
{
	struct bpf_map_info info;
	int r = get_info(op, f, &info);

	if (r < 0)
		return r;
	if (!is_carried(info.type) || info.ifindex != 0 || BTF_OR_VALUE(&info)) {
		(void)error_raise(op->error, EOPNOTSUPP, "%s: a BPF map \"%s\" of type %u%s is not carried",
				  facts_describe(op, f), info.name, info.type,
				  info.ifindex		? " in a network card"
				  : BTF_OR_VALUE(&info) ? " with BTF"
							: "");
		error_hint(op->error, "Arrays and hash tables without type information are.");
		return -EOPNOTSUPP;
	}
	return check_programs(op, f, info.id);
}

static int map_dump(struct operation *op, struct file *f)
{
	BpfmapFileEntry *m = arena_alloc(&op->arena, sizeof(*m));
	struct bpf_map **list = (struct bpf_map **)files_kind_state(op, &kind_bpf_map), *map;
	struct bpf_map_info info;
	uint64_t value;
	int r;

	if (!m)
		return raise_no_memory(op);
	r = get_info(op, &f->facts, &info);
	if (r < 0)
		return r;
	bpfmap_file_entry__init(m);
	m->id = f->id;
	m->flags = f->facts.info.flags & ~(uint32_t)O_CLOEXEC;
	m->pos = f->facts.info.pos;
	m->map_type = info.type;
	m->map_id = info.id;
	m->key_size = info.key_size;
	m->value_size = info.value_size;
	m->max_entries = info.max_entries;
	m->map_flags = info.map_flags;
	m->has_map_extra = true;
	m->map_extra = info.map_extra;
	m->memlock = fdinfo_value(&f->facts, "memlock", 10, &value) ? value : 0;
	m->frozen = fdinfo_value(&f->facts, "frozen", 10, &value) && value;
	m->map_name = arena_strdup(&op->arena, info.name);
	if (!m->map_name || fown_fill(&f->facts, &m->fown, &op->arena) < 0)
		return raise_no_memory(op);
	f->entry->bpf = m;
	for (map = *list; map; map = map->next) {
		if (map->id == m->map_id)
			return 0;
	}
	map = arena_alloc(&op->arena, sizeof(*map));
	if (!map)
		return raise_no_memory(op);
	*map = (struct bpf_map){ .next = *list, .id = m->map_id, .m = m, .describe = f->describe, .fd = -1 };
	*list = map;
	return 0;
}

/* ---- content ---- */

struct content {
	uint8_t *keys, *values; /* malloc'd */
	size_t n, room;
};

static int content_room(struct content *c, uint64_t key_size, uint64_t value_size)
{
	size_t room = c->room ? c->room * 2 : 64;
	void *p;

	if (c->n < c->room)
		return 0;
	if (room * (key_size + value_size) > 2 * CONTENT_MAX)
		return -EFBIG;
	p = realloc(c->keys, room * key_size);
	if (!p)
		return -ENOMEM;
	c->keys = p;
	p = realloc(c->values, room * value_size);
	if (!p)
		return -ENOMEM;
	c->values = p;
	c->room = room;
	return 0;
}

/* The tree is frozen, and no program uses the map: it stays as it is while it is read. */
static int read_content(int fd, const BpfmapFileEntry *m, struct content *c)
{
	uint64_t size = value_bytes(m);
	int r;

	for (;;) {
		union bpf_attr attr = { .map_fd = (uint32_t)fd };

		if (recorder_cancelled())
			return -ECANCELED;
		r = content_room(c, m->key_size, size);
		if (r < 0)
			return r;
		attr.key = c->n ? (uintptr_t)(c->keys + (c->n - 1) * m->key_size) : 0;
		attr.next_key = (uintptr_t)(c->keys + c->n * m->key_size);
		r = bpf(BPF_MAP_GET_NEXT_KEY, &attr);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (uint32_t)fd;
		attr.key = (uintptr_t)(c->keys + c->n * m->key_size);
		attr.value = (uintptr_t)(c->values + c->n * size);
		r = bpf(BPF_MAP_LOOKUP_ELEM, &attr);
		if (r < 0)
			return r;
		c->n++;
	}
}

static int write_content(struct operation *op, struct image_writer *w, const struct bpf_map *map,
			 const struct content *c)
{
	BpfmapDataEntry e = BPFMAP_DATA_ENTRY__INIT;
	int r;

	e.map_id = map->id;
	e.count = (uint32_t)c->n;
	if (c->n * (map->m->key_size + value_bytes(map->m)) > CONTENT_MAX)
		return error_raise(op->error, EFBIG, "%s: the content of the BPF map is larger than an image may be",
				   map->describe);
	e.keys_bytes = (uint32_t)(c->n * map->m->key_size);
	e.values_bytes = (uint32_t)(c->n * value_bytes(map->m));
	r = image_write(w, &e.base, op->error);
	if (r == 0)
		r = image_write_raw(w, c->keys, e.keys_bytes, op->error);
	return r == 0 ? image_write_raw(w, c->values, e.values_bytes, op->error) : r;
}

static int dump_content(struct operation *op, struct image_writer *w, const struct bpf_map *map)
{
	union bpf_attr attr = { .map_id = map->id };
	struct content c = { 0 };
	AUTOCLOSE int fd = -1;
	int r;

	recorder_step(0, NULL, "bpf", "the content of %s", map->describe);
	fd = bpf(BPF_MAP_GET_FD_BY_ID, &attr);
	if (fd < 0)
		return error_raise_call(op->error, -fd, "bpf(BPF_MAP_GET_FD_BY_ID)", "%s", map->describe);
	r = read_content(fd, map->m, &c);
	if (r < 0)
		r = error_raise_call(op->error, -r, "bpf", "the content of %s", map->describe);
	else if (c.n > 0)
		r = write_content(op, w, map, &c);
	free(c.keys);
	free(c.values);
	return r;
}

static int map_dump_all(struct operation *op)
{
	struct image_writer w = { 0 };
	int r;

	r = image_writer_open(&w, &op->images, IMAGE_BPFMAP_DATA, 0, op->error);
	for (struct bpf_map *map = *files_kind_state(op, &kind_bpf_map); r == 0 && map; map = map->next)
		r = dump_content(op, &w, map);
	if (r == 0)
		r = image_writer_close(&w, op->error);
	image_writer_discard(&w);
	return r;
}

/* ---- restore ---- */

static struct bpf_map *map_of(struct operation *op, uint32_t id)
{
	struct bpf_map **list = (struct bpf_map **)files_kind_state(op, &kind_bpf_map), *map;

	for (map = *list; map; map = map->next) {
		if (map->id == id)
			return map;
	}
	map = arena_alloc(&op->arena, sizeof(*map));
	if (!map)
		return NULL;
	*map = (struct bpf_map){ .next = *list, .id = id, .fd = -1 };
	*list = map;
	return map;
}

static int map_load_all(struct operation *op)
{
	struct image_reader reader = { 0 };
	ProtobufCMessage *message;
	int r;

	r = image_reader_open_if_there(&reader, &op->images, IMAGE_BPFMAP_DATA, 0, &op->arena, op->error);
	while (r >= 0 && (r = image_read(&reader, &bpfmap_data_entry__descriptor, &message, op->error)) > 0) {
		BpfmapDataEntry *e = (BpfmapDataEntry *)message;
		struct bpf_map *map = map_of(op, e->map_id);

		if (!map)
			return raise_no_memory(op);
		if (map->data)
			return error_raise(op->error, EBADMSG, "%s: BPF map %u has its content twice", reader.name,
					   e->map_id);
		map->data = e;
		r = image_read_raw(&reader, e->keys_bytes, &map->keys, op->error);
		if (r == 0)
			r = image_read_raw(&reader, e->values_bytes, &map->values, op->error);
	}
	return r;
}

static void map_describe(const FileEntry *entry, char *buf, size_t size)
{
	const BpfmapFileEntry *m = entry->bpf;

	if (m)
		(void)snprintf(buf, size, "BPF map %u \"%.16s\", type %u, %u entries", m->map_id, m->map_name,
			       m->map_type, m->max_entries);
}

static bool same_map(const BpfmapFileEntry *a, const BpfmapFileEntry *b)
{
	return a->map_type == b->map_type && a->key_size == b->key_size && a->value_size == b->value_size &&
	       a->max_entries == b->max_entries && a->map_flags == b->map_flags && a->frozen == b->frozen;
}

static int map_decode(struct operation *op, struct file *f)
{
	const BpfmapFileEntry *m = f->entry->bpf;
	struct bpf_map *map;
	char text[160] = "BPF map";

	if (!m || m->id != f->id || !m->fown || m->key_size == 0 || m->key_size > UINT16_MAX || m->max_entries == 0 ||
	    strlen(m->map_name) >= BPF_OBJ_NAME_LEN)
		return raise_damaged(op, f, "the BPF map");
	if (!is_carried(m->map_type) || m->ifindex != 0)
		return error_raise(op->error, EOPNOTSUPP, "files.img: file %u: a BPF map of type %u is not carried",
				   f->id, m->map_type);
	if (m->max_entries * ((uint64_t)m->key_size + m->value_size) > UINT64_C(4) << 30)
		return raise_damaged(op, f, "the size of a BPF map");
	map = map_of(op, m->map_id);
	if (!map)
		return raise_no_memory(op);
	if (map->m && !same_map(map->m, m))
		return raise_damaged(op, f, "one of two descriptors of a BPF map");
	map->m = m;
	if (map->data &&
	    (map->data->count > m->max_entries || map->data->keys_bytes != (uint64_t)map->data->count * m->key_size ||
	     map->data->values_bytes != map->data->count * value_bytes(m)))
		return raise_damaged(op, f, "the content of a BPF map (for as many CPUs as this machine may have)");
	map_describe(f->entry, text, sizeof(text));
	f->describe = map->describe = arena_strdup(&op->arena, text);
	f->state = map;
	return f->describe ? 0 : raise_no_memory(op);
}

static int fill(struct operation *op, const struct bpf_map *map)
{
	uint64_t size = value_bytes(map->m);
	int r = 0;

	for (uint32_t i = 0; map->data && i < map->data->count && r == 0; i++) {
		union bpf_attr attr = { .map_fd = (uint32_t)map->fd };

		if (recorder_cancelled())
			return error_raise(op->error, ECANCELED, "cancelled while %s was filled", map->describe);
		attr.key = (uintptr_t)(map->keys + (uint64_t)i * map->m->key_size);
		attr.value = (uintptr_t)(map->values + i * size);
		r = bpf(BPF_MAP_UPDATE_ELEM, &attr);
	}
	if (r == 0 && map->m->frozen) {
		union bpf_attr attr = { .map_fd = (uint32_t)map->fd };

		r = bpf(BPF_MAP_FREEZE, &attr);
	}
	return r < 0 ? error_raise_call(op->error, -r, "bpf", "the content of %s", map->describe) : 0;
}

static int make(struct operation *op, struct bpf_map *map)
{
	const BpfmapFileEntry *m = map->m;
	union bpf_attr attr = { .map_type = m->map_type,
				.key_size = m->key_size,
				.value_size = m->value_size,
				.max_entries = m->max_entries,
				.map_flags = m->map_flags,
				.map_extra = m->has_map_extra ? m->map_extra : 0 };

	memcpy(attr.map_name, m->map_name, strlen(m->map_name));
	map->fd = bpf(BPF_MAP_CREATE, &attr);
	if (map->fd < 0)
		return error_raise_call(op->error, -map->fd, "bpf(BPF_MAP_CREATE)", "%s", map->describe);
	return fill(op, map);
}

static int map_create(struct operation *op, struct file *f)
{
	const BpfmapFileEntry *m = f->entry->bpf;
	struct bpf_map *map = f->state;
	struct bpf_map_info info = { 0 };
	union bpf_attr attr = { 0 };
	int r;

	if (map->fd < 0) {
		r = make(op, map);
		if (r < 0)
			return r;
	}
	attr.info.bpf_fd = (uint32_t)map->fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	if (r < 0)
		return error_raise_call(op->error, -r, "bpf(BPF_OBJ_GET_INFO_BY_FD)", "%s", f->describe);
	memset(&attr, 0, sizeof(attr));
	attr.map_id = info.id;
	attr.open_flags = (m->flags & O_ACCMODE) == O_RDONLY   ? BPF_F_RDONLY
			  : (m->flags & O_ACCMODE) == O_WRONLY ? BPF_F_WRONLY
							       : 0;
	f->fd = bpf(BPF_MAP_GET_FD_BY_ID, &attr);
	if (f->fd < 0) {
		r = f->fd;
		f->fd = -1;
		return error_raise_call(op->error, -r, "bpf(BPF_MAP_GET_FD_BY_ID)", "%s", f->describe);
	}
	return 0;
}

static int map_finish(struct operation *op, struct file *f)
{
	const BpfmapFileEntry *m = f->entry->bpf;
	int r = file_set_flags(op, f, m->flags);

	return r == 0 ? fown_apply(op, f->fd, m->fown, f->describe) : r;
}

static void map_release(struct operation *op, struct file *f)
{
	struct bpf_map *map = f->state;

	(void)op;
	if (map && map->fd >= 0) {
		close(map->fd);
		map->fd = -1;
	}
}

const struct kind kind_bpf_map = {
	.name = "BPF map",
	.type = FD_TYPES__BPFMAP,
	.recognise = map_recognise,
	.check = map_check,
	.dump = map_dump,
	.dump_all = map_dump_all,
	.load_all = map_load_all,
	.decode = map_decode,
	.create = map_create,
	.finish = map_finish,
	.release = map_release,
	.describe = map_describe,
};
