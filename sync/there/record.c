/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/record.h"

#include "common/auto.h"
#include "sync/sealed.h"

#include <fcntl.h>
#include <string.h>

#define MAGIC      0x50545233u /* "PTR3" */
#define STAMP_SIZE 32
#define BOOT_SIZE  64

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

/* What the kernel calls this boot; "" when it says nothing. */
static void read_boot(char boot[BOOT_SIZE])
{
    pt_auto_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, boot, BOOT_SIZE - 1);
    boot[n > 0 ? n : 0] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
}

static bool decode(struct pt_record *rec, struct pt_reader *r)
{
    size_t len;
    uint32_t magic = pt_get_u32(r);
    char boot[BOOT_SIZE];
    pt_auto_free char *was = pt_get_str(r, BOOT_SIZE);
    const void *encoded = pt_get_bytes(r, &len);
    if (r->bad || magic != MAGIC || !(rec->manifest = pt_manifest_decode(encoded, len, NULL)))
        return false;
    size_t n = pt_manifest_count(rec->manifest);
    if (r->left / STAMP_SIZE != n || !(rec->stamps = calloc(n + 1, sizeof(*rec->stamps))))
        return false;
    for (size_t i = 0; i < n; i++)
        rec->stamps[i] = get_stamp(r);
    read_boot(boot);
    rec->rebooted = boot[0] && was[0] && strcmp(boot, was) != 0;
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
    char boot[BOOT_SIZE];
    pt_put_u32(&b, MAGIC);
    read_boot(boot);
    pt_put_str(&b, boot);
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

bool pt_record_vouches(const struct pt_record *r, size_t i, const struct pt_stamp *now)
{
    return !r->rebooted && r->stamps[i].ino && pt_stamp_equal(&r->stamps[i], now);
}
