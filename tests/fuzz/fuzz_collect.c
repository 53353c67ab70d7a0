/* SPDX-License-Identifier: Apache-2.0 */
/* What a collector says, line by line. */
#include "collect.c"

#include "fuzz.h"

static unsigned told;

static void on_told(void *arg, const char *what, const struct pt_json *json)
{
    (void)arg;
    FUZZ_CHECK(what[0] || true);
    FUZZ_CHECK(pt_json_text(pt_json_get(json, "t")));
    told++;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_collect c = {.cb = {.line = on_told}, .child = PT_COLLECT_CHILD_INIT, .fd = -1};
    c.remote = fuzz_byte(&in) % 2;
    told = 0;
    while (in.left > 0) {
        size_t n = 1 + in.p[0] % 61;
        n = n < in.left ? n : in.left;
        pt_buf_append(&c.in, in.p, n);
        in.p += n;
        in.left -= n;
        if (c.in.bad || take_lines(&c, &err) < 0) {
            FUZZ_CHECK(c.in.bad || err.msg[0]);
            break;
        }
        if (in.left % 7 == 3)
            pt_said_expect_again(&c.said);
    }
    pt_said_fini(&c.said);
    free(c.importing);
    pt_buf_fini(&c.in);
}
