/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_procfs.c - any bytes as the kernel's texts about memory.  The first byte
 * says which one; a NUL parts the two texts of cgroup membership.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "procfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static void cgroup_check(const char *text, size_t length)
{
	size_t first = strlen(text);
	struct procfs_cgroup c;

	if (procfs_cgroup_find(text, first < length ? text + first + 1 : "", &c))
		return;
	require(c.version == 1 || c.version == 2);
	require(strnlen(c.dir, sizeof(c.dir)) < sizeof(c.dir));
	require(c.root_length <= strlen(c.dir));
}

static void text_check(uint8_t which, const char *text, size_t length)
{
	struct policy_psi psi = { .known = false };
	uint64_t a = 0, b = 0;

	switch (which % 5) {
	case 0:
		require(procfs_meminfo_parse(text, &a, &b) || a > 0);
		break;
	case 1:
		require(procfs_psi_parse(text, &psi) ||
			(psi.known && psi.some_avg10 <= 10099 && psi.full_avg10 <= 10099));
		break;
	case 2:
		require(procfs_limit_parse(text, &a) || a == POLICY_NO_LIMIT || a < 1ull << 62);
		break;
	case 3:
		procfs_stat_parse(text, "inactive_file", &a);
		break;
	case 4:
		cgroup_check(text, length);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0)
		return 0;
	/* A buffer of its own length, so that a step beyond the NUL is seen. */
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	text_check(data[0], text, size - 1);
	free(text);
	return 0;
}
