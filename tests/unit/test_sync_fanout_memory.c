/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a fan-out fails once, in whatever thread: each failure gives a message to the lane that
 * it hits, and what comes is never wrong. */
#include "fanout_lab.h"

#include <stdatomic.h>

static atomic_long fail_at;
static atomic_bool fail_hit;

static bool fail_now(void)
{
    bool now = fail_at > 0 && atomic_fetch_sub(&fail_at, 1) == 1;
    if (now)
        fail_hit = true;
    return now;
}

static void *fail_malloc(size_t n)
{
    return fail_now() ? NULL : malloc(n);
}

static void *fail_calloc(size_t n, size_t size)
{
    return fail_now() ? NULL : calloc(n, size);
}

static void *fail_realloc(void *p, size_t n)
{
    return fail_now() ? NULL : realloc(p, n);
}

static char *fail_strdup(const char *s)
{
    return fail_now() ? NULL : strdup(s);
}

#define malloc  fail_malloc
#define calloc  fail_calloc
#define realloc fail_realloc
#undef reallocarray
#define reallocarray(p, n, size) fail_realloc(p, (n) * (size))
#undef strdup
#define strdup fail_strdup
#include "src/common/wire.c"
#include "sync/here/fanout.c"
#include "sync/here/fanout_pack.c"
#include "sync/here/fanout_piece.c"
#include "sync/here/parcel.c"
#include "sync/here/spill.c"
#include "sync/here/tar.c"
#undef malloc
#undef calloc
#undef realloc
#undef reallocarray
#undef strdup

TestSuite(sync_fanout_memory, .init = lab_open, .fini = lab_close);

/* True when it came whole; else the error says something. */
static bool receive(struct pt_fanout *f, int level, unsigned char *need)
{
    struct pt_segment s;
    struct pt_err err = PT_ERR_INIT;
    uint64_t raw = 0;
    enum pt_parcel_got got = PT_PARCEL_FAILED;
    struct pt_parcel *p = pt_fanout_join(f, need, &err);
    while (p && (got = pt_parcel_next(p, level, &s, &err)) >= 0 && got != PT_PARCEL_END) {
        struct pollfd event = {.fd = pt_parcel_fd(p), .events = POLLIN};
        if (got == PT_PARCEL_SEGMENT)
            raw += s.raw;
        cr_assert_eq(poll(&event, 1, LAB_DEADLINE), 1, "nothing came");
    }
    cr_assert(got == PT_PARCEL_END ? raw == 3 * LAB_MIB + 512 + 1024 : err.msg[0], "%d", got);
    pt_parcel_leave(p);
    return got == PT_PARCEL_END;
}

Test(sync_fanout_memory, every_allocation_fails_once)
{
    lab_file("a", 3 * LAB_MIB, false);
    unsigned char need[] = {1};
    unsigned failures = 0;
    for (long n = 1;; n++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_manifest *m = lab_scan();
        fail_hit = false;
        fail_at = n;
        struct pt_fanout *f = pt_fanout_create(m, lab_spill, 2, &err);
        if (f) {
            failures += !receive(f, 1, need);
            failures += !receive(f, 0, need);
        } else {
            failures++;
            cr_assert(err.msg[0], "%ld", n);
        }
        pt_fanout_destroy(f);
        fail_at = 0;
        if (!fail_hit)
            break;
    }
    cr_assert_geq(failures, 5);
}
