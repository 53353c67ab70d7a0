/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/unpack.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/compress.h"
#include "sync/there/untar.h"
#include "sync/there/verify.h"

#include <stdio.h>
#include <string.h>

#define HEADER  2048u      /* bytes of an entry's headers and padding, at most */
#define SLACK   (1u << 20) /* bytes around all entries, at most */
#define NO_BLOB UINT32_MAX

struct job {
    const struct pt_unpack *u;
    struct pt_err *err;
    struct pt_untar *untar;
    struct pt_verify *verify;
    struct pt_piece *piece; /* the raw bytes of the segment at hand */
    uint32_t next;          /* the first blob that may still come */
    uint64_t left;          /* raw bytes that may still come */
    bool begun, ended;
    bool warned;
    uint32_t bad; /* the first blob that has not its digest; these two are the second thread's */
    unsigned char *bad_bits;
};

static int refuse(struct pt_err *err, const char *name, const char *why)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "the archive of the tree is refused: '%s' %s", name, why);
}

static bool bit(const unsigned char *bits, uint32_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

/* The file that a blob belongs to. */
static const char *path_of(const struct pt_manifest *m, uint32_t blob)
{
    return pt_manifest_get(m, pt_manifest_blob(m, blob).entry)->path;
}

/* The blob that must come next; NO_BLOB when none must. */
static uint32_t expected(struct job *j)
{
    uint32_t n = pt_manifest_blobs(j->u->manifest);
    for (; j->next < n; j->next++)
        if (bit(j->u->expected, j->next))
            return j->next;
    return NO_BLOB;
}

/* --- bytes --- */

static void keep(struct job *j, const struct pt_segment *s)
{
    struct pt_err err = PT_ERR_INIT;
    if (j->warned || !j->u->store)
        return;
    int rc = j->begun ? 0 : pt_store_begin(j->u->store, &err);
    j->begun = true;
    if (rc == 0)
        rc = pt_store_segment(j->u->store, s, &err);
    if (rc < 0)
        j->u->warn(j->u->arg, &err);
    j->warned = rc < 0;
}

static int next_piece(struct job *j, const struct pt_segment *s)
{
    pt_piece_release(j->piece);
    j->piece = s->raw > 0 && s->raw <= PT_SEGMENT_MAX ? pt_piece_create(s->raw) : NULL;
    if (!j->piece)
        return pt_err_set(j->err, "the archive of the tree: a segment of %u bytes", s->raw);
    if (pt_segment_unpack(s, pt_piece_data(j->piece), j->err) < 0)
        return pt_err_wrap(j->err, "the archive of the tree is refused");
    if (s->raw > j->left)
        return pt_err_set_kind(j->err, PT_ERR_INFRA, "the archive of the tree goes on beyond its end");
    j->left -= s->raw;
    return 0;
}

static ssize_t read_tar(void *arg, const void **data)
{
    struct job *j = arg;
    struct pt_segment s;
    int rc = j->ended ? 0 : j->u->next(j->u->arg, &s, j->err);
    j->ended |= rc == 0;
    if (rc <= 0)
        return rc;
    if (next_piece(j, &s) < 0)
        return -1;
    keep(j, &s);
    *data = pt_piece_data(j->piece);
    return (ssize_t)s.raw;
}

/* --- blobs --- */

/* By the second thread. */
static void checked(void *arg, const struct pt_verify_job *job, bool good)
{
    struct job *j = arg;
    if (good) {
        pt_store_note(j->u->store, job->digest, job->offset, job->size);
        return;
    }
    if (j->bad > job->number)
        j->bad = job->number;
    j->bad_bits[job->number / 8] |= (unsigned char)(1u << (job->number % 8));
}

static int check_later(struct job *j, const struct pt_untar_entry *e, const struct pt_blob *b,
                       uint32_t number)
{
    struct pt_verify_job job = {
        .data = e->data, .size = e->size, .digest = b->digest, .number = number, .offset = e->offset};
    if (e->inside)
        return pt_verify_add(j->verify, j->piece, &job, j->err);
    struct pt_piece *copy = pt_piece_create(e->size);
    if (!copy)
        return pt_err_set(j->err, "out of memory");
    job.data = memcpy(pt_piece_data(copy), e->data, e->size);
    int rc = pt_verify_add(j->verify, copy, &job, j->err);
    pt_piece_release(copy);
    return rc;
}

static int take(struct job *j, const struct pt_untar_entry *e)
{
    uint32_t number = expected(j);
    char name[16];
    snprintf(name, sizeof(name), "%u", number);
    if (number == NO_BLOB || strcmp(e->name, name) != 0)
        return refuse(j->err, e->name, "was not asked for");
    struct pt_blob b = pt_manifest_blob(j->u->manifest, number);
    if (e->size != b.size)
        return refuse(j->err, path_of(j->u->manifest, number), "has not the size that was announced");
    j->next = number + 1;
    if (check_later(j, e, &b, number) < 0)
        return -1;
    return j->u->placer ? pt_placer_put(j->u->placer, &b, e->data, j->err) : 0;
}

/* As pt_unpack_archive, but for the digests. */
static int take_all(struct job *j)
{
    struct pt_untar_entry e;
    int rc;
    while ((rc = pt_untar_next(j->untar, PT_BLOB_MAX, &e, j->err)) == 1)
        if (take(j, &e) < 0)
            return -1;
    uint32_t number = expected(j);
    if (rc == 2 && number != NO_BLOB)
        pt_err_set_kind(j->err, PT_ERR_INFRA, "'%s' changed while it was sent",
                        path_of(j->u->manifest, number));
    else if (rc == 2)
        pt_err_set_kind(j->err, PT_ERR_INFRA, "the archive of the tree ended early");
    if (rc != 0)
        return rc == 2 ? 1 : -1;
    if (number != NO_BLOB)
        return refuse(j->err, path_of(j->u->manifest, number), "is missing");
    const void *data;
    ssize_t n;
    while ((n = read_tar(j, &data)) > 0)
        ;
    return n < 0 ? -1 : 0;
}

/* Wait for the digests; what is not what it should be goes. */
static int settle(struct job *j, int rc)
{
    const struct pt_manifest *m = j->u->manifest;
    pt_verify_wait(j->verify);
    for (uint32_t i = j->bad; i != NO_BLOB && i < pt_manifest_blobs(m); i++) {
        if (!j->u->placer || !bit(j->bad_bits, i))
            continue;
        struct pt_blob b = pt_manifest_blob(m, i);
        pt_placer_undo(j->u->placer, &b);
    }
    if (rc < 0 || j->bad == NO_BLOB)
        return rc;
    pt_err_set_kind(j->err, PT_ERR_INFRA, "'%s' has not the content that was announced", path_of(m, j->bad));
    return 1;
}

/* How long the archive may be, all in all. */
static uint64_t most_bytes(const struct pt_unpack *u)
{
    uint64_t sum = SLACK;
    for (size_t i = 0, n = pt_manifest_count(u->manifest); i < n; i++) {
        const struct pt_entry *e = pt_manifest_get(u->manifest, i);
        uint32_t first = pt_manifest_first_blob(u->manifest, i);
        for (uint32_t b = first; b < pt_manifest_first_blob(u->manifest, i + 1); b++)
            if (bit(u->expected, b))
                sum += HEADER + (e->nchunks ? e->chunks[b - first].size : e->size);
    }
    return sum;
}

int pt_unpack_archive(const struct pt_unpack *u, struct pt_err *err)
{
    struct pt_err local = PT_ERR_INIT;
    struct job j = {.u = u, .err = err ? err : &local, .bad = NO_BLOB, .left = most_bytes(u)};
    int rc = -1;
    j.bad_bits = calloc(pt_manifest_blobs(u->manifest) / 8 + 1, 1);
    j.verify = pt_verify_create(pt_manifest_algorithm(u->manifest), checked, &j, j.err);
    j.untar = pt_untar_create(read_tar, &j, j.err);
    if (!j.bad_bits)
        pt_err_set(j.err, "out of memory");
    else if (j.verify && j.untar)
        rc = settle(&j, take_all(&j));
    pt_verify_destroy(j.verify);
    pt_untar_destroy(j.untar);
    pt_piece_release(j.piece);
    free(j.bad_bits);
    return rc;
}
