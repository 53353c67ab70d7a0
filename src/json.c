/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <string.h>

/* A struct pt_json is a cJSON under another name: never defined, only cast. */
static const cJSON *inside(const struct pt_json *v)
{
    return (const cJSON *)v;
}

static const struct pt_json *outside(const cJSON *v)
{
    return (const struct pt_json *)v;
}

/* --- parsing --- */

struct cleaner {
    const char *p, *end;
    char *out;
    int depth;
    bool bad;
};

/* The value of \uXXXX at p, or -1. */
static long escape_at(const char *p, const char *end)
{
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    long value = 0;
    for (int i = 2; i < 6; i++) {
        if (!isxdigit((unsigned char)p[i]))
            return -1;
        value = value << 4 | (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    }
    return value;
}

static void take(struct cleaner *c, size_t n)
{
    memcpy(c->out, c->p, n);
    c->out += n;
    c->p += n;
}

/* At a backslash inside a string: \u0000 becomes the text \x00, half a surrogate pair the text \udXXX. */
static void clean_escape(struct cleaner *c)
{
    long cp = escape_at(c->p, c->end);
    if (cp < 0 && c->end - c->p > 1 && c->p[1] == 'u')
        c->bad = true; /* cJSON would take it for a NUL */
    if (cp == 0) {
        memcpy(c->out, "\\\\x00", 5);
        c->out += 5;
        c->p += 6;
        return;
    }
    long low = cp >= 0xd800 && cp < 0xdc00 ? escape_at(c->p + 6, c->end) : -1;
    if (low >= 0xdc00 && low < 0xe000) {
        take(c, 12);
        return;
    }
    if (cp >= 0xd800 && cp < 0xe000)
        *c->out++ = '\\';
    take(c, c->end - c->p < 2 ? 1 : 2);
}

static void clean_string(struct cleaner *c)
{
    take(c, 1);
    while (c->p < c->end && *c->p != '"') {
        if (*c->p == '\\')
            clean_escape(c);
        else
            take(c, 1);
    }
    if (c->p < c->end)
        take(c, 1);
}

/* A copy of the text that cJSON reads without loss; NULL when it is nested too deep or memory ends. */
static char *clean(const char *text, size_t n, size_t *len)
{
    char *copy = malloc(n + n / 6 + 2);
    struct cleaner c = {.p = text, .end = text + n, .out = copy};
    while (copy && c.p < c.end && !c.bad) {
        if (*c.p == '"') {
            clean_string(&c);
            continue;
        }
        c.depth += (*c.p == '[' || *c.p == '{') - (*c.p == ']' || *c.p == '}');
        c.bad = c.depth > PT_JSON_DEPTH;
        take(&c, 1);
    }
    if (!copy || c.bad) {
        free(copy);
        return NULL;
    }
    *c.out = '\0';
    *len = (size_t)(c.out - copy);
    return copy;
}

struct pt_json *pt_json_parse(const void *text, size_t n, struct pt_err *err)
{
    errno = 0; /* whoever looks whether memory ended does not see an earlier end */
    if (n == 0 || n > PT_JSON_MAX || memchr(text, 0, n)) {
        pt_err_set(err, "JSON of %zu bytes: %s", n,
                   n == 0            ? "malformed"
                   : n > PT_JSON_MAX ? "too long"
                                     : "a NUL in it");
        return NULL;
    }
    size_t len;
    pt_auto_free char *copy = clean(text, n, &len);
    cJSON *root = copy ? cJSON_ParseWithLengthOpts(copy, len + 1, NULL, 1) : NULL;
    if (!root)
        pt_err_set(err, "JSON of %zu bytes: %s", n,
                   errno == ENOMEM ? "out of memory"
                   : copy          ? "malformed"
                                   : "nested too deep, or a bad escape");
    return (struct pt_json *)root;
}

void pt_json_destroy(struct pt_json *root)
{
    cJSON_Delete((cJSON *)root);
}

int pt_json_print(const struct pt_json *v, struct pt_buf *out)
{
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    if (v)
        pt_json_put(&o, NULL, v);
    else
        pt_buf_append(&o.buf, "null", 4);
    pt_buf_append(out, o.buf.data, o.buf.len);
    int rc = pt_json_out_end(&o);
    pt_buf_fini(&o.buf);
    return out->bad ? -1 : rc;
}

/* --- looking --- */

enum pt_json_kind pt_json_kind(const struct pt_json *v)
{
    const cJSON *c = inside(v);
    return cJSON_IsString(c)   ? PT_JSON_STRING
           : cJSON_IsNumber(c) ? PT_JSON_NUMBER
           : cJSON_IsBool(c)   ? PT_JSON_BOOL
           : cJSON_IsArray(c)  ? PT_JSON_ARRAY
           : cJSON_IsObject(c) ? PT_JSON_OBJECT
                               : PT_JSON_NULL;
}

const struct pt_json *pt_json_get(const struct pt_json *v, const char *key)
{
    if (!cJSON_IsObject(inside(v)))
        return NULL;
    const cJSON *member = inside(v)->child; /* most keys differ in their first byte */
    while (member && (*member->string != *key || strcmp(member->string, key) != 0))
        member = member->next;
    return cJSON_IsNull(member) ? NULL : outside(member);
}

const char *pt_json_text(const struct pt_json *v)
{
    return cJSON_IsString(inside(v)) ? inside(v)->valuestring : NULL;
}

double pt_json_number(const struct pt_json *v, double other)
{
    return cJSON_IsNumber(inside(v)) ? inside(v)->valuedouble : other;
}

const struct pt_json *pt_json_first(const struct pt_json *v)
{
    enum pt_json_kind kind = pt_json_kind(v);
    return kind == PT_JSON_ARRAY || kind == PT_JSON_OBJECT ? outside(inside(v)->child) : NULL;
}

const struct pt_json *pt_json_next(const struct pt_json *v)
{
    return v ? outside(inside(v)->next) : NULL;
}

const char *pt_json_name(const struct pt_json *v)
{
    return v ? inside(v)->string : NULL;
}

size_t pt_json_count(const struct pt_json *v)
{
    size_t n = 0;
    for (const struct pt_json *e = pt_json_first(v); e; e = pt_json_next(e))
        n++;
    return n;
}

/* --- fields --- */

static const struct pt_json *field(struct pt_fields *f, const char *key, enum pt_json_kind kind)
{
    const struct pt_json *v = pt_json_get(f->object, key);
    if (!v || pt_json_kind(v) == kind)
        return v;
    if (!f->bad)
        f->bad = key;
    return NULL;
}

const char *pt_field_str(struct pt_fields *f, const char *key)
{
    return pt_json_text(field(f, key, PT_JSON_STRING));
}

const struct pt_json *pt_field_array(struct pt_fields *f, const char *key)
{
    return field(f, key, PT_JSON_ARRAY);
}

const struct pt_json *pt_field_object(struct pt_fields *f, const char *key)
{
    return field(f, key, PT_JSON_OBJECT);
}

bool pt_field_bool(struct pt_fields *f, const char *key, bool absent)
{
    const struct pt_json *v = field(f, key, PT_JSON_BOOL);
    return v ? cJSON_IsTrue(inside(v)) : absent;
}

double pt_field_num(struct pt_fields *f, const char *key, double absent)
{
    double v = pt_json_number(field(f, key, PT_JSON_NUMBER), absent);
    if (!isfinite(v) && !f->bad)
        f->bad = key;
    return isfinite(v) ? v : absent;
}

uint32_t pt_field_u32(struct pt_fields *f, const char *key, uint32_t max, uint32_t absent)
{
    const struct pt_json *v = field(f, key, PT_JSON_NUMBER);
    if (!v)
        return absent;
    double d = pt_json_number(v, -1);
    if (d >= 0 && d <= max && d == floor(d))
        return (uint32_t)d;
    if (!f->bad)
        f->bad = key;
    return absent;
}

int pt_fields_end(const struct pt_fields *f, const char *what, struct pt_err *err)
{
    if (pt_json_kind(f->object) != PT_JSON_OBJECT)
        return pt_err_set(err, "%s: no JSON object", what);
    if (f->bad)
        return pt_err_set(err, "%s: '%s' has a wrong value", what, f->bad);
    return 0;
}

/* --- writing --- */

#define FLUSH_AT (64u << 10)

static void flush(struct pt_json_out *o)
{
    if (o->buf.bad || (o->file && fwrite(o->buf.data, 1, o->buf.len, o->file) != o->buf.len))
        o->bad = true;
    if (o->file)
        pt_buf_clear(&o->buf);
}

void pt_json_out_init(struct pt_json_out *o, FILE *file)
{
    *o = (struct pt_json_out){.file = file};
}

int pt_json_out_end(struct pt_json_out *o)
{
    if (o->depth)
        o->bad = true;
    if (o->buf.len || o->buf.bad)
        flush(o);
    if (o->file)
        pt_buf_fini(&o->buf);
    return o->bad ? -1 : 0;
}

/* Length in s[0..n) that needs no escape. */
static size_t plain(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && (unsigned char)s[i] >= 0x20 && (unsigned char)s[i] < 0x80 && s[i] != '"' && s[i] != '\\')
        i++;
    return i;
}

/* One character that is not plain; how many bytes it took. */
static size_t put_char(struct pt_buf *b, const char *s, size_t n)
{
    static const char from[] = "\"\\\n\r\t\b\f";
    static const char to[] = "\"\\nrtbf";
    char esc[8];
    uint32_t cp;
    const char *known = strchr(from, *s);
    size_t len = pt_utf8_next(s, n, &cp);
    if (len == 0) {
        snprintf(esc, sizeof(esc), "\\\\x%02x", (unsigned char)*s);
        pt_buf_append(b, esc, 5);
    } else if (*s && known) {
        snprintf(esc, sizeof(esc), "\\%c", to[known - from]);
        pt_buf_append(b, esc, 2);
    } else if (cp < 0x20) {
        snprintf(esc, sizeof(esc), "\\u%04x", (unsigned)cp);
        pt_buf_append(b, esc, 6);
    } else {
        pt_buf_append(b, s, len);
    }
    return len ? len : 1;
}

static void put_text(struct pt_buf *b, const char *s, size_t n)
{
    pt_buf_append(b, "\"", 1);
    while (n) {
        size_t len = plain(s, n);
        if (len)
            pt_buf_append(b, s, len);
        else
            len = put_char(b, s, n);
        s += len;
        n -= len;
    }
    pt_buf_append(b, "\"", 1);
}

/* What comes before a value: comma, key. False when it would not be JSON. */
static bool begin(struct pt_json_out *o, const char *key)
{
    char in = o->depth ? o->close[o->depth - 1] : 0;
    if (o->bad || (in == '}') != (key != NULL) || (!in && o->comma)) {
        o->bad = true;
        return false;
    }
    if (o->buf.len >= FLUSH_AT && o->file)
        flush(o);
    if (o->comma)
        pt_buf_append(&o->buf, ",", 1);
    o->comma = true;
    if (key) {
        put_text(&o->buf, key, strlen(key));
        pt_buf_append(&o->buf, ":", 1);
    }
    return true;
}

static void open_with(struct pt_json_out *o, const char *key, const char *pair)
{
    if (o->depth >= PT_JSON_DEPTH)
        o->bad = true;
    if (!begin(o, key))
        return;
    pt_buf_append(&o->buf, pair, 1);
    o->close[o->depth++] = pair[1];
    o->comma = false;
}

void pt_json_open_object(struct pt_json_out *o, const char *key)
{
    open_with(o, key, "{}");
}

void pt_json_open_array(struct pt_json_out *o, const char *key)
{
    open_with(o, key, "[]");
}

void pt_json_close(struct pt_json_out *o)
{
    if (o->bad || !o->depth) {
        o->bad = true;
        return;
    }
    pt_buf_append(&o->buf, &o->close[--o->depth], 1);
    o->comma = true;
}

/* A value that is not there: nothing in an object, null in an array. */
static void put_absent(struct pt_json_out *o, const char *key)
{
    if (!key && begin(o, NULL))
        pt_buf_append(&o->buf, "null", 4);
}

void pt_json_put_strn(struct pt_json_out *o, const char *key, const char *s, size_t n)
{
    if (!s)
        put_absent(o, key);
    else if (begin(o, key))
        put_text(&o->buf, s, n);
}

void pt_json_put_str(struct pt_json_out *o, const char *key, const char *s)
{
    pt_json_put_strn(o, key, s, s ? strlen(s) : 0);
}

void pt_json_put_num(struct pt_json_out *o, const char *key, double v)
{
    char text[40];
    if (!isfinite(v)) {
        put_absent(o, key);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    if (begin(o, key))
        pt_buf_append(&o->buf, text, strlen(text));
}

void pt_json_put_micros(struct pt_json_out *o, const char *key, double v)
{
    char text[40];
    if (!(fabs(v) < 9e9)) {
        pt_json_put_num(o, key, v);
        return;
    }
    long long micros = llround(v * 1e6);
    long long whole = llabs(micros) / 1000000;
    int n =
        snprintf(text, sizeof(text), "%s%lld.%06lld", micros < 0 ? "-" : "", whole, llabs(micros) % 1000000);
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    if (begin(o, key))
        pt_buf_append(&o->buf, text, (size_t)n);
}

void pt_json_put_int(struct pt_json_out *o, const char *key, int64_t v)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)v);
    if (begin(o, key))
        pt_buf_append(&o->buf, text, strlen(text));
}

void pt_json_put_bool(struct pt_json_out *o, const char *key, bool v)
{
    if (begin(o, key))
        pt_buf_append(&o->buf, v ? "true" : "false", v ? 4 : 5);
}

void pt_json_put(struct pt_json_out *o, const char *key, const struct pt_json *v)
{
    enum pt_json_kind kind = pt_json_kind(v);
    if (!v || (kind == PT_JSON_NULL && !key)) {
        put_absent(o, key);
    } else if (kind == PT_JSON_NULL) {
        if (begin(o, key))
            pt_buf_append(&o->buf, "null", 4);
    } else if (kind == PT_JSON_STRING) {
        pt_json_put_str(o, key, pt_json_text(v));
    } else if (kind == PT_JSON_NUMBER) {
        pt_json_put_num(o, key, inside(v)->valuedouble);
    } else if (kind == PT_JSON_BOOL) {
        pt_json_put_bool(o, key, cJSON_IsTrue(inside(v)));
    } else {
        open_with(o, key, kind == PT_JSON_ARRAY ? "[]" : "{}");
        for (const struct pt_json *e = pt_json_first(v); e; e = pt_json_next(e))
            pt_json_put(o, pt_json_name(e), e);
        pt_json_close(o);
    }
}
