/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime_data.h"

#include "common/auto.h"
#include "common/err.h"
#include "history.h"
#include "json.h"
#include "output/atomic.h"
#include "whole_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t pt_runtime_parts(double execution, double setup, double teardown, uint32_t count, double limit)
{
    double most = fmax(fmin(count, ceil(execution / limit * 2)), 1);
    double room = limit - setup - teardown;
    double n = room > 0 ? ceil(execution / room) : most;
    return (uint32_t)fmin(fmax(n, 1), most);
}

/* --- reading --- */

/* Each member as Testplan wants it. */
static int read_one(const struct pt_json *v, struct pt_history_file *out, struct pt_err *err)
{
    struct pt_fields f = {.object = v};
    if (pt_json_kind(v) != PT_JSON_OBJECT)
        return pt_err_set(err, "not an object");
    *out = (struct pt_history_file){.execution = pt_field_num(&f, "execution_time", -1),
                                    .setup = pt_field_num(&f, "setup_time", -1),
                                    .teardown = pt_field_num(&f, "teardown_time", -1),
                                    .count = pt_field_u32(&f, "testcase_count", PT_MAX_TESTS, 0)};
    if (f.bad)
        return pt_err_set(err, "%s: not a number it can be", f.bad);
    if (!(out->execution >= 0 && out->setup >= 0 && out->teardown >= 0))
        return pt_err_set(err, "wants execution_time, setup_time and teardown_time, not below 0");
    return 0;
}

/* The document, every member checked; *out NULL when there is no file. */
static int load(const char *path, struct pt_json **out, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    struct pt_buf text = {0};
    struct pt_history_file what;
    *out = NULL;
    int rc = pt_whole_file(path, PT_JSON_MAX, &text, &why);
    if (rc == 0 && !(*out = pt_json_parse(text.data, text.len, &why)))
        rc = -1;
    else if (rc == 0 && pt_json_kind(*out) != PT_JSON_OBJECT)
        rc = pt_err_set(&why, "not a JSON object");
    pt_buf_fini(&text);
    for (const struct pt_json *v = pt_json_first(*out); v && rc == 0; v = pt_json_next(v))
        if (read_one(v, &what, &why) < 0)
            rc = pt_err_wrap(&why, "\"%.200s\"", pt_json_name(v));
    if (rc >= 0)
        return 0;
    pt_json_destroy(*out);
    *out = NULL;
    bool memory = strstr(why.msg, "out of memory") != NULL;
    return pt_err_set_kind(err, memory ? PT_ERR_INTERNAL : PT_ERR_USAGE, "runtime data %s: %s", path,
                           why.msg);
}

int pt_runtime_read(const char *path, struct pt_history *h, struct pt_err *err)
{
    struct pt_json *root;
    struct pt_history_file what;
    int rc = load(path, &root, err);
    for (const struct pt_json *v = pt_json_first(root); v && rc == 0; v = pt_json_next(v))
        if (read_one(v, &what, err) < 0 || pt_history_assume(h, pt_json_name(v), &what) < 0)
            rc = pt_err_set(err, "runtime data %s: out of memory", path);
    pt_json_destroy(root);
    return rc;
}

/* --- writing --- */

struct writer {
    struct pt_json_out out;
    const char **known; /* sorted, as pt_history_each_file gives them */
    size_t n, cap;
};

static int note_path(void *arg, const char *file, const struct pt_history_file *what)
{
    struct writer *w = arg;
    (void)what;
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 256;
        const char **more = realloc(w->known, cap * sizeof(*more));
        if (!more)
            return -1;
        w->known = more;
        w->cap = cap;
    }
    w->known[w->n++] = file;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_seconds(struct pt_json_out *o, const char *key, double v)
{
    pt_json_put_num(o, key, round(v * 1e6) / 1e6);
}

static int put_file(void *arg, const char *file, const struct pt_history_file *what)
{
    struct writer *w = arg;
    pt_json_open_object(&w->out, file);
    put_seconds(&w->out, "execution_time", what->execution);
    put_seconds(&w->out, "setup_time", what->setup);
    put_seconds(&w->out, "teardown_time", what->teardown);
    pt_json_put_int(&w->out, "testcase_count", what->count);
    pt_json_close(&w->out);
    return w->out.bad ? -1 : 0;
}

static int put_all(struct writer *w, const struct pt_json *before, const struct pt_history *h)
{
    if (pt_history_each_file(h, note_path, w) < 0)
        return -1;
    pt_json_open_object(&w->out, NULL);
    for (const struct pt_json *v = pt_json_first(before); v; v = pt_json_next(v)) {
        const char *name = pt_json_name(v);
        if (w->n == 0 || !bsearch(&name, w->known, w->n, sizeof(*w->known), by_text))
            pt_json_put(&w->out, name, v);
    }
    int rc = pt_history_each_file(h, put_file, w);
    pt_json_close(&w->out);
    return rc;
}

int pt_runtime_write(const char *path, const struct pt_history *h, struct pt_err *err)
{
    struct pt_json *before;
    struct pt_atomic file;
    struct writer w = {0};
    if (load(path, &before, err) < 0)
        return -1;
    if (pt_atomic_init(&file, path, err) < 0) {
        pt_json_destroy(before);
        return pt_err_wrap(err, "runtime data");
    }
    pt_json_out_init(&w.out, file.file);
    errno = 0;
    int rc = put_all(&w, before, h);
    if (pt_json_out_end(&w.out) < 0 || rc < 0)
        rc = errno ? pt_err_set_kind(err, PT_ERR_INFRA, "write: %s", strerror(errno))
                   : pt_err_set(err, "out of memory");
    if (rc == 0)
        rc = pt_atomic_finish(&file, err);
    else
        pt_atomic_fini(&file);
    free(w.known);
    pt_json_destroy(before);
    return rc < 0 ? pt_err_wrap(err, "runtime data %s", path) : 0;
}
