/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a manifest fails once: each failure gives a message and leaks nothing. */
#include "fail_alloc.h"

#undef reallocarray
#define reallocarray(p, n, size) fail_realloc(p, (n) * (size))

#include "src/common/wire.c"
#include "sync/arena.c"
#include "sync/links.c"
#include "sync/manifest.c"
#include "sync/manifest_wire.c"

#include <criterion/criterion.h>

static struct pt_manifest *build(size_t entries, struct pt_err *err)
{
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, "/folder", err);
    if (!m)
        return NULL;
    for (size_t i = 0; i < entries; i++) {
        char path[700];
        snprintf(path, sizeof(path), "%0600zu", i);
        struct pt_entry e = {.path = path, .type = PT_ENTRY_FILE, .mode = 0644, .size = i};
        if (i % 50 == 7) {
            e = (struct pt_entry){.path = path, .type = PT_ENTRY_LINK, .link = "somewhere"};
        }
        if (pt_manifest_add(m, &e, err) < 0)
            goto error;
    }
    if (pt_manifest_seal(m, err) == 0)
        return m;
error:
    pt_manifest_destroy(m);
    return NULL;
}

Test(sync_memory, building)
{
    for (long n = 1;; n++) {
        struct pt_err err = PT_ERR_INIT;
        fail_hit = false;
        fail_at = n;
        struct pt_manifest *m = build(600, &err);
        fail_at = 0;
        cr_assert_eq(!m, fail_hit, "%ld", n);
        pt_manifest_destroy(m);
        if (!fail_hit)
            break;
        cr_assert(err.msg[0], "%ld", n);
    }
}

Test(sync_memory, both_ways_on_the_wire)
{
    struct pt_manifest *m = build(600, NULL);
    for (long n = 1;; n++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_buf b = {0};
        fail_hit = false;
        fail_at = n;
        pt_manifest_encode(m, &b);
        struct pt_manifest *d = b.bad ? NULL : pt_manifest_decode(b.data, b.len, &err);
        fail_at = 0;
        cr_assert_eq(!d, fail_hit, "%ld", n);
        cr_assert(d || b.bad || err.msg[0], "%ld", n);
        pt_manifest_destroy(d);
        pt_buf_fini(&b);
        if (!fail_hit)
            break;
    }
    pt_manifest_destroy(m);
}
