/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: digests are checked by a second thread, while the first writes. It starts with the first job. */
#include "sync/digest.h"

#include <stdbool.h>

struct pt_err;
struct pt_verify;

#define PT_VERIFY_AHEAD (32u << 20) /* bytes that may wait to be checked; then adding waits */

/* Memory that both threads look at. */
struct pt_piece;

/* Room for `size` bytes; NULL when memory ends. Whoever holds it lets go of it once. */
struct pt_piece *pt_piece_create(size_t size);
void *pt_piece_data(struct pt_piece *piece);
void pt_piece_release(struct pt_piece *piece);

struct pt_verify_job {
    const void *data; /* in a piece */
    uint32_t size;
    const unsigned char *digest; /* that it should have; outlives the job */
    uint32_t number;             /* the caller's, as is offset */
    uint64_t offset;
};

/* checked is called by the second thread, once a job, in their order. */
struct pt_verify *pt_verify_create(enum pt_digest_algorithm algorithm,
                                   void (*checked)(void *arg, const struct pt_verify_job *job, bool good),
                                   void *arg, struct pt_err *err);
/* Waits for what was added. NULL is fine; keeps errno. */
void pt_verify_destroy(struct pt_verify *v);
/* The piece is held until the job is done. */
int pt_verify_add(struct pt_verify *v, struct pt_piece *piece, const struct pt_verify_job *job,
                  struct pt_err *err);
/* Until all that was added is checked. */
void pt_verify_wait(struct pt_verify *v);
