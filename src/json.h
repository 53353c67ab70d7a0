/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* JSON in and out. The only cJSON user. Input is hostile until decoded: size and depth are bounded, types are
 * checked, and a NUL or a lone surrogate in a string becomes visible text, so that every string is whole. */
#include "common/wire.h"

#include <stdio.h>

struct pt_err;
struct pt_json; /* a document, or any value inside one */

#define PT_JSON_MAX   (256u << 20) /* bytes of one document */
#define PT_JSON_DEPTH 64           /* nesting of one document */

enum pt_json_kind {
    PT_JSON_NULL,
    PT_JSON_BOOL,
    PT_JSON_NUMBER,
    PT_JSON_STRING,
    PT_JSON_ARRAY,
    PT_JSON_OBJECT,
};

/* The document in text[0..n), nothing after it. Free with pt_json_destroy; values inside are borrowed from
 * it. NULL with err; when memory ended, errno is ENOMEM. */
struct pt_json *pt_json_parse(const void *text, size_t n, struct pt_err *err);
void pt_json_destroy(struct pt_json *root);
/* Append v as JSON text, on one line. NULL appends null. -1 when memory ends. */
int pt_json_print(const struct pt_json *v, struct pt_buf *out);

/* --- looking; every one takes NULL --- */
enum pt_json_kind pt_json_kind(const struct pt_json *v);
/* The member, or NULL when v is no object, has none, or it is null. */
const struct pt_json *pt_json_get(const struct pt_json *v, const char *key);
/* The string, or NULL when v is none. */
const char *pt_json_text(const struct pt_json *v);
/* The number, or `other` when v is none. */
double pt_json_number(const struct pt_json *v, double other);
/* Elements of an array or members of an object in order: first, then next until NULL. */
const struct pt_json *pt_json_first(const struct pt_json *v);
const struct pt_json *pt_json_next(const struct pt_json *v);
/* Name of v as a member of an object; NULL for an element. */
const char *pt_json_name(const struct pt_json *v);
/* Number of elements or members; counts, so not for loops. */
size_t pt_json_count(const struct pt_json *v);

/* --- fields of one object: absent or null gives the stated value, a wrong type sets `bad` to the key and
 * stays; one check at the end --- */
struct pt_fields {
    const struct pt_json *object;
    const char *bad;
};
const char *pt_field_str(struct pt_fields *f, const char *key);              /* absent: NULL */
const struct pt_json *pt_field_array(struct pt_fields *f, const char *key);  /* absent: NULL */
const struct pt_json *pt_field_object(struct pt_fields *f, const char *key); /* absent: NULL */
bool pt_field_bool(struct pt_fields *f, const char *key, bool absent);
double pt_field_num(struct pt_fields *f, const char *key, double absent);
/* A whole number in [0, max]; anything else is bad. */
uint32_t pt_field_u32(struct pt_fields *f, const char *key, uint32_t max, uint32_t absent);
/* The key of the first field that was bad is in the error. */
int pt_fields_end(const struct pt_fields *f, const char *what, struct pt_err *err);

/* --- writing, streamed: never a document in memory --- */
struct pt_json_out {
    struct pt_buf buf; /* what is not in the file yet */
    FILE *file;
    uint8_t depth;
    char close[PT_JSON_DEPTH];
    bool comma, bad;
};
/* To `file` as it grows; NULL keeps all of it in o->buf. */
void pt_json_out_init(struct pt_json_out *o, FILE *file);
/* Flush; -1 when anything failed since init (memory, disk, a badly nested call). Frees nothing in o->buf
 * when there is no file: the caller takes it or calls pt_buf_fini. */
int pt_json_out_end(struct pt_json_out *o);
/* key is NULL inside arrays and at the top. */
void pt_json_open_object(struct pt_json_out *o, const char *key);
void pt_json_open_array(struct pt_json_out *o, const char *key);
void pt_json_close(struct pt_json_out *o);
/* s NULL leaves the member out (inside an array: null). Bytes that are not UTF-8 become \xNN text. */
void pt_json_put_str(struct pt_json_out *o, const char *key, const char *s);
void pt_json_put_strn(struct pt_json_out *o, const char *key, const char *s, size_t n);
/* Not finite: left out (inside an array: null). */
void pt_json_put_num(struct pt_json_out *o, const char *key, double v);
/* The same, rounded to six digits after the point. */
void pt_json_put_micros(struct pt_json_out *o, const char *key, double v);
void pt_json_put_int(struct pt_json_out *o, const char *key, int64_t v);
void pt_json_put_bool(struct pt_json_out *o, const char *key, bool v);
/* A copy of a parsed value. NULL as pt_json_put_str. */
void pt_json_put(struct pt_json_out *o, const char *key, const struct pt_json *v);
