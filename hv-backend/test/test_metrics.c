/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_metrics.c - a snapshot with known numbers, and the lines it must become.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics.h"

static struct metrics_guest guests[2] = {
	{
		.name = "web-1", .state = HV_GUEST_READY, .requests = 11, .failures = 12,
		.client = {
			.quota = { .weight = 300, .min = 4096, .max = 8192,
				   .persistent_max = TMEM_NO_LIMIT },
			.share_permille = 1025,
			.kind = {
				[TMEM_EPHEMERAL] = { .pages = 5, .puts_refused_pressure = 6 },
				[TMEM_PERSISTENT] = { .pages = 7, .bytes_physical = 8,
						      .puts_failed_nomem = 9 },
			},
		},
	},
	{
		.name = "db", .state = HV_GUEST_LISTENING,
		.client = { .quota = { .max = TMEM_NO_LIMIT, .persistent_max = 77 },
			    .frozen = true },
	},
};

static struct metrics snapshot(void)
{
	return (struct metrics){
		.guests = guests, .count = 2, .frame = 4096,
		.store = { .frames_zbud = 2, .frames_returned = 3, .chunk_size = 16, .chunks = 257,
			   .chunk_cumulative = { [16] = 2, [17] = 1, [256] = 1 },
			   .zs_class_now = { [1] = 4, [256] = 5 } },
		.limits = { .target = 1000, .accept_persistent = true },
		.workers = { .workers = 4, .worker_busy_ns = 1002003004,
			     .latency = { .count = { [LATENCY_GET] = { [8] = 3, [9] = 1, [31] = 1 } },
					  .ns = { [LATENCY_GET] = 2000000001 } } },
		.pressure = { .decision = { .reason = POLICY_SHRINK, .available = 55 },
			      .inputs.host.psi = { .known = true, .some_us = 1500000 } },
	};
}

static char *text_of(const struct metrics *m)
{
	char *text = metrics_text(m);

	assert_non_null(text);
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t length = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at++) {
		if ((at == text || at[-1] == '\n') && at[length] == '\n')
			return true;
	}
	return false;
}

static void numbers_stand_under_their_names(void **unused)
{
	static const char *const lines[] = {
		"tmem_guest_pages{guest=\"web-1\",kind=\"ephemeral\"} 5",
		"tmem_guest_pages{guest=\"web-1\",kind=\"persistent\"} 7",
		"tmem_guest_pages{guest=\"db\",kind=\"persistent\"} 0",
		"tmem_guest_physical_bytes{guest=\"web-1\",kind=\"persistent\"} 8",
		"tmem_guest_puts_refused_total{guest=\"web-1\",kind=\"ephemeral\",reason=\"pressure\"} 6",
		"tmem_guest_puts_refused_total{guest=\"web-1\",kind=\"persistent\",reason=\"no_memory\"} 9",
		"tmem_guest_min_bytes{guest=\"web-1\"} 4096",
		"tmem_guest_max_bytes{guest=\"web-1\"} 8192",
		"tmem_guest_persistent_max_bytes{guest=\"db\"} 77",
		"tmem_guest_requests_total{guest=\"web-1\"} 11",
		"tmem_guest_connection_failures_total{guest=\"web-1\"} 12",
		"tmem_guest_weight{guest=\"web-1\"} 300",
		"tmem_guest_share_ratio{guest=\"web-1\"} 1.025",
		"tmem_guest_ready{guest=\"web-1\"} 1",
		"tmem_guest_ready{guest=\"db\"} 0",
		"tmem_guest_frozen{guest=\"db\"} 1",
		"tmem_arena_target_bytes 1000",
		"tmem_arena_frames_bytes{state=\"ephemeral\"} 8192",
		"tmem_returned_bytes_total 12288",
		"tmem_accepts_puts{kind=\"ephemeral\"} 0",
		"tmem_accepts_puts{kind=\"persistent\"} 1",
		"tmem_workers 4",
		"tmem_worker_busy_seconds_total 1.002003004",
		"tmem_pressure_reason{reason=\"shrink\"} 1",
		"tmem_pressure_reason{reason=\"room\"} 0",
		"tmem_pressure_available_bytes 55",
		"tmem_host_stall_some_seconds_total 1.500000000",
		"tmem_request_duration_seconds_bucket{op=\"get\",le=\"0.000000256\"} 3",
		"tmem_request_duration_seconds_bucket{op=\"get\",le=\"0.000000512\"} 4",
		"tmem_request_duration_seconds_bucket{op=\"get\",le=\"0.268435456\"} 4",
		"tmem_request_duration_seconds_bucket{op=\"get\",le=\"+Inf\"} 5",
		"tmem_request_duration_seconds_count{op=\"get\"} 5",
		"tmem_request_duration_seconds_sum{op=\"get\"} 2.000000001",
		"tmem_stored_page_bytes_bucket{kind=\"ephemeral\",le=\"256\"} 2",
		"tmem_stored_page_bytes_bucket{kind=\"ephemeral\",le=\"512\"} 3",
		"tmem_stored_page_bytes_bucket{kind=\"ephemeral\",le=\"+Inf\"} 4",
		"tmem_stored_page_bytes_sum{kind=\"ephemeral\"} 4880",
		"tmem_held_pages{kind=\"persistent\",to_bytes=\"256\"} 4",
		"tmem_held_pages{kind=\"persistent\",to_bytes=\"4096\"} 5",
	};
	struct metrics m = snapshot();
	char *text = text_of(&m);

	(void)unused;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!has_line(text, lines[i]))
			fail_msg("no line: %s", lines[i]);
	}
	free(text);
}

static void no_limit_is_no_sample(void **unused)
{
	struct metrics m = snapshot();
	char *text = text_of(&m);

	(void)unused;
	assert_null(strstr(text, "18446744073709551615"));
	assert_null(strstr(text, "tmem_guest_max_bytes{guest=\"db\"}"));
	free(text);
}

static void a_policy_that_is_off_measures_nothing(void **unused)
{
	struct metrics m = snapshot();
	char *text;

	(void)unused;
	m.pressure.decision.reason = POLICY_OFF;
	text = text_of(&m);
	assert_null(strstr(text, "tmem_pressure_available_bytes"));
	assert_true(has_line(text, "tmem_pressure_reason{reason=\"off\"} 1"));
	free(text);
}

static void no_guests_are_no_samples(void **unused)
{
	struct metrics m = snapshot();
	char *text;

	(void)unused;
	m.count = 0;
	text = text_of(&m);
	assert_null(strstr(text, "{guest="));
	assert_true(has_line(text, "# TYPE tmem_guest_pages gauge"));
	free(text);
}

/* Each family begins once and all of its samples follow it. */
static void families_are_whole(void **unused)
{
	struct metrics m = snapshot();
	char *text = text_of(&m), *line, *save = NULL, current[128] = "";
	char seen[128][128], type[16] = "";
	unsigned families = 0;

	(void)unused;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t length = strcspn(line, "{ ");

		if (!strncmp(line, "# TYPE ", 7)) {
			assert_int_equal(sscanf(line + 7, "%127s %15s", current, type), 2);
			for (unsigned i = 0; i < families; i++)
				assert_string_not_equal(seen[i], current);
			assert_true(families < 128);
			strcpy(seen[families++], current);
		} else if (line[0] != '#') {
			/* A histogram's samples have a word more. */
			assert_true(!strcmp(type, "histogram") || length == strlen(current));
			assert_memory_equal(line, current, strlen(current));
		}
	}
	assert_true(families > 40);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_stand_under_their_names),
		cmocka_unit_test(no_limit_is_no_sample),
		cmocka_unit_test(a_policy_that_is_off_measures_nothing),
		cmocka_unit_test(no_guests_are_no_samples),
		cmocka_unit_test(families_are_whole),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
