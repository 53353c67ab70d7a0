/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "sync/sealed.h"
#include "sync/there/store_inside.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MAGIC        0x50545831u /* "PTX1" */
#define SEGMENT_SIZE 9
#define BLOB_SIZE    (PT_DIGEST + 8 + 4)

void pt_store_file(char out[STORE_FILE], const char *name, const char *suffix)
{
    snprintf(out, STORE_FILE, "%.*s%s", STORE_NAME, name, suffix);
}

bool pt_store_is(const char *file, const char *suffix)
{
    return strspn(file, "0123456789abcdef") == STORE_NAME && strcmp(file + STORE_NAME, suffix) == 0;
}

int pt_store_pread(int fd, void *data, size_t n, uint64_t at)
{
    for (char *p = data; n > 0;) {
        ssize_t got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return (int)got;
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 1;
}

struct store_pack *pt_store_pack_create(void)
{
    struct store_pack *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->fd = -1;
    p->bytes = STORE_HEAD;
    return p;
}

void pt_store_pack_destroy(struct store_pack *p)
{
    if (!p)
        return;
    int saved = errno;
    if (p->fd >= 0)
        close(p->fd);
    free(p->segments);
    free(p->blobs);
    free(p);
    errno = saved;
}

int pt_store_pack_blob(struct store_pack *p, const struct store_blob *blob)
{
    if (p->nblobs == p->blob_room) {
        size_t room = p->blob_room ? 2 * p->blob_room : 64;
        struct store_blob *grown = reallocarray(p->blobs, room, sizeof(*grown));
        if (!grown)
            return -1;
        p->blobs = grown;
        p->blob_room = room;
    }
    p->blobs[p->nblobs++] = *blob;
    return 0;
}

int pt_store_pack_segment(struct store_pack *p, uint32_t size, uint32_t raw, bool packed)
{
    if (p->nsegments == p->segment_room) {
        size_t room = p->segment_room ? 2 * p->segment_room : 16;
        struct store_segment *grown = reallocarray(p->segments, room, sizeof(*grown));
        if (!grown)
            return -1;
        p->segments = grown;
        p->segment_room = room;
    }
    p->segments[p->nsegments++] = (struct store_segment){
        .at = p->bytes + STORE_SEGMENT_HEAD, .offset = p->raw, .size = size, .raw = raw, .packed = packed};
    p->bytes += STORE_SEGMENT_HEAD + size;
    p->raw += raw;
    return 0;
}

size_t pt_store_pack_at(const struct store_pack *p, uint64_t offset)
{
    size_t low = 0, high = p->nsegments;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (p->segments[mid].offset <= offset)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* --- the index --- */

int pt_store_pack_save(const struct pt_store *s, const struct store_pack *p)
{
    struct pt_buf b = {0};
    char file[STORE_FILE];
    size_t n = 0;
    for (size_t i = 0; i < p->nblobs; i++)
        n += p->blobs[i].size > 0;
    pt_put_u32(&b, MAGIC);
    pt_put_u8(&b, (uint8_t)s->algorithm);
    pt_put_u32(&b, (uint32_t)p->nsegments);
    pt_put_u32(&b, (uint32_t)n);
    for (size_t i = 0; i < p->nsegments; i++) {
        pt_put_u32(&b, p->segments[i].size);
        pt_put_u32(&b, p->segments[i].raw);
        pt_put_u8(&b, p->segments[i].packed);
    }
    for (size_t i = 0; i < p->nblobs; i++) {
        if (p->blobs[i].size == 0)
            continue;
        pt_buf_append(&b, p->blobs[i].digest, PT_DIGEST);
        pt_put_u64(&b, p->blobs[i].offset);
        pt_put_u32(&b, p->blobs[i].size);
    }
    pt_store_file(file, p->name, ".idx");
    pt_auto_free char *path = NULL;
    int rc = -1;
    if (asprintf(&path, "%s/%s", s->folder, file) < 0)
        path = NULL;
    else
        rc = pt_sealed_write(path, &b);
    pt_buf_fini(&b);
    return rc;
}

static bool get_segments(struct store_pack *p, struct pt_reader *r, uint32_t n)
{
    p->segments = reallocarray(NULL, n, sizeof(*p->segments));
    p->segment_room = p->segments ? n : 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t size = pt_get_u32(r), raw = pt_get_u32(r);
        uint8_t packed = pt_get_u8(r);
        if (packed > 1 || !pt_segment_fits(size, raw, packed) ||
            pt_store_pack_segment(p, size, raw, packed) < 0)
            return false;
    }
    return true;
}

static bool get_blobs(struct store_pack *p, struct pt_reader *r, uint32_t n)
{
    p->blobs = reallocarray(NULL, n, sizeof(*p->blobs));
    if (!p->blobs)
        return false;
    p->blob_room = p->nblobs = n;
    for (uint32_t i = 0; i < n; i++) {
        struct store_blob *b = &p->blobs[i];
        const void *digest = pt_get_raw(r, PT_DIGEST);
        b->offset = pt_get_u64(r);
        b->size = pt_get_u32(r);
        if (!digest || b->size == 0 || b->size > PT_BLOB_MAX || b->size > p->raw ||
            b->offset > p->raw - b->size)
            return false;
        memcpy(b->digest, digest, PT_DIGEST);
    }
    return true;
}

static bool decode(const struct pt_store *s, struct store_pack *p, const struct pt_buf *b)
{
    struct pt_reader r = {.p = b->data, .left = b->len};
    uint32_t magic = pt_get_u32(&r);
    uint8_t algorithm = pt_get_u8(&r);
    uint32_t nsegments = pt_get_u32(&r), nblobs = pt_get_u32(&r);
    return !r.bad && magic == MAGIC && algorithm == s->algorithm && nsegments > 0 && nblobs > 0 &&
           nblobs <= STORE_MAX_BLOBS &&
           r.left == (uint64_t)nsegments * SEGMENT_SIZE + (uint64_t)nblobs * BLOB_SIZE &&
           get_segments(p, &r, nsegments) && get_blobs(p, &r, nblobs) && pt_get_end(&r);
}

struct store_pack *pt_store_pack_load(const struct pt_store *s, const char *name, const char *suffix)
{
    char file[STORE_FILE], index[STORE_FILE];
    struct stat st, it;
    pt_store_file(file, name, suffix);
    pt_store_file(index, name, ".idx");
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/%s", s->folder, index) < 0) {
        path = NULL;
        return NULL;
    }
    if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
        fstatat(s->dir, index, &it, AT_SYMLINK_NOFOLLOW) < 0)
        return NULL;
    struct pt_buf b = {0};
    struct store_pack *p = pt_store_pack_create();
    bool good = p && pt_sealed_read(path, &b) == 0 && decode(s, p, &b) && p->bytes <= (uint64_t)st.st_size;
    pt_buf_fini(&b);
    if (!good) {
        pt_store_pack_destroy(p);
        return NULL;
    }
    memcpy(p->name, name, STORE_NAME);
    p->used = it.st_mtim.tv_sec;
    return p;
}

void pt_store_pack_remove(const struct pt_store *s, const struct store_pack *p, const char *suffix)
{
    char file[STORE_FILE];
    pt_store_file(file, p->name, suffix);
    unlinkat(s->dir, file, 0);
    pt_store_file(file, p->name, ".idx");
    unlinkat(s->dir, file, 0);
}
