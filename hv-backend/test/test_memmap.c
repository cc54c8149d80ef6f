// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_memmap.c - what memmap_pointer() gives out, and what the table takes in.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memmap.h"
#include "sigbus.h"

#define PAGE 4096u

static int file_of(size_t bytes)
{
	int fd = memfd_create("memmap", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static int add(struct memmap *m, int fd, uint64_t guest, uint64_t size, uint64_t user,
	       uint64_t offset)
{
	struct memmap_spec s = { .guest = guest, .size = size, .user = user, .offset = offset };

	return memmap_add(m, &s, fd);
}

static void test_pointer_stays_within_a_region(void **state)
{
	struct memmap m = { .count = 0 };
	int fd = file_of(4 * PAGE);
	uint8_t *base;

	(void)state;
	assert_int_equal(add(&m, fd, 0x10000, 2 * PAGE, 0x500000, 0), 0);
	/* The next region touches the first in guest addresses, not in the file. */
	assert_int_equal(add(&m, fd, 0x10000 + 2 * PAGE, PAGE, 0x900000, 3 * PAGE), 0);
	base = memmap_pointer(&m, MEMMAP_GUEST, 0x10000, 2 * PAGE);
	assert_non_null(base);
	assert_ptr_equal(memmap_pointer(&m, MEMMAP_GUEST, 0x10000 + 2 * PAGE - 1, 1),
			 base + 2 * PAGE - 1);
	assert_ptr_equal(memmap_pointer(&m, MEMMAP_USER, 0x500010, 16), base + 0x10);
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x10000, 2 * PAGE + 1));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x10000 + 2 * PAGE - 1, 2));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0xffff, 1));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x10000 + 3 * PAGE, 1));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x10000, 0));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x10001, UINT64_MAX));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, UINT64_MAX, UINT64_MAX));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, UINT64_MAX, 1));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x500010, 16));
	memmap_clear(&m);
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0x10000, 1));
	close(fd);
}

static void test_offset_need_not_be_aligned(void **state)
{
	struct memmap m = { .count = 0 };
	int fd = file_of(2 * PAGE);
	char *p;

	(void)state;
	assert_int_equal(pwrite(fd, "here", 4, PAGE + 100), 4);
	assert_int_equal(add(&m, fd, 7, 100, 9, PAGE + 100), 0);
	p = memmap_pointer(&m, MEMMAP_GUEST, 7, 100);
	assert_non_null(p);
	assert_memory_equal(p, "here", 4);
	memmap_clear(&m);
	close(fd);
}

static void test_the_top_of_the_address_space(void **state)
{
	struct memmap m = { .count = 0 };
	int fd = file_of(PAGE);

	(void)state;
	assert_int_equal(add(&m, fd, UINT64_MAX - PAGE + 1, PAGE, 0, 0), 0);
	assert_non_null(memmap_pointer(&m, MEMMAP_GUEST, UINT64_MAX, 1));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, UINT64_MAX, 2));
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, 0, 1));
	memmap_clear(&m);
	close(fd);
}

static void test_bad_regions_are_refused(void **state)
{
	struct memmap m = { .count = 0 };
	int fd = file_of(4 * PAGE), event = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(add(&m, fd, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(add(&m, fd, UINT64_MAX - PAGE + 2, PAGE, 0, 0), -EINVAL);
	assert_int_equal(add(&m, fd, 0, PAGE, UINT64_MAX - PAGE + 2, 0), -EINVAL);
	assert_int_equal(add(&m, fd, 0, PAGE, 0, UINT64_MAX - 1), -EINVAL);
	assert_int_equal(add(&m, fd, 0, 4 * PAGE, 0, 1), -EINVAL);
	assert_int_equal(add(&m, fd, 0, 5 * PAGE, 0, 0), -EINVAL);
	assert_int_equal(add(&m, fd, 0, MEMMAP_BYTES_MAX + 1, 0, 0), -ENOSPC);
	assert_int_equal(add(&m, event, 0, PAGE, 0, 0), -EBADF);
	assert_int_equal(m.count, 0);

	assert_int_equal(add(&m, fd, 10 * PAGE, 2 * PAGE, 10 * PAGE, 0), 0);
	assert_int_equal(add(&m, fd, 11 * PAGE, PAGE, 50 * PAGE, 0), -EEXIST);
	assert_int_equal(add(&m, fd, 9 * PAGE, PAGE + 1, 50 * PAGE, 0), -EEXIST);
	assert_int_equal(add(&m, fd, 50 * PAGE, PAGE, 11 * PAGE, 0), -EEXIST);
	assert_int_equal(add(&m, fd, 9 * PAGE, PAGE, 12 * PAGE, 0), 0);
	assert_int_equal(m.count, 2);
	memmap_clear(&m);
	close(event);
	close(fd);
}

static void test_a_table_has_an_end(void **state)
{
	struct memmap m = { .count = 0 };
	int fd = file_of(PAGE);

	(void)state;
	for (unsigned i = 0; i < MEMMAP_REGIONS_MAX; i++)
		assert_int_equal(add(&m, fd, i * PAGE, PAGE, i * PAGE, 0), 0);
	assert_int_equal(add(&m, fd, 1000 * PAGE, PAGE, 1000 * PAGE, 0), -ENOSPC);
	memmap_clear(&m);
	close(fd);
}

static void test_remove_takes_the_region_named(void **state)
{
	struct memmap m = { .count = 0 };
	int fd = file_of(PAGE);
	struct memmap_spec s = { .guest = PAGE, .size = PAGE, .user = 5 * PAGE };

	(void)state;
	assert_int_equal(memmap_add(&m, &s, fd), 0);
	assert_int_equal(add(&m, fd, 2 * PAGE, PAGE, 6 * PAGE, 0), 0);
	s.user++;
	assert_int_equal(memmap_remove(&m, &s), -ENOENT);
	s.user--;
	assert_int_equal(memmap_remove(&m, &s), 0);
	assert_null(memmap_pointer(&m, MEMMAP_GUEST, PAGE, 1));
	assert_non_null(memmap_pointer(&m, MEMMAP_GUEST, 2 * PAGE, 1));
	memmap_clear(&m);
	close(fd);
}

static void test_a_cut_file_costs_its_own_table_only(void **state)
{
	struct memmap m = { .count = 0 }, other = { .count = 0 };
	int fd = file_of(8 * PAGE), fd2 = file_of(PAGE);
	uint8_t byte = 1;
	uint8_t *p;

	(void)state;
	assert_int_equal(sigbus_init(), 0);
	assert_int_equal(add(&m, fd, 0, 8 * PAGE, 0, 0), 0);
	assert_int_equal(add(&other, fd2, 0, PAGE, 0, 0), 0);
	p = memmap_pointer(&m, MEMMAP_GUEST, 0, 8 * PAGE);
	p[5 * PAGE] = 7;
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_false(memmap_is_cut(&m));
	assert_int_equal(memmap_ring_ops.read(&m, &byte, 5 * PAGE, 1), 0);
	assert_int_equal(byte, 0);
	assert_true(memmap_is_cut(&m));
	assert_false(memmap_is_cut(&other));
	assert_int_equal(memmap_ring_ops.write(&m, 6 * PAGE, &byte, 1), 0);
	memmap_clear(&m);
	memmap_clear(&other);
	close(fd);
	close(fd2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pointer_stays_within_a_region),
		cmocka_unit_test(test_offset_need_not_be_aligned),
		cmocka_unit_test(test_the_top_of_the_address_space),
		cmocka_unit_test(test_bad_regions_are_refused),
		cmocka_unit_test(test_a_table_has_an_end),
		cmocka_unit_test(test_remove_takes_the_region_named),
		cmocka_unit_test(test_a_cut_file_costs_its_own_table_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
