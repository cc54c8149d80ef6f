/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_live_change.c - codecs and limits changed under a guest at work: what it put
 * before comes back, what it puts afterwards follows the change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hosting.h"

#define PAGES		256u

static const char *const guests[] = { "changed", "bystander", NULL };
static struct hosting host;

static void put_all(struct front *f, uint64_t first)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	for (uint64_t n = first; n < first + PAGES; n++) {
		struct front_key key = key_of(0, n);

		/* Not same-filled: every page has to be compressed. */
		page_fill(page, n * 13 + 1);
		assert_int_equal(front_put(front_queue_of(f, &key), &key, page, n), TMEMP_OK);
	}
}

static void get_all(struct front *f, uint64_t first)
{
	uint8_t page[TMEMP_PAGE_SIZE];

	for (uint64_t n = first; n < first + PAGES; n++) {
		struct front_key key = key_of(0, n);
		uint64_t tag;

		assert_int_equal(front_get(front_queue_of(f, &key), &key, page, &tag), TMEMP_OK);
		assert_true(page_is(page, n * 13 + 1));
		assert_int_equal(tag, n);
	}
}

static void set(const char *guest, const char *codec)
{
	char request[160];
	json_t *answer;

	snprintf(request, sizeof(request), "{\"verb\":\"set\",\"guest\":\"%s\",\"values\":"
		 "{\"codec-persistent\":\"%s\",\"codec-ephemeral\":\"%s\"}}", guest, codec, codec);
	answer = hosting_ask(&host, request);
	assert_non_null(answer);
	json_decref(answer);
}

static void a_codec_changes_under_a_guest(void **unused)
{
	static const char *const codecs[] = { "lzo", "lz4", "zstd" };
	long long before = 0, size[3];
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(&host, "changed", path);
	struct front *f;

	(void)unused;
	assert_int_equal(front_open(&f, &c), 0);
	assert_int_equal(front_pool_create(f, 0, TMEMP_POOL_PERSISTENT), 0);
	for (unsigned i = 0; i < 3; i++) {
		long long now;

		set("changed", codecs[i]);
		put_all(f, i * PAGES);
		now = hosting_number(&host, "changed", "stored_bytes");
		size[i] = now - before;
		before = now;
	}
	/* The same kind of pages take another room with each. */
	assert_true(size[0] != size[1] && size[1] != size[2] && size[0] != size[2]);
	/* Each page is read by what it was written with. */
	for (unsigned i = 0; i < 3; i++)
		get_all(f, i * PAGES);
	/* Put anew, they take what the last one makes of them. */
	put_all(f, 0);
	put_all(f, PAGES);
	assert_in_range(hosting_number(&host, "changed", "stored_bytes"), 3 * size[2] * 98 / 100,
			3 * size[2] * 102 / 100);
	get_all(f, 0);
	front_destroy(f);
	assert_true(hosting_check(&host));
}

/* Back and forth beneath one that verifies every page. */
static void codecs_change_all_the_time(void **unused)
{
	static const char *const codecs[] = { "zstd", "lz4", "lzo" };

	(void)unused;
	for (unsigned i = 0; i < 300 / HOSTING_SLOW; i++)
		set("bystander", codecs[i % 3]);
	assert_true(hosting_check(&host));
}

static int group_setup(void **unused)
{
	(void)unused;
	return hosting_start(&host, guests, NULL) || hosting_bystander_start(&host, "bystander");
}

static int group_teardown(void **unused)
{
	(void)unused;
	return hosting_stop(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_codec_changes_under_a_guest),
		cmocka_unit_test(codecs_change_all_the_time),
	};

	return cmocka_run_group_tests_name("live_change", tests, group_setup, group_teardown);
}
