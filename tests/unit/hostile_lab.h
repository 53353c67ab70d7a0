/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A master made by hand, that may lie: it says what it likes to a receiver, and sees that nothing is written
 * outside the tree. */
#include "sync/compress.h"
#include "sync_lab.h"

#include <archive.h>
#include <archive_entry.h>

struct member {
    const char *name;
    unsigned type; /* AE_IF..., 0 for a plain file */
    const char *link;
    bool hard;
    const char *text;
};

/* What three_files() are in an archive. */
#define GOOD_A                                                                                               \
    {                                                                                                        \
        .name = "0", .text = "alpha"                                                                         \
    }
#define GOOD_C                                                                                               \
    {                                                                                                        \
        .name = "1", .text = "gamma"                                                                         \
    }
#define GOOD_D                                                                                               \
    {                                                                                                        \
        .name = "2", .text = "delta"                                                                         \
    }

/* An archive of the members; `tar` false gives cpio. */
__attribute__((unused)) static size_t build(const struct member *m, size_t n, bool tar, unsigned char *out,
                                            size_t cap)
{
    size_t used = 0;
    struct archive *a = archive_write_new();
    tar ? archive_write_set_format_ustar(a) : archive_write_set_format_cpio(a);
    archive_write_add_filter_none(a);
    archive_write_set_bytes_in_last_block(a, 1);
    cr_assert_eq(archive_write_open_memory(a, out, cap, &used), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, m[i].name);
        archive_entry_set_filetype(e, m[i].type ? m[i].type : AE_IFREG);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_size(e, m[i].text ? (la_int64_t)strlen(m[i].text) : 0);
        if (m[i].link)
            m[i].hard ? archive_entry_set_hardlink(e, m[i].link) : archive_entry_set_symlink(e, m[i].link);
        cr_assert_geq(archive_write_header(a, e), ARCHIVE_WARN, "%s", archive_error_string(a));
        if (m[i].text)
            archive_write_data(a, m[i].text, strlen(m[i].text));
        archive_entry_free(e);
    }
    archive_write_free(a);
    return used;
}

__attribute__((unused)) static void put_empty(struct pt_buf *b, uint8_t type)
{
    pt_frame_end(b, pt_frame_begin(b, type));
}

__attribute__((unused)) static void put_segment(struct pt_buf *b, uint8_t packed, uint32_t raw,
                                                const void *data, size_t n)
{
    size_t mark = pt_frame_begin(b, PT_B_SEGMENT);
    pt_put_u8(b, packed);
    pt_put_u32(b, raw);
    pt_put_bytes(b, data, n);
    pt_frame_end(b, mark);
}

/* The bytes of a tar in small segments, every other one compressed. */
__attribute__((unused)) static void put_archive(struct pt_buf *b, const unsigned char *data, size_t n)
{
    put_empty(b, PT_B_ARCHIVE);
    for (size_t at = 0, len; at < n; at += len) {
        struct pt_buf packed = {0};
        len = n - at < 1000 ? n - at : 1000;
        cr_assert_eq(pt_segment_pack(data + at, len, 1, &packed, NULL), 0);
        if (at / 1000 % 2)
            put_segment(b, 0, (uint32_t)len, data + at, len);
        else
            put_segment(b, 1, (uint32_t)len, packed.data, packed.len);
        pt_buf_fini(&packed);
    }
    put_empty(b, PT_B_END);
}

__attribute__((unused)) static void put_object(struct pt_buf *b, uint8_t type, const void *plain, size_t n)
{
    struct pt_buf packed = {0};
    cr_assert_eq(pt_deflate(plain, n, &packed, NULL), 0);
    put_empty(b, type);
    for (size_t at = 0; at < packed.len; at += 1000) {
        size_t mark = pt_frame_begin(b, PT_B_DATA);
        pt_buf_append(b, packed.data + at, packed.len - at < 1000 ? packed.len - at : 1000);
        pt_frame_end(b, mark);
    }
    put_empty(b, PT_B_END);
    pt_buf_fini(&packed);
}

struct talk {
    struct lab_host host;
    struct pt_buf in, out;
    size_t used;
    uint8_t type;
    struct pt_reader body;
};

static void listen_to(struct talk *t, uint8_t wanted)
{
    pt_buf_consume(&t->in, t->used);
    t->used = 0;
    cr_assert(lab_frame(t->host.fd, &t->in, &t->type, &t->body, &t->used), "the receiver ended");
    if (wanted)
        cr_assert_eq(t->type, wanted, "got %u, wanted %u: %.*s", t->type, wanted, (int)t->body.left,
                     (const char *)t->body.p);
}

/* FAIL or RESEND with these words, in one line. */
__attribute__((unused)) static void listen_to_words(struct talk *t, uint8_t wanted, const char *words)
{
    listen_to(t, wanted);
    if (wanted == PT_C_FAIL)
        cr_assert_eq(pt_get_u8(&t->body), PT_STAGE_TREE);
    pt_auto_free char *message = pt_get_str(&t->body, PT_MAX_TEXT);
    cr_assert_not_null(message);
    cr_assert_not_null(strstr(message, words), "%s", message);
    cr_assert_null(strchr(message, '\n'), "%s", message);
}

static void say(struct talk *t)
{
    lab_write_all(t->host.fd, &t->out);
}

__attribute__((unused)) static void put_offer(struct talk *t, const unsigned char root[PT_DIGEST],
                                              enum pt_offer_how how, uint32_t blobs,
                                              const unsigned char *sent)
{
    struct pt_offer o = {.algorithm = PT_DIGEST_BLAKE2B, .how = how, .archive = sent, .blobs = blobs};
    memcpy(o.root, root, PT_DIGEST);
    o.sent = (unsigned char *)(uintptr_t)sent;
    pt_offer_encode(&o, &t->out);
}

__attribute__((unused)) static void put_manifest(struct talk *t, const struct pt_manifest *m)
{
    struct pt_buf plain = {0};
    pt_manifest_encode(m, &plain);
    put_object(&t->out, PT_B_MANIFEST, plain.data, plain.len);
    pt_buf_fini(&plain);
}

static char *canary; /* what lies around the workspace */

static void watch(void)
{
    lab_text("canary/file", "sings");
    symlink("file", "canary/link");
    free(canary);
    canary = lab_dump("canary");
}

static void nothing_outside(void)
{
    pt_auto_free char *now = lab_dump("canary");
    cr_assert_str_eq(now, canary);
    cr_assert_neq(access("escaped", F_OK), 0);
    cr_assert_neq(access("cache/escaped", F_OK), 0);
    cr_assert_neq(access("cache/ws/machine/escaped", F_OK), 0);
    cr_assert_neq(access("cache/ws/machine/project/escaped", F_OK), 0);
    cr_assert_neq(access("/tmp/ptremote-escaped", F_OK), 0);
}

__attribute__((unused)) static void three_files(void)
{
    lab_text("here/a.txt", "alpha");
    lab_text("here/b/c.txt", "gamma");
    lab_text("here/b/d.txt", "delta");
    symlink("b", "here/l");
    watch();
}

/* here/: a.txt, b/c.txt, b/d.txt (blobs 0, 1, 2) and a link l to b. Up to NEED. */
__attribute__((unused)) static void open_talk(struct talk *t)
{
    *t = (struct talk){0};
    three_files();
    struct pt_manifest *m = lab_scan();
    lab_start(&t->host);
    put_offer(t, pt_manifest_root(m), PT_OFFER_WHOLE, 0, NULL);
    put_manifest(t, m);
    say(t);
    listen_to(t, PT_C_NEED);
    pt_manifest_destroy(m);
}

__attribute__((unused)) static void close_talk(struct talk *t, int status)
{
    pt_buf_fini(&t->in);
    pt_buf_fini(&t->out);
    cr_assert_eq(lab_stop(&t->host), status);
    nothing_outside();
}
