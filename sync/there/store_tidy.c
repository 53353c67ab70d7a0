/* SPDX-License-Identifier: Apache-2.0 */
/* Others may tidy the same folder at the same time. So only what was copied whole is removed, a pack before
 * its index, and a file that is no longer there is nobody's fault. */
#include "common/auto.h"
#include "sync/paths.h"
#include "sync/there/store_inside.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define MANY      16u
#define SMALL     (8u << 20)
#define MERGE_MAX (256u << 20) /* bytes copied in one go */

/* --- merge --- */

struct merge {
    struct pt_store *store;
    struct store_pack *out;
    unsigned char *bytes;
};

/* Goes into the new pack, unless it does so from another of the merged ones. */
static bool is_wanted(const struct pt_store *s, const struct store_blob *b)
{
    struct store_pack *pack;
    const struct store_blob *home = b->size ? pt_store_find(s, b->digest, b->size, &pack) : NULL;
    return home && (home == b || !pack->merging);
}

static int copy_segment(struct merge *m, int fd, const struct store_segment *s)
{
    struct pt_segment segment = {.data = m->bytes, .size = s->size, .raw = s->raw, .packed = s->packed};
    return pt_store_pread(fd, m->bytes, s->size, s->at) <= 0 ? -1 : pt_store_pack_write(m->out, &segment);
}

/* moved[i]: where the raw bytes of segment i begin in the new pack, for those that hold blobs. */
static int copy_segments(struct merge *m, const struct store_pack *p, int fd, uint64_t *moved)
{
    for (size_t i = 0; i < p->nsegments; i++) {
        if (!moved[i])
            continue;
        moved[i] = m->out->raw;
        if (copy_segment(m, fd, &p->segments[i]) < 0)
            return -1;
    }
    return 0;
}

static int copy_blobs(struct merge *m, const struct store_pack *p, const uint64_t *moved)
{
    for (size_t i = 0; i < p->nblobs; i++) {
        struct store_blob b = p->blobs[i];
        if (!is_wanted(m->store, &p->blobs[i]))
            continue;
        size_t at = pt_store_pack_at(p, b.offset);
        b.offset += moved[at] - p->segments[at].offset;
        if (pt_store_pack_blob(m->out, &b) < 0)
            return -1;
    }
    return 0;
}

static int copy_pack(struct merge *m, const struct store_pack *p)
{
    char file[STORE_FILE];
    pt_store_file(file, p->name, ".pack");
    pt_auto_fd int fd = openat(m->store->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    pt_auto_free uint64_t *moved = calloc(p->nsegments, sizeof(*moved));
    if (fd < 0 || !moved)
        return -1;
    for (size_t i = 0; i < p->nblobs; i++) {
        const struct store_blob *b = &p->blobs[i];
        if (!is_wanted(m->store, b))
            continue;
        size_t last = pt_store_pack_at(p, b->offset + b->size - 1);
        for (size_t k = pt_store_pack_at(p, b->offset); k <= last; k++)
            moved[k] = 1;
    }
    return copy_segments(m, p, fd, moved) < 0 || copy_blobs(m, p, moved) < 0 ? -1 : 0;
}

/* Marks what to merge; false when that is not worth it. */
static bool choose(const struct pt_store *s)
{
    size_t n = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < s->npacks; i++) {
        struct store_pack *p = s->packs[i];
        p->merging = p->bytes < SMALL && sum < MERGE_MAX;
        sum += p->merging ? p->bytes : 0;
        n += p->merging;
    }
    return n > MANY;
}

static bool copy_packs(struct merge *m)
{
    for (size_t i = 0; i < m->store->npacks; i++)
        if (m->store->packs[i]->merging && copy_pack(m, m->store->packs[i]) < 0)
            return false;
    return m->out->nblobs > 0;
}

/* All small packs into one, or nothing. */
static void merge(struct pt_store *s)
{
    if (!choose(s))
        return;
    size_t n = s->npacks;
    struct merge m = {.store = s, .bytes = malloc(PT_SEGMENT_BYTES), .out = pt_store_pack_begin(s, ".merge")};
    bool good = m.bytes && m.out && copy_packs(&m);
    if (m.out && !good) {
        pt_store_pack_remove(s, m.out, ".merge");
        pt_store_pack_destroy(m.out);
    }
    good = good && pt_store_pack_end(s, m.out, ".merge") == 0;
    for (size_t i = 0; good && i < n; i++)
        if (s->packs[i]->merging) {
            pt_store_pack_remove(s, s->packs[i], ".pack");
            s->packs[i]->gone = true;
        }
    free(m.bytes);
}

/* --- evict --- */

static int by_use(const void *a, const void *b)
{
    const struct store_pack *x = *(struct store_pack *const *)a, *y = *(struct store_pack *const *)b;
    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    return memcmp(x->name, y->name, STORE_NAME);
}

static void evict(struct pt_store *s, uint64_t limit)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->npacks; i++)
        if (!s->packs[i]->gone)
            sum += s->packs[i]->bytes;
    if (sum <= limit)
        return;
    qsort(s->packs, s->npacks, sizeof(struct store_pack *), by_use);
    for (size_t i = 0; i < s->npacks && sum > limit; i++) {
        struct store_pack *p = s->packs[i];
        if (p->gone)
            continue;
        pt_store_pack_remove(s, p, ".pack");
        p->gone = true;
        sum -= p->bytes;
    }
}

/* --- the rest --- */

static bool is_alone(const struct pt_store *s, const char *file)
{
    char other[STORE_FILE];
    struct stat st;
    static const char *const suffixes[] = {".pack", ".part", ".merge"};
    for (size_t i = 0; i < PT_COUNT(suffixes); i++) {
        pt_store_file(other, file, suffixes[i]);
        if (fstatat(s->dir, other, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return false;
    }
    return true;
}

/* Merges that were not ended, indexes without a pack, and files that were to be renamed. */
static bool is_litter(const struct pt_store *s, const char *file)
{
    if (pt_store_is(file, ".merge")) {
        pt_auto_fd int fd = pt_store_abandoned(s, file);
        return fd >= 0;
    }
    if (pt_store_is(file, ".idx"))
        return is_alone(s, file) && pt_store_old(s, file) && is_alone(s, file);
    return (strncmp(file, ".clock.", 7) == 0 || strstr(file, ".idx.")) && pt_store_old(s, file);
}

static void sweep(const struct pt_store *s)
{
    DIR *d = opendir(s->folder);
    struct pt_paths found = {0};
    for (const struct dirent *e; d && (e = readdir(d));)
        if (is_litter(s, e->d_name))
            pt_paths_add(&found, "", e->d_name);
    if (d)
        closedir(d);
    for (size_t i = 0; i < found.n; i++)
        unlinkat(s->dir, found.v[i], 0);
    pt_paths_fini(&found);
}

void pt_store_tidy(struct pt_store *s, uint64_t limit)
{
    if (!s)
        return;
    if (pt_store_look(s) < 0)
        return;
    pt_store_salvage(s);
    merge(s);
    evict(s, limit);
    pt_store_rebuild(s);
    sweep(s);
}
