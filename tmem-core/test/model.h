/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model.h - a naive model of tmem and a core run beside it.
 *
 * Owns:    what every call of the core must answer, as arrays and loops.
 * How:     random operations go to both; an answer that the model does not
 *          allow ends the run with a reason.  Everything follows from the seed.
 * Must not: look behind tmem.h, or know how the core stores a page.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lies told to the model from half-way on: a run with one must fail. */
enum model_lie {
	MODEL_HONEST,
	MODEL_WRONG_CONTENT,	/* a persistent page has other bytes */
	MODEL_WRONG_TAG,	/* a persistent page has another tag */
	MODEL_NO_FLUSH,		/* a flushed persistent page is still there */
	MODEL_EARLY_FLUSH,	/* a stored persistent page is not there */
	MODEL_MISCOUNT,		/* one get more was made */
	MODEL_LIES,
};

struct model_run {
	uint64_t seed;
	unsigned ops;
	enum model_lie lie;
};

/* Run; true if the core did all the model asked, else why says what was wrong. */
bool model_run(const struct model_run *run, char *why, size_t size);

#endif
