/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/verify.h"

#include "common/auto.h"
#include "common/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define QUEUE 4096 /* jobs */

struct pt_piece {
    atomic_uint holders;
    _Alignas(16) unsigned char data[];
};

struct queued {
    struct pt_verify_job job;
    struct pt_piece *piece;
};

struct pt_verify {
    void (*checked)(void *arg, const struct pt_verify_job *job, bool good);
    void *arg;
    struct pt_digest *digest;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wanted, done; /* there is work, or it is the end; a job was done */
    struct queued *ring;
    size_t first, n; /* of ring; a job leaves it when it is done */
    uint64_t bytes;  /* of the jobs in it */
    bool end;
};

struct pt_piece *pt_piece_create(size_t size)
{
    struct pt_piece *p = malloc(sizeof(*p) + size);
    if (p)
        atomic_init(&p->holders, 1);
    return p;
}

void *pt_piece_data(struct pt_piece *piece)
{
    return piece->data;
}

void pt_piece_release(struct pt_piece *piece)
{
    if (piece && atomic_fetch_sub(&piece->holders, 1) == 1)
        free(piece);
}

struct pt_verify *pt_verify_create(enum pt_digest_algorithm algorithm,
                                   void (*checked)(void *arg, const struct pt_verify_job *job, bool good),
                                   void *arg, struct pt_err *err)
{
    struct pt_verify *v = calloc(1, sizeof(*v));
    if (!v) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->wanted, NULL);
    pthread_cond_init(&v->done, NULL);
    v->checked = checked;
    v->arg = arg;
    v->ring = calloc(QUEUE, sizeof(*v->ring));
    v->digest = v->ring ? pt_digest_create(algorithm, err) : NULL;
    if (v->digest)
        return v;
    if (!v->ring)
        pt_err_set(err, "out of memory");
    pt_verify_destroy(v);
    return NULL;
}

void pt_verify_destroy(struct pt_verify *v)
{
    if (!v)
        return;
    int saved = errno;
    pthread_mutex_lock(&v->lock);
    v->end = true;
    pthread_cond_signal(&v->wanted);
    pthread_mutex_unlock(&v->lock);
    if (v->started)
        pthread_join(v->thread, NULL);
    pthread_cond_destroy(&v->done);
    pthread_cond_destroy(&v->wanted);
    pthread_mutex_destroy(&v->lock);
    pt_digest_destroy(v->digest);
    free(v->ring);
    free(v);
    errno = saved;
}

static void check(struct pt_verify *v, const struct queued *q)
{
    unsigned char digest[PT_DIGEST];
    pt_digest_add(v->digest, q->job.data, q->job.size);
    bool good = pt_digest_end(v->digest, digest) == 0 && memcmp(digest, q->job.digest, PT_DIGEST) == 0;
    v->checked(v->arg, &q->job, good);
    pt_piece_release(q->piece);
}

static void *run(void *arg)
{
    struct pt_verify *v = arg;
    pthread_mutex_lock(&v->lock);
    for (;;) {
        while (v->n == 0 && !v->end)
            pthread_cond_wait(&v->wanted, &v->lock);
        if (v->n == 0)
            break;
        struct queued q = v->ring[v->first];
        pthread_mutex_unlock(&v->lock);
        check(v, &q);
        pthread_mutex_lock(&v->lock);
        v->first = (v->first + 1) % QUEUE;
        v->n--;
        v->bytes -= q.job.size;
        pthread_cond_signal(&v->done);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

int pt_verify_add(struct pt_verify *v, struct pt_piece *piece, const struct pt_verify_job *job,
                  struct pt_err *err)
{
    if (!v->started && pthread_create(&v->thread, NULL, run, v) != 0)
        return pt_err_set(err, "cannot start a thread");
    v->started = true;
    atomic_fetch_add(&piece->holders, 1);
    pthread_mutex_lock(&v->lock);
    while (v->n == QUEUE || (v->n && v->bytes + job->size > PT_VERIFY_AHEAD))
        pthread_cond_wait(&v->done, &v->lock);
    v->ring[(v->first + v->n++) % QUEUE] = (struct queued){.job = *job, .piece = piece};
    v->bytes += job->size;
    if (v->n == 1)
        pthread_cond_signal(&v->wanted);
    pthread_mutex_unlock(&v->lock);
    return 0;
}

void pt_verify_wait(struct pt_verify *v)
{
    pthread_mutex_lock(&v->lock);
    while (v->n)
        pthread_cond_wait(&v->done, &v->lock);
    pthread_mutex_unlock(&v->lock);
}
