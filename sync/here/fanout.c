/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/fanout.h"

#include "common/auto.h"
#include "sync/here/fanout_inside.h"

#include <fcntl.h>
#include <string.h>

struct pt_fanout *pt_fanout_create(struct pt_manifest *manifest, const char *spill, unsigned lanes,
                                   struct pt_err *err)
{
    const char *folder = pt_manifest_folder(manifest);
    struct pt_fanout *f = calloc(1, sizeof(*f));
    if (!f) {
        pt_manifest_destroy(manifest);
        pt_err_set(err, "packing: out of memory");
        return NULL;
    }
    pthread_mutex_init(&f->lock, NULL);
    f->manifest = manifest;
    f->expected = lanes;
    f->root = open(folder ? folder : "", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->root < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", folder ? folder : "a tree that lies nowhere",
                        strerror(errno));
        goto error;
    }
    f->spill = pt_spill_create(spill, PT_SEGMENT_MAX);
    if (f->spill)
        return f;
    pt_err_set(err, "packing: out of memory");
error:
    pt_fanout_destroy(f);
    return NULL;
}

void pt_fanout_destroy(struct pt_fanout *f)
{
    if (!f)
        return;
    int saved = errno;
    pthread_mutex_lock(&f->lock);
    f->expected = 0;
    struct pt_fan_pack *idle = pt_fan_idle(f);
    pthread_mutex_unlock(&f->lock);
    pt_fan_destroy(idle);
    pt_spill_destroy(f->spill);
    if (f->root >= 0)
        close(f->root);
    pt_manifest_destroy(f->manifest);
    pthread_mutex_destroy(&f->lock);
    free(f);
    errno = saved;
}

const struct pt_manifest *pt_fanout_manifest(const struct pt_fanout *f)
{
    return f->manifest;
}

static size_t bitmap_size(const struct pt_fanout *f)
{
    return ((size_t)pt_manifest_blobs(f->manifest) + 7) / 8;
}

static void free_pack(struct pt_fan_pack *pack)
{
    pthread_cond_destroy(&pack->changed);
    pt_buf_fini(&pack->scratch);
    free(pack->pieces);
    free(pack->need);
    free(pack);
}

struct pt_fan_pack *pt_fan_idle(struct pt_fanout *f)
{
    struct pt_fan_pack *out = NULL;
    for (struct pt_fan_pack **link = &f->packs; *link && f->expected == 0;) {
        struct pt_fan_pack *pack = *link;
        if (pack->parcels) {
            link = &pack->next;
            continue;
        }
        *link = pack->next;
        pack->next = out;
        out = pack;
        pack->stop = true;
        pthread_cond_signal(&pack->changed);
    }
    return out;
}

void pt_fan_destroy(struct pt_fan_pack *packs)
{
    for (struct pt_fan_pack *pack = packs, *next; pack; pack = next) {
        struct pt_fanout *f = pack->f;
        next = pack->next;
        pthread_join(pack->thread, NULL);
        pthread_mutex_lock(&f->lock);
        for (size_t i = pack->first; i < pack->n; i++)
            pt_fan_piece_unref(f, pack->pieces[i]);
        pt_fan_refresh(f);
        pt_fan_rest(f);
        pthread_mutex_unlock(&f->lock);
        free_pack(pack);
    }
}

static uint64_t total_of(const struct pt_manifest *m, const unsigned char *need)
{
    uint64_t total = 0;
    for (size_t i = 0; i < pt_manifest_count(m); i++) {
        const struct pt_entry *e = pt_manifest_get(m, i);
        uint32_t first = pt_manifest_first_blob(m, i), end = pt_manifest_first_blob(m, i + 1);
        for (uint32_t n = first; n < end; n++)
            if (need[n / 8] >> (n % 8) & 1)
                total += e->nchunks ? e->chunks[n - first].size : e->size;
    }
    return total;
}

static struct pt_fan_pack *create_pack(struct pt_fanout *f, const unsigned char *need)
{
    size_t size = bitmap_size(f);
    struct pt_fan_pack *pack = calloc(1, sizeof(*pack));
    if (!pack || !(pack->need = malloc(size + 1))) {
        free(pack);
        return NULL;
    }
    pthread_cond_init(&pack->changed, NULL);
    memcpy(pack->need, need, size);
    pack->f = f;
    pack->total = total_of(f->manifest, need);
    pack->err = PT_ERR_INIT;
    return pack;
}

static struct pt_fan_pack *find_pack(const struct pt_fanout *f, const unsigned char *need)
{
    size_t size = bitmap_size(f);
    struct pt_fan_pack *pack = f->packs;
    while (pack && (pack->first > 0 || memcmp(pack->need, need, size) != 0))
        pack = pack->next;
    return pack;
}

/* The pack of that set; a new one is listed, and its thread waits for the lock. */
static struct pt_fan_pack *want_pack(struct pt_fanout *f, const unsigned char *need)
{
    struct pt_fan_pack *pack = find_pack(f, need);
    if (pack || !(pack = create_pack(f, need)))
        return pack;
    if (pt_fan_start(pack) < 0) {
        int saved = errno;
        free_pack(pack);
        errno = saved;
        return NULL;
    }
    pack->next = f->packs;
    f->packs = pack;
    f->packs_made++;
    return pack;
}

struct pt_parcel *pt_fanout_join(struct pt_fanout *f, const unsigned char *need, struct pt_err *err)
{
    struct pt_parcel *p = pt_fan_parcel_create(err);
    if (!p)
        return NULL;
    pthread_mutex_lock(&f->lock);
    struct pt_fan_pack *pack = want_pack(f, need);
    if (pack) {
        p->pack = pack;
        p->next = pack->parcels;
        pack->parcels = p;
        if (f->expected > 0)
            f->expected--;
        for (struct pt_fan_pack *any = f->packs; any; any = any->next)
            pt_fan_drop(any);
        pt_fan_refresh(f);
    }
    struct pt_fan_pack *idle = pt_fan_idle(f);
    pthread_mutex_unlock(&f->lock);
    pt_fan_destroy(idle);
    if (pack)
        return p;
    pt_err_set(err, "packing: %s", strerror(errno));
    pt_parcel_leave(p);
    return NULL;
}

void pt_fanout_skip(struct pt_fanout *f)
{
    pthread_mutex_lock(&f->lock);
    if (f->expected > 0)
        f->expected--;
    for (struct pt_fan_pack *pack = f->packs; pack; pack = pack->next)
        pt_fan_drop(pack);
    struct pt_fan_pack *idle = pt_fan_idle(f);
    pt_fan_refresh(f);
    pthread_mutex_unlock(&f->lock);
    pt_fan_destroy(idle);
}

uint64_t pt_fanout_kept(struct pt_fanout *f)
{
    pthread_mutex_lock(&f->lock);
    uint64_t kept = f->kept;
    pthread_mutex_unlock(&f->lock);
    return kept;
}

unsigned pt_fanout_packs(struct pt_fanout *f)
{
    pthread_mutex_lock(&f->lock);
    unsigned made = f->packs_made;
    pthread_mutex_unlock(&f->lock);
    return made;
}
