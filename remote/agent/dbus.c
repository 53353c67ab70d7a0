/* SPDX-License-Identifier: Apache-2.0 */
/* In the specification's words: everything is little-endian and aligned to its size, from the beginning of
 * its message; a header is 12 bytes, an array of (code, variant), and padding to 8. */
#include "remote/agent/dbus.h"

#include "common/err.h"

#include <stdio.h>
#include <string.h>

enum { CALL = 1, RETURN, ERROR };
enum { PATH = 1, INTERFACE, MEMBER, DESTINATION = 6, SIGNATURE = 8 };

#define HEAD    16 /* with the length of the fields */
#define MANAGER "org.freedesktop.systemd1"

/* --- out --- */

static void align(struct pt_buf *b, size_t to)
{
    while (!b->bad && b->len % to)
        pt_put_u8(b, 0);
}

static void put_u32(struct pt_buf *b, uint32_t v)
{
    unsigned char le[] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 24)};
    align(b, 4);
    pt_buf_append(b, le, sizeof(le));
}

static void put_text(struct pt_buf *b, const char *s)
{
    put_u32(b, (uint32_t)strlen(s));
    pt_buf_append(b, s, strlen(s) + 1);
}

static void put_signature(struct pt_buf *b, const char *s)
{
    pt_put_u8(b, (uint8_t)strlen(s));
    pt_buf_append(b, s, strlen(s) + 1);
}

static void put_field(struct pt_buf *b, uint8_t code, const char *type, const char *value)
{
    align(b, 8);
    pt_put_u8(b, code);
    put_signature(b, type);
    if (type[0] == 'g')
        put_signature(b, value);
    else
        put_text(b, value);
}

static void put_property(struct pt_buf *b, const char *name, const char *type)
{
    align(b, 8);
    put_text(b, name);
    put_signature(b, type);
}

/* The bytes of an array of what is aligned to 8, which is all of `elements`. */
static void put_array(struct pt_buf *b, const struct pt_buf *elements)
{
    put_u32(b, (uint32_t)elements->len);
    align(b, 8);
    pt_buf_append(b, elements->data, elements->len);
    b->bad |= elements->bad;
}

/* ssa(sv)a(sa(sv)): name, mode, properties, auxiliary units. */
static void put_scope(struct pt_buf *b, const char *name, const uint32_t *pids, uint32_t n)
{
    struct pt_buf properties = {0};
    put_property(&properties, "Description", "s");
    put_text(&properties, "tests that ptremote runs");
    put_property(&properties, "CollectMode", "s");
    put_text(&properties, "inactive-or-failed");
    put_property(&properties, "Delegate",
                 "b"); /* else systemd 253 and later stop all when memory ends for one */
    put_u32(&properties, 1);
    put_property(&properties, "TasksMax", "t"); /* no less than in a login */
    align(&properties, 8);
    put_u32(&properties, UINT32_MAX);
    put_u32(&properties, UINT32_MAX);
    put_property(&properties, "PIDs", "au");
    put_u32(&properties, n * 4);
    for (uint32_t i = 0; i < n; i++)
        put_u32(&properties, pids[i]);
    put_text(b, name);
    put_text(b, "fail");
    put_array(b, &properties);
    put_array(b, &(struct pt_buf){0});
    pt_buf_fini(&properties);
}

void pt_dbus_start_scope(struct pt_buf *out, const char *name, const uint32_t *pids, uint32_t n)
{
    struct pt_buf message = {0}, fields = {0}, body = {0};
    put_scope(&body, name, pids, n);
    put_field(&fields, PATH, "o", "/org/freedesktop/systemd1");
    put_field(&fields, INTERFACE, "s", MANAGER ".Manager");
    put_field(&fields, MEMBER, "s", "StartTransientUnit");
    put_field(&fields, DESTINATION, "s", MANAGER);
    put_field(&fields, SIGNATURE, "g", "ssa(sv)a(sa(sv))");
    pt_buf_append(&message, (unsigned char[]){'l', CALL, 0, 1}, 4);
    put_u32(&message, (uint32_t)body.len);
    put_u32(&message, 1); /* the serial */
    put_array(&message, &fields);
    align(&message, 8);
    pt_buf_append(&message, body.data, body.len);
    pt_buf_append(out, message.data, message.len);
    out->bad |= message.bad || fields.bad || body.bad;
    pt_buf_fini(&message);
    pt_buf_fini(&fields);
    pt_buf_fini(&body);
}

void pt_dbus_hello(struct pt_buf *out, uint32_t uid)
{
    char digits[16], words[64] = "";
    snprintf(digits, sizeof(digits), "%u", (unsigned)uid);
    for (const char *p = digits; *p; p++)
        snprintf(words + strlen(words), sizeof(words) - strlen(words), "%02x", (unsigned)*p);
    pt_put_u8(out, 0);
    pt_buf_append(out, "AUTH EXTERNAL ", 14);
    pt_buf_append(out, words, strlen(words));
    pt_buf_append(out, "\r\nBEGIN\r\n", 9);
}

/* --- in --- */

static uint32_t u32_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The first value of an error is what a human may read, if there is any. */
static int refused(const unsigned char *body, size_t n, struct pt_err *err)
{
    size_t len = n > 4 ? u32_at(body) : 0;
    if (len == 0 || len > n - 4 || len > 300)
        return pt_err_set(err, "refused");
    return pt_err_set(err, "refused: %.*s", (int)len, (const char *)body + 4);
}

int pt_dbus_answer(const struct pt_buf *in, struct pt_err *err)
{
    const unsigned char *line = in->len ? memchr(in->data, '\n', in->len) : NULL;
    if (in->len > PT_DBUS_MAX)
        return pt_err_set(err, "said too much");
    if (!line)
        return 0;
    const unsigned char *end = in->data + in->len;
    if (line - in->data < 3 || memcmp(in->data, "OK ", 3) != 0)
        return pt_err_set(err, "did not let us in");
    for (const unsigned char *p = line + 1; end - p >= HEAD;) {
        size_t left = (size_t)(end - p), body = u32_at(p + 4), fields = u32_at(p + 12);
        if (p[0] != 'l' || body > PT_DBUS_MAX || fields > PT_DBUS_MAX)
            return pt_err_set(err, "said what makes no sense");
        size_t head = (HEAD + fields + 7) / 8 * 8;
        if (left < head + body)
            return 0;
        if (p[1] == RETURN)
            return 1;
        if (p[1] == ERROR)
            return refused(p + head, body, err);
        p += head + body; /* news of units that nobody asked for */
    }
    return 0;
}
