/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/kernel_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static enum config_arch arch_of(const struct text *name)
{
	if (text_equals(name, "x86") || text_equals(name, "x86_64"))
		return CONFIG_ARCH_X86_64;
	return text_equals(name, "arm64") ? CONFIG_ARCH_AARCH64 : CONFIG_ARCH_OTHER;
}

/* "# Linux/x86 6.1.192 Kernel Configuration": what the kernel's tools write on top of every whole configuration. */
static void take_header(struct text line, struct kernel_config *c)
{
	struct text arch, release, digits;
	uint32_t major, minor;

	if (!text_literal(&line, "# Linux/") || !text_until(&line, ' ', &arch) || !text_until(&line, ' ', &release) ||
	    !text_equals(&line, "Kernel Configuration"))
		return;
	digits = release;
	if (!text_u32(&digits, 10, &major) || !text_char(&digits, '.') || !text_u32(&digits, 10, &minor) ||
	    major > 1000 || minor > 99 || text_len(&release) >= sizeof(c->release))
		return;
	c->whole = true;
	c->arch = arch_of(&arch);
	c->version = CONFIG_VERSION(major, minor);
	memset(c->release, 0, sizeof(c->release));
	memcpy(c->release, release.p, text_len(&release));
	for (char *p = c->release; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static bool option_name(struct text *line, struct text *ret)
{
	ret->p = line->p;
	if (!text_literal(line, "CONFIG_"))
		return false;
	while (!text_empty(line) && ((*line->p >= 'A' && *line->p <= 'Z') || (*line->p >= 'a' && *line->p <= 'z') ||
				     (*line->p >= '0' && *line->p <= '9') || *line->p == '_'))
		line->p++;
	ret->end = line->p;
	return text_len(ret) > strlen("CONFIG_");
}

static void trim(struct text *t)
{
	while (!text_empty(t) && (t->end[-1] == ' ' || t->end[-1] == '\t' || t->end[-1] == '\r'))
		t->end--;
}

/* An unknown option may have any value. */
static int set(struct kernel_config *c, const struct text *name, struct text value, const char *file, size_t line,
	       struct error *e)
{
	int i = config_option_find(name->p, text_len(name));
	enum config_value v;

	c->n_settings++;
	if (text_equals(&value, "y") && text_equals(name, "CONFIG_X86_64"))
		c->arch = CONFIG_ARCH_X86_64;
	if (text_equals(&value, "y") && text_equals(name, "CONFIG_ARM64"))
		c->arch = CONFIG_ARCH_AARCH64;
	if (i < 0 || i >= CONFIG_OPTIONS_MAX)
		return 0;
	if (text_equals(&value, "y")) {
		v = CONFIG_YES;
	} else if (text_equals(&value, "n")) {
		v = CONFIG_NO;
	} else if (text_equals(&value, "m") && config_options[i].module) {
		v = CONFIG_MODULE;
	} else {
		error_raise(e, EBADMSG, "%s, line %zu: %s cannot have that value", file, line, config_options[i].name);
		error_hint(e, config_options[i].module ? "It is y, m or n." : "It is y or n.");
		return -EBADMSG;
	}
	c->twice[i] = c->values[i] != CONFIG_UNMENTIONED && (c->twice[i] || c->values[i] != v);
	c->values[i] = (uint8_t)v;
	return 0;
}

int parse_kernel_config(const char *text, size_t len, const char *name, struct kernel_config *ret, struct error *e)
{
	static const struct text no = { "n", &"n"[1] };
	struct kernel_config c = { 0 };
	struct text all = text_of(text, len), line, option;
	int r = 0;

	if (memchr(text, 0, len))
		return error_raise(e, EBADMSG, "%s: not a kernel configuration: it is no text", name);
	for (size_t n = 1; r == 0 && text_line(&all, &line); n++) {
		trim(&line);
		take_header(line, &c);
		if (text_literal(&line, "# ")) {
			if (option_name(&line, &option) && text_equals(&line, " is not set"))
				r = set(&c, &option, no, name, n, e);
		} else if (option_name(&line, &option) && text_char(&line, '=')) {
			r = set(&c, &option, line, name, n, e);
		}
	}
	if (r)
		return r;
	if (!c.n_settings)
		return error_raise(e, EBADMSG, "%s: not a kernel configuration: no line sets an option", name);
	*ret = c;
	return 0;
}

enum config_state kernel_config_state(const struct kernel_config *c, size_t i)
{
	const struct config_option *o = &config_options[i];
	int other;

	switch ((enum config_value)c->values[i]) {
	case CONFIG_YES:
		return CONFIG_STATE_YES;
	case CONFIG_MODULE:
		return CONFIG_STATE_MODULE;
	case CONFIG_NO:
		return CONFIG_STATE_NOT_SET;
	case CONFIG_UNMENTIONED:
		break;
	}
	if ((o->arch != CONFIG_ARCH_ANY && c->arch != CONFIG_ARCH_ANY && o->arch != c->arch) ||
	    (c->version && c->version < o->since))
		return CONFIG_STATE_ELSEWHERE;
	if (c->whole)
		return CONFIG_STATE_ABSENT;
	other = o->implied_by ? config_option_find(o->implied_by, strlen(o->implied_by)) : -1;
	return other >= 0 && c->values[other] >= CONFIG_MODULE ? CONFIG_STATE_IMPLIED : CONFIG_STATE_NOT_MENTIONED;
}
