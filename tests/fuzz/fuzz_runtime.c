/* SPDX-License-Identifier: Apache-2.0 */
/* Runtime data: what is written into a file that was read is read again. */
#include "common/err.h"
#include "fuzz.h"
#include "history.h"
#include "json.h"
#include "runtime_data.h"
#include "whole_file.h"

#include <math.h>

static const char *const seen[] = {"t/a.py", "t/b.py", ""};

static struct pt_history *make_history(uint8_t how)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = pt_history_create(NULL, &err);
    if (!h)
        return NULL;
    for (unsigned i = 0; i < (how & 3u); i++) {
        struct pt_took took = {.setup = (double)how / 16, .call = i + 0.25, .teardown = how & 8 ? -1 : 0.125};
        char nodeid[32];
        snprintf(nodeid, sizeof(nodeid), "%s::t%u", seen[i], i);
        if (pt_history_saw(h, "h", seen[i], nodeid, 0, &took) < 0 ||
            pt_history_imported(h, "h", seen[i], 0.5, NULL, 0) < 0)
            FUZZ_CHECK(fuzz_starved());
    }
    return h;
}

static void check_known(const struct pt_history *h)
{
    struct pt_history_file f;
    for (size_t i = 0; i < sizeof(seen) / sizeof(*seen); i++)
        if (pt_history_assumed(h, seen[i], &f)) {
            FUZZ_CHECK(f.execution >= 0 && f.setup >= 0 && f.teardown >= 0);
            uint32_t parts = pt_runtime_parts(f.execution, f.setup, f.teardown, f.count, 1.5);
            FUZZ_CHECK(parts >= 1 && (parts == 1 || parts <= f.count));
        }
    char *modules = pt_history_preload(h);
    FUZZ_CHECK(modules || fuzz_starved());
    free(modules);
    FUZZ_CHECK(pt_history_total(h) >= 0);
}

/* Twice written is the same. */
static void check_written(const char *path, const struct pt_history *h)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf one = {0}, two = {0};
    struct pt_history *again = pt_history_create(NULL, &err);
    FUZZ_CHECK(again && pt_runtime_read(path, again, &err) == 0);
    FUZZ_CHECK(pt_whole_file(path, PT_JSON_MAX, &one, &err) == 0);
    FUZZ_CHECK(pt_runtime_write(path, h, &err) == 0);
    FUZZ_CHECK(pt_whole_file(path, PT_JSON_MAX, &two, &err) == 0);
    FUZZ_CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    pt_history_destroy(again);
    pt_buf_fini(&one);
    pt_buf_fini(&two);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    char path[300];
    uint8_t how = fuzz_byte(&in);
    snprintf(path, sizeof(path), "%s", fuzz_file("runtime.json", in.p, in.left));
    struct pt_history *h = make_history(how);
    if (h && pt_runtime_read(path, h, &err) < 0) {
        FUZZ_CHECK(err.msg[0]);
    } else if (h) {
        check_known(h);
        if (pt_runtime_write(path, h, &err) < 0) {
            FUZZ_CHECK(fuzz_starved() && err.msg[0]);
        } else {
            fuzz_feed();
            check_written(path, h);
        }
    }
    if (h)
        FUZZ_CHECK(pt_runtime_read(fuzz_path("none"), h, &err) == 0 &&
                   pt_runtime_write(fuzz_path("runtime.json/a"), h, &err) < 0 &&
                   pt_runtime_read(fuzz_folder(), h, &err) < 0);
    pt_history_destroy(h);
}
