/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_verbs.c - requests of the control socket against a real core and data
 * plane: what is refused, what is shown, what is changed, and the keys of the
 * JSON, which other programs rest on.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <unistd.h>

#include "estate.h"
#include "hv.h"
#include "log.h"
#include "tmem.h"
#include "verbs.h"

#define ARENA	(UINT64_C(64) << 20)

struct fixture {
	char dir[32], sockets[2][64];
	struct estate estate;
	struct loop *loop;
	struct tmem_ctx *ctx;
	struct sensors *sensors;
	struct verbs_host host;
};

static void guest_add(struct fixture *f, unsigned i, const char *name)
{
	char path[64];
	struct hv_guest_config g = {
		.name = name,
		.socket = f->sockets[i],
		.transport = HV_VHOST_USER,
		.quota = { .weight = 100, .max = TMEM_NO_LIMIT, .persistent_max = TMEM_NO_LIMIT },
	};

	snprintf(path, sizeof(path), "%s/%s.sock", f->dir, name);
	memcpy(f->sockets[i], path, sizeof(path));
	assert_int_equal(hv_guest_add(f->host.hv, &g), 0);
}

static int setup(void **state)
{
	struct hv_config hv = { .workers = 1, .queues = 2, .poll_us = 0 };
	struct fixture *f = calloc(1, sizeof(*f));
	struct tmem_config core = { .arena_max = ARENA };
	const struct policy_config policy = { .total = ARENA, .persistent_max = ARENA };

	log_level_set(LOG_LEVEL_ERROR);
	strcpy(f->dir, "/tmp/tmem-verbs-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(estate_open(&f->estate, ""), 0);
	core.arena_fd = f->estate.arena;
	hv.keep = f->estate.keep;
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(tmem_create(&f->host.core, &core), 0);
	assert_int_equal(tmem_ctx_create(f->host.core, &f->ctx), 0);
	assert_int_equal(hv_create(&f->host.hv, f->loop, f->host.core, &hv), 0);
	assert_int_equal(sensors_open(&f->sensors, ""), 0);
	assert_int_equal(events_create(&f->host.events), 0);
	assert_int_equal(pressure_create(&f->host.pressure, f->loop, f->host.core, f->sensors,
					 f->host.events, &policy), 0);
	guest_add(f, 0, "a");
	guest_add(f, 1, "b");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hv_destroy(f->host.hv);
	pressure_destroy(f->host.pressure);
	events_destroy(f->host.events);
	sensors_close(f->sensors);
	tmem_ctx_destroy(f->ctx);
	tmem_destroy(f->host.core);
	loop_destroy(f->loop);
	estate_close(&f->estate);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static json_t *ask_as(struct fixture *f, uid_t uid, const char *request)
{
	const struct control_peer peer = { .pid = 1, .uid = uid };
	char *text = verbs_answer(&f->host, &peer, request, strlen(request));
	json_t *answer;

	assert_non_null(text);
	assert_null(strchr(text, '\n'));
	answer = json_loads(text, 0, NULL);
	assert_non_null(answer);
	assert_int_equal(json_integer_value(json_object_get(answer, "schema_version")), 1);
	free(text);
	return answer;
}

static json_t *ask(struct fixture *f, const char *request)
{
	return ask_as(f, 0, request);
}

static json_t *ask_ok(struct fixture *f, const char *request)
{
	json_t *answer = ask(f, request);

	assert_true(json_is_true(json_object_get(answer, "ok")));
	return answer;
}

static void do_ok(struct fixture *f, const char *request)
{
	json_decref(ask_ok(f, request));
}

static json_int_t number(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static json_t *guest_of(json_t *answer, size_t i)
{
	json_t *guest = json_array_get(json_object_get(answer, "guests"), i);

	assert_non_null(guest);
	return guest;
}

/* Pages of random bytes with zeros behind them: each is compressible and unlike the others. */
static void put(struct fixture *f, const char *guest, enum tmem_kind kind, unsigned pool,
		uint32_t pages)
{
	struct tmem_client *c = tmem_client_find(f->host.core, guest);
	const struct tmem_pool_spec spec = { .kind = kind };
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };

	assert_non_null(c);
	assert_int_equal(tmem_pool_create(c, pool, &spec), 0);
	for (uint32_t i = 0; i < pages; i++) {
		struct tmem_key key = { .index = i };

		for (size_t b = 0; b < 1024; b++)
			page[b] = (uint8_t)random();
		assert_int_equal(tmem_put(f->ctx, c, pool, &key, page, 0), 0);
	}
}

/* ---- refusals ---------------------------------------------------------- */

static void refusals_have_code_and_reason(void **state)
{
	static const struct {
		const char *request;
		int code;
		const char *error;	/* part of it */
	} rows[] = {
		{ "", 2, "not JSON" },
		{ "list", 2, "not JSON" },
		{ "[]", 2, "a request is an object with a \"verb\"" },
		{ "{}", 2, "a request is an object with a \"verb\"" },
		{ "{\"verb\":7}", 2, "a request is an object with a \"verb\"" },
		{ "{\"verb\":\"nope\"}", 2, "no verb is called \"nope\"" },
		{ "{\"verb\":\"list\",\"verb\":\"list\"}", 2, "duplicate object key" },
		{ "{\"verb\":\"list\",\"guest\":\"a\"}", 2, "list: takes no \"guest\"" },
		{ "{\"verb\":\"stats\",\"guest\":7}", 2, "\"guest\" is not a text" },
		{ "{\"verb\":\"stats\",\"guest\":\"x\"}", 4, "no guest is called x" },
		{ "{\"verb\":\"freeze\"}", 2, "no \"guest\" is given" },
		{ "{\"verb\":\"set\",\"guest\":\"a\"}", 2, "no \"values\" are given" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{}}", 2, "no \"values\" are given" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"max\":true}}", 2,
		  "max: not a text, an integer or null" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"max\":-1}}", 2, "max: \"-1\"" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"min\":null}}", 2, "min: \"none\"" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"socket\":\"/x\"}}", 2,
		  "socket: no such option" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"min\":2,\"max\":1}}", 2,
		  "min (2) is above max (1)" },
		{ "{\"verb\":\"set\",\"values\":{\"weight\":1}}", 2, "either a \"guest\"" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"all\":true,\"values\":{\"weight\":1}}", 2,
		  "either a \"guest\"" },
		{ "{\"verb\":\"set\",\"all\":1,\"values\":{\"weight\":1}}", 2, "not true or false" },
		{ "{\"verb\":\"set\",\"all\":true,\"live\":false,\"values\":{\"weight\":1}}", 2,
		  "neither \"live\" nor \"config\"" },
		{ "{\"verb\":\"set\",\"all\":true,\"config\":true,\"values\":{\"weight\":1}}", 1,
		  "without a configuration file" },
		{ "{\"verb\":\"set\",\"all\":true,\"values\":{\"min\":\"33M\"}}", 2,
		  "mins add up to 69206016, the arena has 67108864" },
		{ "{\"verb\":\"set\",\"guest\":\"b\",\"values\":{\"min\":\"15E\"}}", 2,
		  "mins add up to" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"min\":\"99999999999999999999\"}}", 2,
		  "is too large" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"min\":"
		  "\"00000000000000000000000000000000000000001\"}}", 2, "is too long" },
		{ "{\"verb\":\"set\",\"host\":true,\"guest\":\"a\",\"values\":{\"arena\":\"32M\"}}", 2,
		  "either a \"guest\"" },
		{ "{\"verb\":\"set\",\"host\":true,\"all\":true,\"values\":{\"arena\":\"32M\"}}", 2,
		  "either a \"guest\"" },
		{ "{\"verb\":\"set\",\"host\":true}", 2, "no \"values\" are given" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"arena\":\"65M\"}}", 2,
		  "arena (68157440) is above what it was made with (67108864)" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"arena\":\"1K\"}}", 2, "out of range" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"arena\":null}}", 2, "arena: \"none\"" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"persistent_max\":\"65M\"}}", 2,
		  "persistent-max (68157440) is above arena" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"memory_low\":2,\"memory_high\":1}}", 2,
		  "memory-low (2) is above memory-high (1)" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"weight\":7}}", 2,
		  "weight: no option of the host" },
		{ "{\"verb\":\"set\",\"host\":true,\"values\":{\"run_dir\":\"/x\"}}", 2,
		  "run-dir: no option of the host" },
		{ "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"arena\":\"32M\"}}", 2,
		  "arena: no such option" },
		{ "{\"verb\":\"shrink\"}", 2, "\"bytes\" is not a number above 0" },
		{ "{\"verb\":\"shrink\",\"bytes\":1,\"dry_run\":3}", 2, "is not true or false" },
		{ "{\"verb\":\"events\",\"after\":-1}", 2, "\"after\" is not a number" },
		{ "{\"verb\":\"explain\",\"guest\":\"x\"}", 4, "no guest is called x" },
		{ "{\"verb\":\"shrink\",\"bytes\":0}", 2, "\"bytes\" is not a number above 0" },
		{ "{\"verb\":\"shrink\",\"bytes\":\"1M\"}", 2, "\"bytes\" is not a number above 0" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *answer = ask(*state, rows[i].request);
		const char *error = json_string_value(json_object_get(answer, "error"));

		if (!json_is_false(json_object_get(answer, "ok")) || !error ||
		    !strstr(error, rows[i].error))
			fail_msg("%s: %s", rows[i].request, error ? error : "taken");
		assert_int_equal(number(answer, "code"), rows[i].code);
		json_decref(answer);
	}
}

/* ---- reports ----------------------------------------------------------- */

/* Member names of object in order, joined by blanks. */
static void assert_keys(json_t *object, const char *expected)
{
	char keys[2048] = "";
	size_t used = 0;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		used += (size_t)snprintf(keys + used, sizeof(keys) - used, "%s%s", used ? " " : "",
					 key);
		assert_true(used < sizeof(keys));
	}
	assert_string_equal(keys, expected);
}

#define COUNTERS "pages pages_max objects objects_max bytes_stored bytes_physical "		\
	"pages_same_filled pages_raw pages_deduped puts puts_ok dup_puts dup_puts_replaced "	\
	"puts_refused_quota puts_refused_pressure puts_refused_frozen "				\
	"puts_refused_incompressible puts_failed_nomem put_to_flush gets gets_ok "		\
	"flushes flushes_found object_flushes object_flushes_found evicted_pages damaged"
#define HOST "target_bytes persistent_max_bytes accept_ephemeral accept_persistent "		\
	"resident_bytes metadata_bytes frames frames_free frames_zbud frames_zs "		\
	"frames_evicted frames_returned failed_alloc"
#define GUEST_HEAD "name state frozen logical_bytes stored_bytes physical_bytes "		\
	"share_permille connections failures "

static void keys_are_stable(void **state)
{
	json_t *list = ask_ok(*state, "{\"verb\":\"list\"}");
	json_t *stats = ask_ok(*state, "{\"verb\":\"stats\"}");
	json_t *version = ask_ok(*state, "{\"verb\":\"version\"}");
	json_t *status = ask_ok(*state, "{\"verb\":\"status\"}");

	assert_keys(status, "ok version pid arena_bytes queues lock_error totals host pressure words verdict schema_version");
	assert_keys(json_object_get(status, "totals"), "guests listening connected ready departed "
		    "frozen ephemeral_pages persistent_pages logical_bytes stored_bytes "
		    "physical_bytes ephemeral_bytes persistent_bytes puts puts_ok puts_refused "
		    "gets gets_ok evicted_pages damaged");
	assert_keys(json_object_get(status, "host"), HOST);
	json_decref(status);

	assert_keys(list, "ok guests host schema_version");
	assert_keys(guest_of(list, 0), GUEST_HEAD "weight ephemeral_pages persistent_pages "
		    "disk_bytes spilled_bytes puts "
		    "puts_ok puts_refused gets gets_ok flushes evicted_pages damaged");
	assert_keys(json_object_get(list, "host"), HOST);
	assert_keys(stats, "ok guests host schema_version");
	assert_keys(guest_of(stats, 0), GUEST_HEAD "transport socket vmm_pid driver_version "
		    "kernel_version domain added queues requests bad_requests kicks interrupts drain drain_left "
		    "last_failure "
		    "quota pools evicted_frames disk ephemeral persistent");
	assert_keys(json_object_get(guest_of(stats, 0), "quota"),
		    "weight min max persistent_max codec_ephemeral codec_persistent");
	assert_keys(json_object_get(guest_of(stats, 0), "ephemeral"), COUNTERS);
	assert_keys(json_object_get(guest_of(stats, 0), "persistent"), COUNTERS);
	assert_keys(json_object_get(stats, "host"), HOST " workers worker_spin_ns "
		    "worker_busy_ns frame_bytes chunk_bytes frames_by_free_chunks "
		    "pages_by_chunks pages_by_chunks_cumulative "
		    "persistent_frames_by_free_chunks persistent_pages_by_chunks "
		    "persistent_pages_by_chunks_cumulative persistent_free_bytes "
		    "compaction_moved_pages compaction_emptied_frames latency");
	assert_keys(version, "ok version protocol_version pid schema_version");
	json_decref(list);
	json_decref(stats);
	json_decref(version);
}

static void list_counts_pages(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *a, *b;

	put(f, "a", TMEM_PERSISTENT, 3, 10);
	put(f, "a", TMEM_EPHEMERAL, 4, 5);
	answer = ask_ok(f, "{\"verb\":\"list\"}");
	a = guest_of(answer, 0);
	b = guest_of(answer, 1);
	assert_string_equal(json_string_value(json_object_get(a, "name")), "a");
	assert_string_equal(json_string_value(json_object_get(a, "state")), "listening");
	assert_int_equal(number(a, "persistent_pages"), 10);
	assert_int_equal(number(a, "ephemeral_pages"), 5);
	assert_int_equal(number(a, "logical_bytes"), 15 * TMEM_PAGE_SIZE);
	assert_true(number(a, "stored_bytes") > 15 * 1024);
	assert_true(number(a, "physical_bytes") >= number(a, "stored_bytes"));
	assert_int_equal(number(a, "puts"), 15);
	assert_int_equal(number(a, "puts_ok"), 15);
	assert_int_equal(number(b, "puts"), 0);
	assert_int_equal(number(b, "physical_bytes"), 0);
	assert_int_equal(number(json_object_get(answer, "host"), "target_bytes"), ARENA);
	json_decref(answer);
}

static void stats_of_one_guest(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *b;

	put(f, "b", TMEM_PERSISTENT, 0, 3);
	answer = ask_ok(f, "{\"verb\":\"stats\",\"guest\":\"b\"}");
	assert_keys(answer, "ok guests schema_version");
	assert_int_equal(json_array_size(json_object_get(answer, "guests")), 1);
	b = guest_of(answer, 0);
	assert_string_equal(json_string_value(json_object_get(b, "socket")), f->sockets[1]);
	assert_int_equal(number(b, "pools"), 1);
	assert_int_equal(number(json_object_get(b, "persistent"), "pages"), 3);
	assert_int_equal(number(json_object_get(b, "ephemeral"), "pages"), 0);
	assert_true(json_is_null(json_object_get(json_object_get(b, "quota"), "max")));
	assert_true(json_is_null(json_object_get(b, "vmm_pid")));
	json_decref(answer);
}

static void pools_have_a_row_each(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *pools, *last;

	put(f, "a", TMEM_EPHEMERAL, 1, 2);
	put(f, "b", TMEM_PERSISTENT, 0, 1);
	put(f, "b", TMEM_EPHEMERAL, 15, 4);
	answer = ask_ok(f, "{\"verb\":\"pools\"}");
	pools = json_object_get(answer, "pools");
	assert_int_equal(json_array_size(pools), 3);
	last = json_array_get(pools, 2);
	assert_keys(last, "guest id kind shared disk uuid hit_ratio " COUNTERS);
	assert_string_equal(json_string_value(json_object_get(last, "guest")), "b");
	assert_string_equal(json_string_value(json_object_get(last, "kind")), "ephemeral");
	assert_int_equal(number(last, "id"), 15);
	assert_int_equal(number(last, "pages"), 4);
	json_decref(answer);
	answer = ask_ok(f, "{\"verb\":\"pools\",\"guest\":\"a\"}");
	assert_int_equal(json_array_size(json_object_get(answer, "pools")), 1);
	json_decref(answer);
}

static void status_adds_up(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *totals;

	put(f, "a", TMEM_PERSISTENT, 0, 10);
	put(f, "b", TMEM_PERSISTENT, 0, 3);
	put(f, "b", TMEM_EPHEMERAL, 1, 5);
	do_ok(f, "{\"verb\":\"freeze\",\"guest\":\"b\"}");
	answer = ask_ok(f, "{\"verb\":\"status\"}");
	totals = json_object_get(answer, "totals");
	assert_int_equal(number(totals, "guests"), 2);
	assert_int_equal(number(totals, "listening"), 2);
	assert_int_equal(number(totals, "ready"), 0);
	assert_int_equal(number(totals, "frozen"), 1);
	assert_int_equal(number(totals, "persistent_pages"), 13);
	assert_int_equal(number(totals, "ephemeral_pages"), 5);
	assert_int_equal(number(totals, "logical_bytes"), 18 * TMEM_PAGE_SIZE);
	assert_int_equal(number(totals, "puts_ok"), 18);
	assert_true(number(totals, "ephemeral_bytes") > 5 * 1024);
	assert_int_equal(number(totals, "physical_bytes"), number(totals, "ephemeral_bytes") +
			 number(totals, "persistent_bytes"));
	assert_int_equal(number(answer, "arena_bytes"), ARENA);
	json_decref(answer);
}

/* A pool's only row, and that its hit ratio is as expected; below 0: null. */
static void assert_hit_ratio(struct fixture *f, double expected)
{
	json_t *answer = ask_ok(f, "{\"verb\":\"pools\",\"guest\":\"a\"}");
	json_t *value = json_object_get(json_array_get(json_object_get(answer, "pools"), 0),
					"hit_ratio");

	if (expected < 0)
		assert_true(json_is_null(value));
	else
		assert_true(json_real_value(value) == expected);
	json_decref(answer);
}

static void hit_ratio_of_a_pool(void **state)
{
	struct fixture *f = *state;
	struct tmem_client *a = tmem_client_find(f->host.core, "a");
	struct tmem_key key = { .index = 0 };
	uint8_t page[TMEM_PAGE_SIZE];
	uint64_t tag;

	put(f, "a", TMEM_PERSISTENT, 0, 3);
	assert_hit_ratio(f, -1);
	for (; key.index < 4; key.index++)
		tmem_get(f->ctx, a, 0, &key, page, &tag);
	assert_hit_ratio(f, 0.75);
}

/* ---- changes ----------------------------------------------------------- */

static void set_changes_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct tmem_quota q;
	json_t *answer;

	do_ok(f, "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"weight\":7,\"min\":\"1M\","
		 "\"max\":2097152,\"persistent_max\":\"1M\",\"codec-persistent\":\"zstd\"}}");
	answer = ask(f, "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"weight\":9,"
			"\"max\":\"1K\"}}");
	assert_true(json_is_false(json_object_get(answer, "ok")));
	json_decref(answer);
	tmem_client_quota_get(tmem_client_find(f->host.core, "a"), &q);
	assert_int_equal(q.weight, 7);
	assert_int_equal(q.min, 1 << 20);
	assert_int_equal(q.max, 2 << 20);
	assert_int_equal(q.persistent_max, 1 << 20);
	assert_int_equal(q.codec[TMEM_PERSISTENT], TMEM_CODEC_ZSTD);
	do_ok(f, "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"max\":null}}");
	tmem_client_quota_get(tmem_client_find(f->host.core, "a"), &q);
	assert_int_equal(q.max, TMEM_NO_LIMIT);
	assert_int_equal(q.weight, 7);
}

static void set_of_all_changes_all_or_none(void **state)
{
	struct fixture *f = *state;
	struct tmem_client *a = tmem_client_find(f->host.core, "a");
	struct tmem_client *b = tmem_client_find(f->host.core, "b");
	struct tmem_quota q;
	json_t *answer;

	do_ok(f, "{\"verb\":\"set\",\"guest\":\"b\",\"values\":{\"max\":\"2M\"}}");
	answer = ask_ok(f, "{\"verb\":\"set\",\"all\":true,\"values\":{\"min\":\"1M\"}}");
	assert_int_equal(json_array_size(json_object_get(answer, "changed")), 2);
	json_decref(answer);
	answer = ask(f, "{\"verb\":\"set\",\"all\":true,\"values\":{\"min\":\"3M\"}}");
	assert_int_equal(number(answer, "code"), 2);
	json_decref(answer);
	tmem_client_quota_get(a, &q);
	assert_int_equal(q.min, 1 << 20);
	tmem_client_quota_get(b, &q);
	assert_int_equal(q.min, 1 << 20);
	assert_int_equal(q.max, 2 << 20);
}

static void set_writes_the_file(void **state)
{
	struct fixture *f = *state;
	char path[64], text[256] = "";
	struct tmem_quota q;
	FILE *file;

	snprintf(path, sizeof(path), "%s/conf", f->dir);
	file = fopen(path, "w");
	fputs("# mine\n[guest a]\nmax = 2M\n", file);
	fclose(file);
	f->host.config_file = path;
	do_ok(f, "{\"verb\":\"set\",\"guest\":\"a\",\"live\":false,\"config\":true,"
		 "\"values\":{\"max\":\"3M\",\"weight\":9}}");
	file = fopen(path, "r");
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_string_equal(text, "# mine\n[guest a]\nmax = 3M\nweight = 9\n");
	tmem_client_quota_get(tmem_client_find(f->host.core, "a"), &q);
	assert_int_equal(q.max, TMEM_NO_LIMIT);
	assert_int_equal(q.weight, 100);
	assert_int_equal(unlink(path), 0);
	/* What cannot be written is not in force either. */
	json_decref(ask(f, "{\"verb\":\"set\",\"guest\":\"a\",\"config\":true,"
			   "\"values\":{\"weight\":9}}"));
	tmem_client_quota_get(tmem_client_find(f->host.core, "a"), &q);
	assert_int_equal(q.weight, 100);
}

static void the_hosts_limits_change_and_who_did_it_is_told(void **state)
{
	struct fixture *f = *state;
	const struct event *e, *newest = NULL;
	struct pressure_status s;
	struct tmem_limits l;
	json_t *answer, *limits;

	answer = ask_ok(f, "{\"verb\":\"set\",\"host\":true,"
			   "\"values\":{\"arena\":\"32M\",\"memory_floor\":4096}}");
	limits = json_object_get(answer, "limits");
	assert_keys(limits, "arena_bytes persistent_max_bytes memory_policy memory_floor_bytes "
			    "memory_low_bytes memory_high_bytes");
	assert_int_equal(number(limits, "arena_bytes"), ARENA / 2);
	assert_int_equal(number(limits, "memory_floor_bytes"), 4096);
	json_decref(answer);
	/* Persistent pages keep their share of it: here, all. */
	tmem_limits_get(f->host.core, &l);
	assert_int_equal(l.target, ARENA / 2);
	assert_int_equal(l.persistent_max, ARENA / 2);
	for (uint64_t n = 0; (e = events_next(f->host.events, n)); n = e->number)
		newest = e;
	if (!newest) {
		fail();
		return;
	}
	assert_int_equal(newest->kind, EVENT_CHANGE);
	assert_non_null(strstr(newest->text, "uid 0"));
	assert_non_null(strstr(newest->text, "\"arena\":\"32M\""));

	/* Guests' mins are promised of what there is. */
	do_ok(f, "{\"verb\":\"set\",\"all\":true,\"values\":{\"min\":\"16M\"}}");
	json_decref(ask(f, "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"min\":\"17M\"}}"));
	answer = ask(f, "{\"verb\":\"set\",\"host\":true,\"values\":{\"arena\":\"31M\"}}");
	assert_int_equal(number(answer, "code"), 2);
	assert_non_null(strstr(json_string_value(json_object_get(answer, "error")),
			       "is below what the guests' mins add up to (33554432)"));
	json_decref(answer);
	pressure_status(f->host.pressure, &s);
	assert_int_equal(s.config.total, ARENA / 2);

	do_ok(f, "{\"verb\":\"set\",\"all\":true,\"values\":{\"min\":0}}");
	do_ok(f, "{\"verb\":\"set\",\"host\":true,\"values\":{\"arena\":\"64M\",\"memory_floor\":0}}");
	tmem_limits_get(f->host.core, &l);
	assert_int_equal(l.target, ARENA);
	assert_int_equal(l.persistent_max, ARENA);
}

static void readers_look_and_do_not_change(void **state)
{
	static const char *const changes[] = {
		"{\"verb\":\"freeze\",\"guest\":\"a\"}",
		"{\"verb\":\"thaw\",\"guest\":\"a\"}",
		"{\"verb\":\"flush\",\"guest\":\"a\"}",
		"{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"weight\":9}}",
		"{\"verb\":\"set\",\"host\":true,\"values\":{\"arena\":\"32M\"}}",
		"{\"verb\":\"shrink\",\"bytes\":1}",
		"{\"verb\":\"shrink\",\"bytes\":1,\"dry_run\":false}",
	};
	const uid_t reader = geteuid() + 1;
	struct fixture *f = *state;
	struct tmem_client_info info;
	json_t *answer;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		answer = ask_as(f, reader, changes[i]);
		assert_int_equal(number(answer, "code"), 5);
		json_decref(answer);
	}
	tmem_client_info(tmem_client_find(f->host.core, "a"), &info);
	assert_false(info.frozen);
	assert_int_equal(info.quota.weight, 100);
	answer = ask_as(f, reader, "{\"verb\":\"shrink\",\"bytes\":1,\"dry_run\":true}");
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	f->host.group_may_change = true;
	answer = ask_as(f, reader, changes[0]);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	f->host.group_may_change = false;
	answer = ask_as(f, geteuid(), changes[1]);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
}

static void freeze_refuses_puts_until_thawed(void **state)
{
	struct fixture *f = *state;
	struct tmem_client *a = tmem_client_find(f->host.core, "a");
	const struct tmem_key key = { .index = 0 };
	uint8_t page[TMEM_PAGE_SIZE] = { 1 };

	put(f, "a", TMEM_PERSISTENT, 0, 1);
	do_ok(f, "{\"verb\":\"freeze\",\"guest\":\"a\"}");
	assert_int_equal(tmem_put(f->ctx, a, 0, &key, page, 0), -EROFS);
	do_ok(f, "{\"verb\":\"thaw\",\"guest\":\"a\"}");
	assert_int_equal(tmem_put(f->ctx, a, 0, &key, page, 0), 0);
}

static void flush_drops_ephemeral_pages_only(void **state)
{
	struct fixture *f = *state;
	json_t *answer;

	put(f, "a", TMEM_EPHEMERAL, 0, 6);
	put(f, "a", TMEM_PERSISTENT, 1, 2);
	put(f, "b", TMEM_EPHEMERAL, 0, 1);
	answer = ask_ok(f, "{\"verb\":\"flush\",\"guest\":\"a\"}");
	assert_int_equal(number(answer, "pages"), 6);
	json_decref(answer);
	answer = ask_ok(f, "{\"verb\":\"list\"}");
	assert_int_equal(number(guest_of(answer, 0), "ephemeral_pages"), 0);
	assert_int_equal(number(guest_of(answer, 0), "persistent_pages"), 2);
	assert_int_equal(number(guest_of(answer, 1), "ephemeral_pages"), 1);
	json_decref(answer);
}

static void shrink_says_what_it_gave_and_why_it_stopped(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *r;

	put(f, "a", TMEM_EPHEMERAL, 0, 300);
	answer = ask_ok(f, "{\"verb\":\"shrink\",\"bytes\":65536}");
	r = json_object_get(answer, "reclaimed");
	assert_keys(r, "frames bytes pages_evicted done stopped_because from");
	assert_true(json_is_true(json_object_get(r, "done")));
	assert_true(number(r, "bytes") >= 65536);
	json_decref(answer);
	answer = ask_ok(f, "{\"verb\":\"shrink\",\"bytes\":1073741824}");
	r = json_object_get(answer, "reclaimed");
	assert_false(json_is_true(json_object_get(r, "done")));
	json_decref(answer);
	answer = ask_ok(f, "{\"verb\":\"list\"}");
	assert_int_equal(number(guest_of(answer, 0), "ephemeral_pages"), 0);
	json_decref(answer);
}

static void text_that_is_cut_stays_json(void **state)
{
	char request[600] = "{\"verb\":\"x";
	size_t used = strlen(request);
	json_t *answer;

	while (used + 8 < sizeof(request)) {
		memcpy(request + used, "\xe2\x82\xac", 3);
		used += 3;
	}
	strcpy(request + used, "\"}");
	answer = ask(*state, request);
	assert_int_equal(number(answer, "code"), 2);
	json_decref(answer);
}

static void freeable_is_what_is_ephemeral_above_min(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *guests;

	put(f, "a", TMEM_EPHEMERAL, 0, 400);
	put(f, "b", TMEM_PERSISTENT, 0, 400);
	answer = ask_ok(f, "{\"verb\":\"freeable\"}");
	guests = json_object_get(answer, "guests");
	assert_int_equal(json_array_size(guests), 2);
	assert_true(number(json_array_get(guests, 0), "freeable_bytes") > 0);
	assert_int_equal(number(json_array_get(guests, 0), "freeable_bytes"),
			 number(json_array_get(guests, 0), "ephemeral_bytes"));
	assert_int_equal(number(json_array_get(guests, 1), "freeable_bytes"), 0);
	json_decref(answer);
	do_ok(f, "{\"verb\":\"set\",\"guest\":\"a\",\"values\":{\"min\":\"64M\"}}");
	answer = ask_ok(f, "{\"verb\":\"freeable\"}");
	guests = json_object_get(answer, "guests");
	assert_int_equal(number(json_array_get(guests, 0), "freeable_bytes"), 0);
	json_decref(answer);
}

static void a_dry_run_says_what_a_shrink_does(void **state)
{
	struct fixture *f = *state;
	json_t *plan, *done, *from;
	const json_int_t wanted = 256 << 10;
	json_int_t lost;

	put(f, "a", TMEM_EPHEMERAL, 0, 1000);
	put(f, "b", TMEM_EPHEMERAL, 0, 200);
	plan = ask_ok(f, "{\"verb\":\"shrink\",\"bytes\":262144,\"dry_run\":true}");
	assert_true(number(plan, "bytes") >= wanted);
	from = json_object_get(plan, "from");
	assert_int_equal(json_array_size(from), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(from, 0), "guest")),
			    "a");
	lost = number(json_array_get(from, 0), "bytes") + number(plan, "unused_bytes");
	assert_int_equal(lost, number(plan, "bytes"));
	json_decref(plan);
	done = ask_ok(f, "{\"verb\":\"shrink\",\"bytes\":262144}");
	assert_int_equal(number(json_object_get(done, "reclaimed"), "bytes"), lost);
	json_decref(done);
}

static void changes_are_events(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *list, *event;

	do_ok(f, "{\"verb\":\"freeze\",\"guest\":\"a\"}");
	answer = ask_ok(f, "{\"verb\":\"events\"}");
	list = json_object_get(answer, "events");
	assert_int_equal(json_array_size(list), 2);
	event = json_array_get(list, 1);
	assert_int_equal(number(event, "number"), 2);
	assert_string_equal(json_string_value(json_object_get(event, "kind")), "change");
	assert_string_equal(json_string_value(json_object_get(event, "guest")), "a");
	assert_non_null(strstr(json_string_value(json_object_get(event, "text")), "uid 0: "));
	json_decref(answer);
	answer = ask_ok(f, "{\"verb\":\"events\",\"after\":2}");
	assert_int_equal(json_array_size(json_object_get(answer, "events")), 0);
	json_decref(answer);
}

static void auth_opens_and_closes_a_shared_pool(void **state)
{
	const struct tmem_pool_spec spec = {
		.kind = TMEM_EPHEMERAL, .shared = true, .uuid = { 0xab, 1, [15] = 0x7f },
	};
	static const char *const bad[] = {
		"{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":true}",
		"{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":true,\"uuid\":7}",
		"{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":true,\"uuid\":\"ab01\"}",
		"{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":true,"
		"\"uuid\":\"ab01000000000000000000000000007f0\"}",
		"{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":true,"
		"\"uuid\":\"ab01000000000000000000000000007g\"}",
		"{\"verb\":\"auth\",\"guest\":\"a\",\"uuid\":\"ab01000000000000000000000000007f\"}",
		"{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":1,"
		"\"uuid\":\"ab01000000000000000000000000007f\"}",
	};
	struct fixture *f = *state;
	struct tmem_client *a = tmem_client_find(f->host.core, "a");
	json_t *answer;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		answer = ask(f, bad[i]);
		assert_int_equal(number(answer, "code"), 2);
		json_decref(answer);
	}
	assert_int_equal(tmem_pool_create(a, 3, &spec), -EPERM);
	do_ok(f, "{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":true,"
		 "\"uuid\":\"AB010000-0000-0000-0000-00000000007f\"}");
	assert_int_equal(tmem_pool_create(a, 3, &spec), 0);
	assert_int_equal(tmem_pool_create(tmem_client_find(f->host.core, "b"), 3, &spec), -EPERM);
	answer = ask_ok(f, "{\"verb\":\"pools\"}");
	assert_string_equal(json_string_value(json_object_get(json_array_get(
		json_object_get(answer, "pools"), 0), "uuid")),
		"ab010000-0000-0000-0000-00000000007f");
	json_decref(answer);
	do_ok(f, "{\"verb\":\"auth\",\"guest\":\"a\",\"allow\":false,"
		 "\"uuid\":\"ab01000000000000000000000000007f\"}");
	assert_int_equal(tmem_pool_create(a, 4, &spec), -EPERM);
}

static bool words_hold(json_t *words, const char *text)
{
	json_t *sentence;
	size_t i;

	json_array_foreach(words, i, sentence) {
		if (strstr(json_string_value(sentence), text))
			return true;
	}
	return false;
}

static void explain_gives_the_reasons(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *words;

	put(f, "a", TMEM_EPHEMERAL, 0, 300);
	do_ok(f, "{\"verb\":\"freeze\",\"guest\":\"a\"}");
	answer = ask_ok(f, "{\"verb\":\"explain\",\"guest\":\"a\"}");
	words = json_object_get(answer, "guest");
	assert_true(words_hold(words, "nobody is connected"));
	assert_true(words_hold(words, "It is frozen"));
	assert_true(words_hold(words, "300 ephemeral pages"));
	assert_true(words_hold(words, "number 1 of 2 to lose"));
	assert_true(words_hold(json_object_get(answer, "host"), "the policy is off"));
	json_decref(answer);
	answer = ask_ok(f, "{\"verb\":\"explain\"}");
	assert_null(json_object_get(answer, "guest"));
	json_decref(answer);
}

int main(void)
{
#define WITH_HOST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_HOST(refusals_have_code_and_reason),
		WITH_HOST(keys_are_stable),
		WITH_HOST(list_counts_pages),
		WITH_HOST(stats_of_one_guest),
		WITH_HOST(pools_have_a_row_each),
		WITH_HOST(set_changes_all_or_nothing),
		WITH_HOST(status_adds_up),
		WITH_HOST(hit_ratio_of_a_pool),
		WITH_HOST(auth_opens_and_closes_a_shared_pool),
		WITH_HOST(set_of_all_changes_all_or_none),
		WITH_HOST(set_writes_the_file),
		WITH_HOST(the_hosts_limits_change_and_who_did_it_is_told),
		WITH_HOST(readers_look_and_do_not_change),
		WITH_HOST(freeze_refuses_puts_until_thawed),
		WITH_HOST(flush_drops_ephemeral_pages_only),
		WITH_HOST(freeable_is_what_is_ephemeral_above_min),
		WITH_HOST(a_dry_run_says_what_a_shrink_does),
		WITH_HOST(changes_are_events),
		WITH_HOST(explain_gives_the_reasons),
		WITH_HOST(shrink_says_what_it_gave_and_why_it_stopped),
		WITH_HOST(text_that_is_cut_stays_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
