/* SPDX-License-Identifier: Apache-2.0 */
/* What a login shell says before the agent speaks: all at once, and in pieces. */
#include "common/err.h"
#include "fuzz.h"
#include "remote/boot.h"

static const struct pt_boot_agent agent = {.data = "program", .size = 7, .digest = "00", .machine = "x86_64"};

static int feed(struct fuzz_parts in, size_t step, struct pt_buf *out, struct pt_buf *rest)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_boot *boot = pt_boot_create(&agent, "", out, &err);
    int rc = boot ? 0 : -1;
    while (rc == 0 && in.left > 0) {
        size_t n = step < in.left ? step : in.left;
        rc = pt_boot_feed(boot, in.p, n, out, rest, &err);
        in.p += n;
        in.left -= n;
    }
    if (rc == 1)
        pt_buf_append(rest, in.p, in.left);
    FUZZ_CHECK(rc >= 0 || err.msg[0]);
    FUZZ_CHECK(!boot || !pt_boot_pushed(boot) || out->len > 7 || out->bad);
    pt_boot_destroy(boot);
    return rc;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_buf out[2] = {{0}, {0}}, rest[2] = {{0}, {0}};
    size_t step = 1 + fuzz_byte(&in);
    int whole = feed(in, SIZE_MAX, &out[0], &rest[0]);
    if (whole < 0 && !fuzz_starved() && out[0].len == 0)
        FUZZ_CHECK(false);
    int parts = feed(in, step, &out[1], &rest[1]);
    if (whole == 1 && !fuzz_starved()) {
        FUZZ_CHECK(parts == 1 && rest[0].len == rest[1].len && out[0].len == out[1].len);
        FUZZ_CHECK(rest[0].len == 0 || memcmp(rest[0].data, rest[1].data, rest[0].len) == 0);
    }
    struct pt_err err = PT_ERR_INIT;
    FUZZ_CHECK(!pt_boot_create(&agent, "a\nb", &out[0], &err) && pt_boot_command()[0]);
    for (int i = 0; i < 2; i++) {
        pt_buf_fini(&out[i]);
        pt_buf_fini(&rest[i]);
    }
    pt_boot_destroy(NULL);
}
