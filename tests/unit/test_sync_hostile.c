/* SPDX-License-Identifier: Apache-2.0 */
/* A master that lies: archives and manifests that a receiver must refuse, with nothing written outside the
 * tree. */
#include "sync/compress.h"
#include "sync/unpack.h"
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

/* An archive of the members; `tar` false gives cpio. */
static size_t build(const struct member *m, size_t n, bool zstd, bool tar, unsigned char *out, size_t cap)
{
    size_t used = 0;
    struct archive *a = archive_write_new();
    tar ? archive_write_set_format_pax(a) : archive_write_set_format_cpio(a);
    zstd ? archive_write_add_filter_zstd(a) : archive_write_add_filter_none(a);
    archive_write_set_options(a, "hdrcharset=BINARY");
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

static void put_object(struct pt_buf *b, uint8_t type, const void *data, size_t n)
{
    pt_frame_end(b, pt_frame_begin(b, type));
    for (size_t at = 0; at < n; at += 1000) {
        size_t mark = pt_frame_begin(b, PT_B_DATA);
        pt_buf_append(b, (const char *)data + at, n - at < 1000 ? n - at : 1000);
        pt_frame_end(b, mark);
    }
    pt_frame_end(b, pt_frame_begin(b, PT_B_END));
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

static void say(struct talk *t)
{
    lab_write_all(t->host.fd, &t->out);
}

static void say_manifest(struct talk *t, const unsigned char root[PT_DIGEST])
{
    size_t mark = pt_frame_begin(&t->out, PT_C_MANIFEST);
    pt_put_u8(&t->out, PT_DIGEST_BLAKE2B);
    pt_buf_append(&t->out, root, PT_DIGEST);
    pt_frame_end(&t->out, mark);
    say(t);
}

static void put_plain_manifest(struct talk *t, const void *data, size_t n)
{
    struct pt_buf packed = {0};
    cr_assert_eq(pt_deflate(data, n, &packed, NULL), 0);
    put_object(&t->out, PT_B_MANIFEST, packed.data, packed.len);
    pt_buf_fini(&packed);
}

/* here/: a.txt, b/c.txt, b/d.txt and a link l to b. Up to NEED. */
static void open_talk(struct talk *t)
{
    *t = (struct talk){0};
    lab_text("here/a.txt", "alpha");
    lab_text("here/b/c.txt", "gamma");
    lab_text("here/b/d.txt", "delta");
    symlink("b", "here/l");
    struct pt_manifest *m = lab_scan();
    struct pt_buf plain = {0};
    lab_start(&t->host);
    say_manifest(t, pt_manifest_root(m));
    listen_to(t, PT_C_TREE);
    pt_manifest_encode(m, &plain);
    put_plain_manifest(t, plain.data, plain.len);
    say(t);
    listen_to(t, PT_C_NEED);
    pt_buf_fini(&plain);
    pt_manifest_destroy(m);
}

static void close_talk(struct talk *t, int status)
{
    pt_buf_fini(&t->in);
    pt_buf_fini(&t->out);
    cr_assert_eq(lab_stop(&t->host), status);
}

/* The members are sent for a.txt, b/c.txt, b/d.txt; the receiver must fail and its message hold `words`. */
static void refused(const struct member *members, size_t n, const char *words)
{
    static unsigned char archive[1 << 20];
    struct talk t;
    open_talk(&t);
    size_t size = build(members, n, true, true, archive, sizeof(archive));
    put_object(&t.out, PT_B_ARCHIVE, archive, size);
    say(&t);
    listen_to(&t, PT_C_FAIL);
    cr_assert_eq(pt_get_u8(&t.body), PT_STAGE_TREE);
    pt_auto_free char *message = pt_get_str(&t.body, PT_MAX_TEXT);
    cr_assert_not_null(strstr(message, words), "%s", message);
    close_talk(&t, 1);
    cr_assert_neq(access("cache/ws/machine/project/escaped", F_OK), 0);
    cr_assert_neq(access("/tmp/ptremote-escaped", F_OK), 0);
    cr_assert_neq(access(LAB_TREE "/b/c.txt", F_OK), 0);
}

#define GOOD_A                                                                                               \
    {                                                                                                        \
        .name = "a.txt", .text = "alpha"                                                                     \
    }
#define GOOD_C                                                                                               \
    {                                                                                                        \
        .name = "b/c.txt", .text = "gamma"                                                                   \
    }
#define GOOD_D                                                                                               \
    {                                                                                                        \
        .name = "b/d.txt", .text = "delta"                                                                   \
    }
#define REFUSED(words, ...)                                                                                  \
    do {                                                                                                     \
        const struct member list[] = {__VA_ARGS__};                                                          \
        refused(list, PT_COUNT(list), words);                                                                \
    } while (0)

TestSuite(sync_hostile, .init = lab_open, .fini = lab_close);

Test(sync_hostile, name_above)
{
    REFUSED("'../escaped' is no name", {.name = "../escaped", .text = "alpha"});
}

Test(sync_hostile, name_above_within)
{
    REFUSED("is no name", GOOD_A, {.name = "b/../../escaped", .text = "gamma"});
}

Test(sync_hostile, name_absolute)
{
    REFUSED("is no name", {.name = "/tmp/ptremote-escaped", .text = "alpha"});
}

Test(sync_hostile, name_through_a_link)
{
    REFUSED("'l/c.txt' was not asked for", GOOD_A, {.name = "l/c.txt", .text = "gamma"});
}

Test(sync_hostile, name_unknown)
{
    REFUSED("'extra' was not asked for", GOOD_A, {.name = "extra", .text = "x"});
}

Test(sync_hostile, name_twice)
{
    REFUSED("'a.txt' was not asked for", GOOD_A, GOOD_A);
}

Test(sync_hostile, out_of_order)
{
    REFUSED("was not asked for", GOOD_D, GOOD_A);
}

Test(sync_hostile, one_missing)
{
    REFUSED("'b/c.txt' is missing", GOOD_A);
}

Test(sync_hostile, one_too_many)
{
    const struct member list[] = {GOOD_A, {.name = "b/zzz", .text = "x"}};
    refused(list, 2, "was not asked for");
}

Test(sync_hostile, hard_link)
{
    REFUSED("is not a plain file", {.name = "a.txt", .link = "/etc/passwd", .hard = true});
}

Test(sync_hostile, symlink_for_a_file)
{
    REFUSED("is not a plain file", {.name = "a.txt", .type = AE_IFLNK, .link = "/etc/passwd"});
}

Test(sync_hostile, device)
{
    REFUSED("is not a plain file", {.name = "a.txt", .type = AE_IFCHR});
}

Test(sync_hostile, fifo)
{
    REFUSED("is not a plain file", {.name = "a.txt", .type = AE_IFIFO});
}

Test(sync_hostile, folder)
{
    REFUSED("is not a plain file", {.name = "a.txt", .type = AE_IFDIR});
}

Test(sync_hostile, wrong_content)
{
    REFUSED("'a.txt' has not the content", {.name = "a.txt", .text = "ALPHA"});
}

Test(sync_hostile, wrong_size)
{
    REFUSED("'a.txt' has not the size", {.name = "a.txt", .text = "alphabet"});
}

static void not_an_archive(const void *data, size_t n)
{
    struct talk t;
    open_talk(&t);
    put_object(&t.out, PT_B_ARCHIVE, data, n);
    say(&t);
    listen_to(&t, 0);
    cr_assert(t.type == PT_C_FAIL || t.type == PT_C_RESEND);
    close_talk(&t, t.type == PT_C_FAIL);
    cr_assert_neq(access(LAB_TREE "/a.txt", F_OK), 0);
}

Test(sync_hostile, other_format)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    not_an_archive(archive, build(list, 3, true, false, archive, sizeof(archive)));
}

Test(sync_hostile, garbage)
{
    static char garbage[300000];
    memset(garbage, 'x', sizeof(garbage));
    not_an_archive(garbage, 5000);
    lab_run("rm -rf cache");
    not_an_archive(garbage, sizeof(garbage));
}

/* The folder b turns into a link to a place outside after the receiver has looked. */
Test(sync_hostile, folder_becomes_a_link)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    struct talk t;
    mkdir("outside", 0755);
    lab_text("here/b/keep", "k");
    lab_sync();
    unlink("here/b/keep");
    lab_text("here/b/keep2", "k");
    lab_run("mkdir -p " LAB_TREE "/b && cp here/b/keep2 " LAB_TREE "/b/");
    open_talk(&t);
    lab_run("mv " LAB_TREE "/b moved && ln -s ../../../../../outside " LAB_TREE "/b");
    put_object(&t.out, PT_B_ARCHIVE, archive, build(list, 3, true, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_FAIL);
    close_talk(&t, 1);
    cr_assert_neq(access("outside/c.txt", F_OK), 0);
}

Test(sync_hostile, every_truncation_asks_again)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    size_t size = build(list, 3, true, true, archive, sizeof(archive));
    for (size_t n = 0; n < size; n += n < 24 ? 1 : 7) {
        struct talk t;
        open_talk(&t);
        put_object(&t.out, PT_B_ARCHIVE, archive, n);
        say(&t);
        listen_to(&t, PT_C_RESEND);
        close_talk(&t, 0);
        lab_run("rm -rf cache");
    }
}

Test(sync_hostile, connection_ends_in_the_archive)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    size_t size = build(list, 3, true, true, archive, sizeof(archive));
    struct talk t;
    open_talk(&t);
    put_object(&t.out, PT_B_ARCHIVE, archive, size);
    t.out.len -= PT_FRAME_HEAD + 20;
    say(&t);
    close_talk(&t, 1);
}

/* --- manifests --- */

/* `data` is offered as the manifest of `root`; the receiver must fail. */
static void manifest_refused(const void *data, size_t n, const unsigned char *root, const char *words)
{
    struct talk t = {0};
    lab_start(&t.host);
    say_manifest(&t, root);
    listen_to(&t, PT_C_TREE);
    put_plain_manifest(&t, data, n);
    say(&t);
    listen_to(&t, PT_C_FAIL);
    pt_get_u8(&t.body);
    pt_auto_free char *message = pt_get_str(&t.body, PT_MAX_TEXT);
    cr_assert_not_null(strstr(message, words), "%s", message);
    close_talk(&t, 1);
}

Test(sync_hostile, manifest_of_another_root)
{
    struct pt_buf plain = {0};
    unsigned char root[PT_DIGEST] = {1};
    lab_text("here/a", "1");
    struct pt_manifest *m = lab_scan();
    pt_manifest_encode(m, &plain);
    manifest_refused(plain.data, plain.len, root, "not the one that was announced");
    manifest_refused("garbage", 7, root, "malformed");
    pt_buf_fini(&plain);
    pt_manifest_destroy(m);
}

Test(sync_hostile, messages_out_of_turn)
{
    static const uint8_t types[] = {0, PT_B_MANIFEST, PT_B_DATA, PT_B_END, PT_B_ARCHIVE, 64, 255};
    for (size_t i = 0; i < PT_COUNT(types); i++) {
        struct talk t = {0};
        lab_start(&t.host);
        pt_frame_end(&t.out, pt_frame_begin(&t.out, types[i]));
        say(&t);
        listen_to(&t, PT_C_FAIL);
        close_talk(&t, 1);
    }
}

Test(sync_hostile, impossible_length)
{
    struct talk t = {0};
    lab_start(&t.host);
    pt_put_u32(&t.out, 0xfffffff0u);
    pt_put_u8(&t.out, PT_C_MANIFEST);
    say(&t);
    listen_to(&t, PT_C_FAIL);
    close_talk(&t, 1);
}

Test(sync_hostile, a_bomb_is_refused)
{
    size_t n = 260u << 20;
    void *zeros = calloc(1, n);
    unsigned char root[PT_DIGEST] = {1};
    manifest_refused(zeros, n, root, "more than was allowed");
    free(zeros);
}

/* --- small tars --- */

static int untar(const struct member *m, size_t n, struct pt_err *err)
{
    static unsigned char tar[1 << 16];
    size_t size = build(m, n, false, true, tar, sizeof(tar));
    return pt_unpack_tar(tar, size, "out", err);
}

Test(sync_hostile, tar_of_files)
{
    const struct member list[] = {{.name = "p/", .type = AE_IFDIR},
                                  {.name = "p/__init__.py", .text = "a"},
                                  {.name = "p/q/deep/x.py", .text = "x"}};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(untar(list, 3, &err), 0, "%s", err.msg);
    cr_assert_eq(untar(list, 3, &err), 0, "again: %s", err.msg);
    pt_auto_free char *text = lab_read("out/p/q/deep/x.py");
    cr_assert_str_eq(text, "x");
}

Test(sync_hostile, tar_refused)
{
    const struct member bad[] = {
        {.name = "../escaped", .text = "x"},           {.name = "/tmp/ptremote-escaped", .text = "x"},
        {.name = "a/../../escaped", .text = "x"},      {.name = "l", .type = AE_IFLNK, .link = "/etc"},
        {.name = "h", .link = "/etc/x", .hard = true}, {.name = "d", .type = AE_IFCHR},
    };
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        struct pt_err err = PT_ERR_INIT;
        cr_assert_eq(untar(&bad[i], 1, &err), -1, "%s", bad[i].name);
        cr_assert(err.msg[0]);
    }
    cr_assert_neq(access("escaped", F_OK), 0);
    cr_assert_neq(access("/tmp/ptremote-escaped", F_OK), 0);
}

Test(sync_hostile, tar_through_a_link_there)
{
    const struct member list[] = {{.name = "l/x", .text = "x"}};
    mkdir("outside", 0755);
    mkdir("out", 0755);
    symlink("../outside", "out/l");
    cr_assert_eq(untar(list, 1, NULL), -1);
    cr_assert_neq(access("outside/x", F_OK), 0);
}

Test(sync_hostile, tar_truncated)
{
    static unsigned char tar[1 << 16];
    const struct member list[] = {{.name = "a", .text = "alpha"}, {.name = "b", .text = "beta"}};
    size_t size = build(list, 2, false, true, tar, sizeof(tar));
    cr_assert_eq(pt_unpack_tar(tar, size, "out", NULL), 0);
    for (size_t n = 0; n < 1024 && n < size; n += 64)
        if (n != 0 && n % 512 != 0)
            cr_assert_eq(pt_unpack_tar(tar, n, "out", NULL), -1, "%zu", n);
}
