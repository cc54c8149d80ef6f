// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * victim.c - see victim.h.
 */
#include "victim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <endian.h>
#include <string.h>

void victim_open(struct victim *v, struct hosting *host, const char *name, bool indirect)
{
	struct front_config c = hosting_config(host, name, v->path);

	v->host = host;
	v->name = name;
	c.indirect = indirect;
	c.timeout_ms = 3000 * HOSTING_SLOW;
	assert_int_equal(front_open(&v->f, &c), 0);
	assert_int_equal(front_pool_create(v->f, 0, TMEMP_POOL_PERSISTENT), 0);
	v->q = &v->f->queue[0];
}

void victim_check_works(struct victim *v)
{
	struct front_key key = key_of(0, 99);
	uint8_t page[TMEMP_PAGE_SIZE];

	page_fill(page, 99);
	assert_int_equal(front_put(v->q, &key, page, 5), TMEMP_OK);
	memset(page, 0, sizeof(page));
	assert_int_equal(front_get(v->q, &key, page, NULL), TMEMP_OK);
	assert_true(page_is(page, 99));
}

void victim_check_unharmed(struct victim *v)
{
	victim_check_works(v);
	assert_int_equal(hosting_lines(v->host, v->name), 0);
	front_destroy(v->f);
}

void victim_check_failed(struct victim *v, const char *reason)
{
	const char *name = v->name;
	char path[DAEMON_PATH_MAX];
	struct front_config c = hosting_config(v->host, name, path);

	assert_true(front_closed(v->f, (int)(5000 * HOSTING_SLOW)));
	assert_int_equal(hosting_said(v->host, name, reason), 1);
	assert_int_equal(hosting_lines(v->host, name), 1);
	front_destroy(v->f);

	assert_int_equal(front_open(&v->f, &c), 0);
	assert_int_equal(front_pool_create(v->f, 0, TMEMP_POOL_PERSISTENT), 0);
	v->q = &v->f->queue[0];
	victim_check_works(v);
	assert_int_equal(hosting_lines(v->host, name), 1);
	front_destroy(v->f);
}

struct front_request *victim_request(struct victim *v, uint16_t op)
{
	struct front_key key = key_of(0, 1);
	struct front_request *r = front_request_get(v->q);

	assert_non_null(r);
	front_request_key(r, op, &key, 0, v->f->epoch);
	return r;
}

uint32_t victim_answer(struct victim *v, struct front_request *r)
{
	uint32_t status;

	assert_int_equal(front_queue_wait(v->q, r), 0);
	status = le32toh(r->response->status);
	if (status != TMEMP_OK)
		assert_true(r->written == 0 || r->written == sizeof(struct tmemp_response));
	if (r->written == 0)
		assert_int_equal(status, TMEMP_STATUS_NONE);
	front_request_put(v->q, r);
	return status;
}

uint32_t victim_submit(struct victim *v, struct front_request *r)
{
	front_queue_submit(v->q, r);
	return victim_answer(v, r);
}

uint32_t victim_submit_head(struct victim *v, struct front_request *r, uint16_t head)
{
	r->state = FRONT_QUEUED;
	front_queue_expose(v->q, head);
	front_queue_kick(v->q);
	return victim_answer(v, r);
}

void victim_provoke(struct victim *v, uint16_t head)
{
	front_queue_expose(v->q, head);
	front_queue_kick(v->q);
}
