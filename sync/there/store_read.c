/* SPDX-License-Identifier: Apache-2.0 */
/* Wants are sorted by place and cut into batches. Two threads fill slots with batches, whole and checked; the
 * caller's is one of them, and gives what lies in full slots before it fills another. */
#include "common/auto.h"
#include "common/err.h"
#include "sync/compress.h"
#include "sync/there/store_inside.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define SLOTS    4
#define CUT_SOON (1u << 20) /* a batch of so much work ends where no segment is shared with the next */
#define CUT_NOW  (4u << 20) /* ... and so much ends it anywhere */
#define ROUNDS   50         /* while others merge what is read */
#define STILL    2          /* rounds without a change after which nothing more is hoped for */
#define DAY      (24 * 60 * 60)

enum found { FAILED, GOOD, DAMAGED, GONE };

struct piece {
    struct store_pack *pack;
    struct store_blob *blob;
    struct pt_store_want *want;
    size_t first, last; /* segments */
    size_t at;          /* in the slot */
    enum found found;
};

struct batch {
    size_t from, to; /* pieces */
};

struct slot {
    enum { FREE, BUSY, FULL } state;
    size_t batch;
    unsigned char *data;
    size_t room;
};

struct reading {
    struct pt_store *store;
    struct piece *pieces;
    size_t npieces;
    struct batch *batches;
    size_t nbatches, next; /* the first that nobody has taken */
    struct slot slots[SLOTS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
};

/* What one thread reads with. */
struct reader {
    const struct pt_store *store;
    struct pt_digest *digest;
    unsigned char *bytes, *raw;
    const struct store_pack *pack;      /* that fd is open for */
    const struct store_segment *in_raw; /* that is unpacked */
    int fd;
};

/* --- one piece --- */

static struct reader *reader_create(const struct pt_store *s)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->fd = -1;
    r->store = s;
    r->digest = pt_digest_create(s->algorithm, NULL);
    r->bytes = malloc(PT_SEGMENT_BYTES);
    r->raw = malloc(PT_SEGMENT_MAX);
    return r;
}

static void reader_destroy(struct reader *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    pt_digest_destroy(r->digest);
    free(r->bytes);
    free(r->raw);
    free(r);
}

static enum found failed(int rc)
{
    if (rc < 0 && (errno == ENOENT || errno == ESTALE || errno == ENOTDIR))
        return GONE;
    return rc < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM) ? FAILED : DAMAGED;
}

static enum found open_pack(struct reader *r, const struct store_pack *p)
{
    char file[STORE_FILE];
    if (r->pack == p)
        return GOOD;
    if (r->fd >= 0)
        close(pt_steal_fd(&r->fd));
    r->pack = NULL;
    r->in_raw = NULL;
    pt_store_file(file, p->name, ".pack");
    r->fd = openat(r->store->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (r->fd < 0)
        return failed(-1);
    r->pack = p;
    return GOOD;
}

static enum found read_segment(struct reader *r, const struct store_segment *s)
{
    if (r->in_raw == s)
        return GOOD;
    r->in_raw = NULL;
    int rc = pt_store_pread(r->fd, r->bytes, s->size, s->at);
    if (rc <= 0)
        return failed(rc);
    struct pt_segment packed = {.data = r->bytes, .size = s->size, .raw = s->raw, .packed = true};
    if (pt_segment_unpack(&packed, r->raw, NULL) < 0)
        return DAMAGED;
    r->in_raw = s;
    return GOOD;
}

/* The part of the blob that lies in a segment. */
static enum found read_part(struct reader *r, const struct store_segment *s, uint64_t from, size_t n,
                            unsigned char *out)
{
    if (!s->packed) {
        int rc = pt_store_pread(r->fd, out, n, s->at + from);
        return rc > 0 ? GOOD : failed(rc);
    }
    enum found found = read_segment(r, s);
    if (found == GOOD)
        memcpy(out, r->raw + from, n);
    return found;
}

static enum found read_piece(struct reader *r, const struct piece *p, unsigned char *out)
{
    enum found found = open_pack(r, p->pack);
    uint64_t offset = p->blob->offset, end = offset + p->blob->size;
    for (size_t i = p->first; found == GOOD && i <= p->last; i++) {
        const struct store_segment *s = &p->pack->segments[i];
        uint64_t stop = s->offset + s->raw < end ? s->offset + s->raw : end;
        found = read_part(r, s, offset - s->offset, (size_t)(stop - offset), out);
        out += stop - offset;
        offset = stop;
    }
    if (found != GOOD)
        return found;
    unsigned char digest[PT_DIGEST];
    pt_digest_add(r->digest, out - p->blob->size, p->blob->size);
    if (pt_digest_end(r->digest, digest) < 0)
        return FAILED;
    return memcmp(digest, p->blob->digest, PT_DIGEST) == 0 ? GOOD : DAMAGED;
}

static void fill(struct reading *g, struct reader *r, struct slot *slot)
{
    const struct batch *b = &g->batches[slot->batch];
    const struct piece *last = &g->pieces[b->to - 1];
    size_t need = last->at + last->blob->size;
    if (slot->room < need) {
        free(slot->data);
        slot->data = malloc(need);
        slot->room = slot->data ? need : 0;
    }
    if (!slot->data || !r->bytes || !r->raw || !r->digest)
        return;
    for (size_t i = b->from; i < b->to; i++)
        g->pieces[i].found = read_piece(r, &g->pieces[i], slot->data + g->pieces[i].at);
}

/* --- two threads --- */

static struct slot *take(struct reading *g)
{
    for (size_t i = 0; i < SLOTS && g->next < g->nbatches; i++)
        if (g->slots[i].state == FREE) {
            g->slots[i].state = BUSY;
            g->slots[i].batch = g->next++;
            return &g->slots[i];
        }
    return NULL;
}

static struct slot *first_full(struct reading *g)
{
    struct slot *first = NULL;
    for (size_t i = 0; i < SLOTS; i++)
        if (g->slots[i].state == FULL && (!first || g->slots[i].batch < first->batch))
            first = &g->slots[i];
    return first;
}

static bool any_busy(const struct reading *g)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (g->slots[i].state == BUSY)
            return true;
    return false;
}

static void *help(void *arg)
{
    struct reading *g = arg;
    struct reader *r = reader_create(g->store);
    pthread_mutex_lock(&g->lock);
    while (r && !g->stop && g->next < g->nbatches) {
        struct slot *slot = take(g);
        if (!slot) {
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        pthread_mutex_unlock(&g->lock);
        fill(g, r, slot);
        pthread_mutex_lock(&g->lock);
        slot->state = FULL;
        pthread_cond_signal(&g->changed);
    }
    pthread_mutex_unlock(&g->lock);
    reader_destroy(r);
    return NULL;
}

typedef int give_fn(void *arg, uint32_t number, const void *data, uint32_t size);

static int give_batch(struct reading *g, const struct slot *slot, give_fn *give, void *arg)
{
    const struct batch *b = &g->batches[slot->batch];
    for (size_t i = b->from; i < b->to; i++) {
        const struct piece *p = &g->pieces[i];
        if (p->found != GOOD)
            continue;
        if (give(arg, p->want->number, slot->data + p->at, p->want->size) < 0)
            return -1;
        p->want->lost = false;
    }
    return 0;
}

static int work(struct reading *g, struct reader *r, give_fn *give, void *arg)
{
    int rc = 0;
    pthread_mutex_lock(&g->lock);
    while (rc == 0) {
        struct slot *slot = first_full(g);
        bool full = slot != NULL;
        if (!full && !(slot = take(g))) {
            if (!any_busy(g))
                break;
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        pthread_mutex_unlock(&g->lock);
        if (!full)
            fill(g, r, slot);
        rc = give_batch(g, slot, give, arg);
        pthread_mutex_lock(&g->lock);
        slot->state = FREE;
        pthread_cond_signal(&g->changed);
    }
    g->stop = true;
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
    return rc;
}

/* The helper takes no signals. */
static bool start_helper(struct reading *g, pthread_t *thread)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread, NULL, help, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

static int run(struct reading *g, give_fn *give, void *arg, struct pt_err *err)
{
    pthread_t helper;
    struct reader *r = reader_create(g->store);
    if (!r)
        return pt_err_set(err, "the store of files: out of memory");
    bool helped = g->nbatches > 1 && start_helper(g, &helper);
    int rc = work(g, r, give, arg);
    if (helped)
        pthread_join(helper, NULL);
    reader_destroy(r);
    for (size_t i = 0; i < SLOTS; i++)
        free(g->slots[i].data);
    return rc;
}

/* --- what to read, in which order --- */

static int by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->pack != y->pack)
        return memcmp(x->pack->name, y->pack->name, STORE_NAME);
    return x->blob->offset < y->blob->offset ? -1 : x->blob->offset > y->blob->offset;
}

/* How much there is to do for a piece when `before` was just done. */
static size_t effort(const struct piece *p, const struct piece *before)
{
    size_t sum = p->blob->size;
    for (size_t i = p->first; i <= p->last; i++)
        if (p->pack->segments[i].packed && !(before && before->pack == p->pack && before->last == i))
            sum += p->pack->segments[i].raw;
    return sum;
}

static bool shares(const struct piece *p, const struct piece *before)
{
    return p->pack == before->pack && p->first == before->last && p->pack->segments[p->first].packed;
}

static void cut(struct reading *g)
{
    size_t sum = 0;
    struct batch *b = NULL;
    for (size_t i = 0; i < g->npieces; i++) {
        struct piece *p = &g->pieces[i];
        if (!b || sum >= CUT_NOW || (sum >= CUT_SOON && !shares(p, p - 1))) {
            b = &g->batches[g->nbatches++];
            b->from = i;
            sum = 0;
        }
        bool first = b->from == i;
        sum += effort(p, first ? NULL : p - 1);
        p->at = first ? 0 : p[-1].at + p[-1].blob->size;
        b->to = i + 1;
    }
}

static int plan(struct reading *g, struct pt_store_want *wants, size_t n)
{
    g->pieces = calloc(n + 1, sizeof(*g->pieces));
    g->batches = calloc(n + 1, sizeof(*g->batches));
    if (!g->pieces || !g->batches)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct piece p = {.want = &wants[i]};
        if (!wants[i].lost || wants[i].size == 0 ||
            !(p.blob = pt_store_find(g->store, wants[i].digest, wants[i].size, &p.pack)))
            continue;
        p.first = pt_store_pack_at(p.pack, p.blob->offset);
        p.last = pt_store_pack_at(p.pack, p.blob->offset + p.blob->size - 1);
        g->pieces[g->npieces++] = p;
    }
    qsort(g->pieces, g->npieces, sizeof(*g->pieces), by_place);
    cut(g);
    return 0;
}

/* --- afterwards --- */

void pt_store_used(const struct pt_store *s, struct store_pack *p)
{
    struct timespec now;
    char file[STORE_FILE];
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec - p->used < DAY)
        return;
    pt_store_file(file, p->name, ".idx");
    utimensat(s->dir, file, NULL, AT_SYMLINK_NOFOLLOW);
    p->used = now.tv_sec;
}

/* Learns from what was found. True when packs are not what they were. */
static bool learn(struct reading *g)
{
    bool changed = false;
    for (size_t i = 0; i < g->npieces; i++) {
        struct piece *p = &g->pieces[i];
        if (p->found == GOOD)
            pt_store_used(g->store, p->pack);
        p->pack->gone |= p->found == GONE;
        p->pack->damaged |= p->found == DAMAGED;
        changed |= p->found == GONE || p->found == DAMAGED;
    }
    for (size_t i = 0; i < g->npieces; i++)
        if (g->pieces[i].found == DAMAGED)
            g->pieces[i].blob->size = 0;
    return changed;
}

/* Indexes that claim what is damaged are written anew. */
static void repair(struct pt_store *s)
{
    for (size_t i = 0; i < s->npacks; i++) {
        struct store_pack *p = s->packs[i];
        size_t good = 0;
        for (size_t k = 0; p->damaged && k < p->nblobs; k++)
            good += p->blobs[k].size > 0;
        if (p->damaged && !p->gone && good == 0) {
            pt_store_pack_remove(s, p, ".pack");
            p->gone = true;
        } else if (p->damaged && !p->gone) {
            pt_store_pack_save(s, p);
        }
        p->damaged = false;
    }
}

/* One time over those that are lost so far; 1 when packs are not what they were. */
static int read_once(struct pt_store *s, struct pt_store_want *wants, size_t n, give_fn *give, void *arg,
                     struct pt_err *err)
{
    struct reading g = {.store = s};
    pthread_mutex_init(&g.lock, NULL);
    pthread_cond_init(&g.changed, NULL);
    int rc = plan(&g, wants, n) < 0 ? pt_err_set(err, "the store of files: out of memory") : 0;
    if (rc == 0 && g.npieces > 0)
        rc = run(&g, give, arg, err);
    if (learn(&g)) {
        repair(s);
        pt_store_look(s);
        rc = rc < 0 ? rc : 1;
    }
    pthread_mutex_destroy(&g.lock);
    pthread_cond_destroy(&g.changed);
    free(g.pieces);
    free(g.batches);
    return rc;
}

static bool any_lost(const struct pt_store_want *wants, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (wants[i].lost)
            return true;
    return false;
}

/* Where packs went, others that hold the same may have come; one look may miss them while they are renamed.
 */
int pt_store_read(struct pt_store *s, struct pt_store_want *wants, size_t n, give_fn *give, void *arg,
                  struct pt_err *err)
{
    bool again = s && n > 0;
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        wants[i].lost = true;
    for (int i = 0, still = 0; again && i < ROUNDS && still < STILL; i++) {
        if (i > 1)
            pt_store_look(s);
        rc = read_once(s, wants, n, give, arg, err);
        still = rc == 1 ? 0 : still + 1;
        again = rc >= 0 && (i > 0 || rc == 1) && any_lost(wants, n);
    }
    return rc < 0 ? -1 : 0;
}
