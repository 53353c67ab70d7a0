/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/record.h"

#include "common/auto.h"
#include "sync/sealed.h"

#define MAGIC      0x50545232u /* "PTR2" */
#define STAMP_SIZE 32

void pt_record_fini(struct pt_record *r)
{
    pt_manifest_destroy(r->manifest);
    free(r->stamps);
    *r = (struct pt_record){0};
}

static struct pt_stamp get_stamp(struct pt_reader *r)
{
    struct pt_stamp s = {.ino = pt_get_u64(r)};
    s.size = pt_get_u64(r);
    s.mtime_ns = (int64_t)pt_get_u64(r);
    s.ctime_ns = (int64_t)pt_get_u64(r);
    return s;
}

static bool decode(struct pt_record *rec, struct pt_reader *r)
{
    size_t len;
    uint32_t magic = pt_get_u32(r);
    rec->clock_ns = (int64_t)pt_get_u64(r);
    const void *encoded = pt_get_bytes(r, &len);
    if (r->bad || magic != MAGIC || !(rec->manifest = pt_manifest_decode(encoded, len, NULL)))
        return false;
    size_t n = pt_manifest_count(rec->manifest);
    if (r->left / STAMP_SIZE != n || !(rec->stamps = calloc(n + 1, sizeof(*rec->stamps))))
        return false;
    for (size_t i = 0; i < n; i++)
        rec->stamps[i] = get_stamp(r);
    return pt_get_end(r);
}

void pt_record_load(struct pt_record *r, const char *path)
{
    struct pt_buf b = {0};
    *r = (struct pt_record){0};
    if (pt_sealed_read(path, &b) == 0) {
        struct pt_reader reader = {.p = b.data, .left = b.len};
        if (!decode(r, &reader))
            pt_record_fini(r);
    }
    pt_buf_fini(&b);
}

int pt_record_save(const struct pt_record *r, const char *path)
{
    struct pt_buf b = {0};
    pt_put_u32(&b, MAGIC);
    pt_put_u64(&b, (uint64_t)r->clock_ns);
    size_t mark = b.len;
    pt_put_u32(&b, 0);
    pt_manifest_encode(r->manifest, &b);
    if (!b.bad)
        pt_set_u32(&b, mark, (uint32_t)(b.len - mark - 4));
    for (size_t i = 0; i < pt_manifest_count(r->manifest); i++) {
        pt_put_u64(&b, r->stamps[i].ino);
        pt_put_u64(&b, r->stamps[i].size);
        pt_put_u64(&b, (uint64_t)r->stamps[i].mtime_ns);
        pt_put_u64(&b, (uint64_t)r->stamps[i].ctime_ns);
    }
    int rc = pt_sealed_write(path, &b);
    pt_buf_fini(&b);
    return rc;
}

const struct pt_stamp *pt_record_find(const struct pt_record *r, const char *path,
                                      const struct pt_entry **entry)
{
    const struct pt_entry *e = r->manifest ? pt_manifest_find(r->manifest, path) : NULL;
    if (!e)
        return NULL;
    *entry = e;
    return &r->stamps[e - pt_manifest_get(r->manifest, 0)];
}
