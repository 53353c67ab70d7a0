/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "json.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct pt_json *parse(const char *s)
{
    return pt_json_parse(s, strlen(s), NULL);
}

static void check_print(const char *in, const char *out)
{
    struct pt_buf b = {0};
    struct pt_json *v = parse(in);
    cr_assert_not_null(v, "%s", in);
    cr_assert_eq(pt_json_print(v, &b), 0);
    pt_buf_append(&b, "", 1);
    cr_assert_str_eq((char *)b.data, out);
    pt_buf_fini(&b);
    pt_json_destroy(v);
}

Test(json, prints_what_it_read)
{
    check_print("{\"a\": [1, 2.5, -3e2, true, false, null, \"x\"], \"b\": {}}",
                "{\"a\":[1,2.5,-300,true,false,null,\"x\"],\"b\":{}}");
    check_print("\"\\ud83d\\ude00 \\u00e9 \\/ \\t\"", "\"\xf0\x9f\x98\x80 \xc3\xa9 / \\t\"");
    check_print("1700000000.123456", "1700000000.123456");
    check_print(" [ ] ", "[]");
}

Test(json, a_nul_and_half_a_surrogate_become_text)
{
    struct pt_json *v =
        parse("[\"a\\u0000b\", \"\\ud800\", \"\\udc80x\", \"\\ud800\\ud800\\udc00\", \"\\\\u0000\"]");
    const char *want[] = {"a\\x00b", "\\ud800", "\\udc80x", "\\ud800\xf0\x90\x80\x80", "\\u0000"};
    size_t i = 0;
    for (const struct pt_json *e = pt_json_first(v); e; e = pt_json_next(e))
        cr_assert_str_eq(pt_json_text(e), want[i++]);
    cr_assert_eq(i, 5);
    pt_json_destroy(v);
}

Test(json, refuses_every_truncation)
{
    const char text[] = "{\"a\":[1,{\"b\":\"\\u00e9\\ud83d\\ude00\"},true],\"c\":null}";
    struct pt_json *v = parse(text);
    cr_assert_not_null(v);
    pt_json_destroy(v);
    for (size_t n = 0; n + 1 < sizeof(text); n++) {
        char *copy = malloc(n + 1); /* so that reading past the end shows */
        memcpy(copy, text, n);
        cr_assert_null(pt_json_parse(copy, n, NULL), "%zu bytes", n);
        free(copy);
    }
}

Test(json, refuses_bad_documents)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[1,]",
                                      "{\"a\" 1}",
                                      "nul",
                                      "\"\\x\"",
                                      "\"abc",
                                      "1 2",
                                      "[1]]",
                                      "\"\\",
                                      "\"\\u12\"",
                                      "{a:1}",
                                      "[\"\\u\x10\x10\x10\x10\"]"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_null(parse(bad[i]), "%s", bad[i]);
    cr_assert_null(pt_json_parse("[1\0]", 4, NULL));
}

Test(json, bounds_depth)
{
    char text[2 * PT_JSON_DEPTH + 8] = "";
    for (int depth = PT_JSON_DEPTH; depth <= PT_JSON_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        struct pt_json *v = parse(text);
        cr_assert_eq(v != NULL, depth <= PT_JSON_DEPTH);
        pt_json_destroy(v);
    }
}

Test(json, fields_check_types)
{
    struct pt_json *v =
        parse("{\"s\":\"x\",\"n\":3,\"f\":1.5,\"neg\":-1,\"b\":true,\"a\":[],\"o\":{},\"z\":null}");
    struct pt_fields f = {.object = v};
    cr_assert_str_eq(pt_field_str(&f, "s"), "x");
    cr_assert_eq(pt_field_u32(&f, "n", 3, 7), 3);
    cr_assert_float_eq(pt_field_num(&f, "f", 0), 1.5, 1e-9);
    cr_assert(pt_field_bool(&f, "b", false));
    cr_assert_not_null(pt_field_array(&f, "a"));
    cr_assert_not_null(pt_field_object(&f, "o"));
    cr_assert_null(pt_field_str(&f, "z"));
    cr_assert_null(pt_field_str(&f, "absent"));
    cr_assert_eq(pt_fields_end(&f, "thing", NULL), 0);

    static const char *const keys[] = {"n", "b", "a", "o"};
    for (size_t i = 0; i < 4; i++) {
        struct pt_err err = PT_ERR_INIT;
        struct pt_fields g = {.object = v};
        cr_assert_null(pt_field_str(&g, keys[i]));
        cr_assert_str_eq(pt_field_str(&g, "s"), "x", "later fields are still read");
        cr_assert_eq(pt_fields_end(&g, "thing", &err), -1);
        cr_assert_not_null(strstr(err.msg, keys[i]));
    }
    static const char *const numbers[] = {"f", "neg", "n", "s"};
    for (size_t i = 0; i < 4; i++) {
        struct pt_fields g = {.object = v};
        pt_field_u32(&g, numbers[i], 2, 0);
        cr_assert_eq(pt_fields_end(&g, "thing", NULL), -1, "%s", numbers[i]);
    }
    pt_json_destroy(v);
}

Test(json, looking_takes_anything)
{
    struct pt_json *v = parse("[1e999, [1,2]]");
    struct pt_json *o = parse("{\"n\":1e999}");
    struct pt_fields f = {.object = o};
    pt_field_num(&f, "n", 0);
    cr_assert_eq(pt_fields_end(&f, "thing", NULL), -1);
    cr_assert_null(pt_json_get(v, "x"));
    cr_assert_null(pt_json_get(NULL, "x"));
    cr_assert_null(pt_json_first(pt_json_first(v)));
    cr_assert_eq(pt_json_count(v), 2);
    cr_assert_eq(pt_json_kind(NULL), PT_JSON_NULL);
    struct pt_fields none = {.object = v};
    cr_assert_eq(pt_fields_end(&none, "thing", NULL), -1, "an array has no fields");
    pt_json_destroy(v);
    pt_json_destroy(o);
}

Test(json, writes_text_that_reads_back)
{
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_str(&o, "text", "q\"b\\n\nt\tc\x01 \xc3\xa9 \xff\xc3");
    pt_json_put_str(&o, "absent", NULL);
    pt_json_put_num(&o, "third", 1.0 / 3);
    pt_json_put_num(&o, "nan", NAN);
    pt_json_put_int(&o, "big", INT64_MIN);
    pt_json_open_array(&o, "list");
    pt_json_put_bool(&o, NULL, true);
    pt_json_put_str(&o, NULL, NULL);
    pt_json_close(&o);
    pt_json_close(&o);
    cr_assert_eq(pt_json_out_end(&o), 0);
    struct pt_json *v = pt_json_parse(o.buf.data, o.buf.len, NULL);
    cr_assert_not_null(v);
    cr_assert_str_eq(pt_json_text(pt_json_get(v, "text")), "q\"b\\n\nt\tc\x01 \xc3\xa9 \\xff\\xc3");
    cr_assert(pt_json_number(pt_json_get(v, "third"), 0) == 1.0 / 3);
    cr_assert_null(pt_json_get(v, "absent"));
    cr_assert_null(pt_json_get(v, "nan"));
    cr_assert_eq(pt_json_count(pt_json_get(v, "list")), 2);
    pt_json_destroy(v);
    pt_buf_fini(&o.buf);
}

Test(json, numbers_to_the_microsecond)
{
    static const struct {
        double v;
        const char *want;
    } cases[] = {{0, "0"},
                 {-0.0000001, "0"},
                 {0.0000005, "0.000001"},
                 {0.5, "0.5"},
                 {12, "12"},
                 {100, "100"},
                 {0.1 + 0.2, "0.3"},
                 {1700000000.1234567, "1700000000.123457"},
                 {-1.25, "-1.25"},
                 {-0.25, "-0.25"},
                 {8999999999.5, "8999999999.5"},
                 {1e300, "1e+300"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_json_out o;
        pt_json_out_init(&o, NULL);
        pt_json_put_micros(&o, NULL, cases[i].v);
        cr_assert_eq(pt_json_out_end(&o), 0);
        pt_buf_append(&o.buf, "", 1);
        cr_assert_str_eq((char *)o.buf.data, cases[i].want);
        pt_buf_fini(&o.buf);
    }
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_micros(&o, "a", NAN);
    pt_json_put_micros(&o, "b", INFINITY);
    pt_json_close(&o);
    cr_assert_eq(pt_json_out_end(&o), 0);
    cr_assert_eq(o.buf.len, 2, "left out");
    pt_buf_fini(&o.buf);
}

Test(json, refuses_to_write_what_is_no_json)
{
    for (int i = 0; i < 5; i++) {
        struct pt_json_out o;
        pt_json_out_init(&o, NULL);
        if (i == 0)
            pt_json_close(&o);
        else if (i == 1)
            pt_json_put_int(&o, "key", 1);
        else if (i == 2)
            pt_json_open_array(&o, NULL);
        if (i == 3) {
            pt_json_open_object(&o, NULL);
            pt_json_put_int(&o, NULL, 1);
            pt_json_close(&o);
        }
        if (i == 4) {
            pt_json_put_int(&o, NULL, 1);
            pt_json_put_int(&o, NULL, 2);
        }
        cr_assert_eq(pt_json_out_end(&o), -1, "case %d", i);
        pt_buf_fini(&o.buf);
    }
}

Test(json, streams_to_a_file)
{
    struct pt_json_out o;
    FILE *f = tmpfile();
    pt_json_out_init(&o, f);
    pt_json_open_array(&o, NULL);
    for (int i = 0; i < 50000; i++) {
        pt_json_put_int(&o, NULL, i);
        cr_assert_lt(o.buf.cap, 1u << 20, "kept in memory");
    }
    pt_json_close(&o);
    cr_assert_eq(pt_json_out_end(&o), 0);
    long n = ftell(f);
    char *text = malloc((size_t)n);
    rewind(f);
    cr_assert_eq(fread(text, 1, (size_t)n, f), (size_t)n);
    struct pt_json *v = pt_json_parse(text, (size_t)n, NULL);
    cr_assert_eq(pt_json_count(v), 50000);
    pt_json_destroy(v);
    free(text);
    fclose(f);
}

Test(json, a_full_disk_is_an_error)
{
    struct pt_json_out o;
    FILE *f = fopen("/dev/full", "w");
    pt_json_out_init(&o, f);
    pt_json_open_array(&o, NULL);
    for (int i = 0; i < 50000; i++)
        pt_json_put_int(&o, NULL, i);
    pt_json_close(&o);
    cr_assert_eq(pt_json_out_end(&o), -1);
    fclose(f);
}

Test(json, what_is_refused_is_not_taken_for_the_end_of_memory)
{
    static const struct {
        const char *text;
        size_t n;
    } bad[] = {{"", 0}, {"\0\0", 2}, {"{\0}", 3}, {"{", 1}, {"\"\\x\"", 4}, {"[] []", 5}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        errno = ENOMEM; /* of something before */
        cr_expect_null(pt_json_parse(bad[i].text, bad[i].n, NULL));
        cr_expect_neq(errno, ENOMEM, "%zu", i);
    }
}
