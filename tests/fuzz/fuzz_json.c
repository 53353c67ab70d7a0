/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: what was read and printed is read again, and printed the same. */
#include "common/err.h"
#include "common/quote.h"
#include "fuzz.h"
#include "json.h"

/* Strings are whole: no NUL ends them early, and what is printed is UTF-8. */
static void check_text(const struct pt_buf *b)
{
    uint32_t cp;
    for (size_t at = 0, n; at < b->len; at += n) {
        n = pt_utf8_next(b->data + at, b->len - at, &cp);
        FUZZ_CHECK(n > 0 && cp >= 0x20);
    }
}

static unsigned look(const struct pt_json *v)
{
    struct pt_fields f = {.object = v};
    unsigned n = 1;
    pt_json_get(v, "a");
    pt_field_str(&f, "a");
    pt_field_array(&f, "b");
    pt_field_object(&f, "c");
    FUZZ_CHECK(pt_field_u32(&f, "a", 9, 3) <= 9);
    pt_field_bool(&f, "d", true);
    double number = pt_field_num(&f, "e", 1);
    FUZZ_CHECK(number <= 0 || number > 0);
    pt_fields_end(&f, "a value", NULL);
    pt_json_number(v, 0);
    for (const struct pt_json *e = pt_json_first(v); e; e = pt_json_next(e)) {
        FUZZ_CHECK((pt_json_kind(v) == PT_JSON_OBJECT) == (pt_json_name(e) != NULL));
        n += look(e);
    }
    FUZZ_CHECK(pt_json_count(v) < n);
    return n;
}

static void print_file(const struct pt_json *v, const struct pt_buf *text)
{
    char *copy = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&copy, &n);
    struct pt_json_out o;
    pt_json_out_init(&o, f);
    pt_json_open_array(&o, NULL);
    pt_json_put(&o, NULL, v);
    pt_json_put_micros(&o, NULL, pt_json_number(v, 0.5));
    pt_json_put_int(&o, NULL, (int64_t)text->len);
    pt_json_put_strn(&o, NULL, (const char *)text->data, text->len);
    pt_json_put_bool(&o, NULL, true);
    pt_json_close(&o);
    int rc = pt_json_out_end(&o);
    fclose(f);
    struct pt_json *again = rc == 0 ? pt_json_parse(copy, n, NULL) : NULL;
    FUZZ_CHECK(again || text->len >= 64); /* so deep that one array more is too much */
    pt_json_destroy(again);
    free(copy);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_json *v = pt_json_parse(data, size, &err);
    struct pt_buf one = {0}, two = {0};
    if (!v) {
        FUZZ_CHECK(err.msg[0]);
        return;
    }
    look(v);
    if (pt_json_print(v, &one) < 0) {
        FUZZ_CHECK(fuzz_starved());
    } else {
        fuzz_feed();
        check_text(&one);
        struct pt_json *again = pt_json_parse(one.data, one.len, &err);
        FUZZ_CHECK(again && pt_json_print(again, &two) == 0);
        FUZZ_CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
        pt_json_destroy(again);
        print_file(v, &one);
    }
    pt_buf_fini(&one);
    pt_buf_fini(&two);
    pt_json_destroy(v);
}
