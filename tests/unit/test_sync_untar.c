/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/untar.h"

#include "store_lab.h"

/* A tar that comes in pieces, each in memory of its own that is gone with the next. */
struct source {
    const struct pt_buf *tar;
    size_t at, end, piece;
    unsigned char *last;
    bool give_up;
};

static ssize_t read_piece(void *arg, const void **data)
{
    struct source *s = arg;
    size_t n = s->end - s->at < s->piece ? s->end - s->at : s->piece;
    free(s->last);
    s->last = NULL;
    if (n == 0)
        return s->give_up ? -1 : 0;
    s->last = malloc(n);
    memcpy(s->last, s->tar->data + s->at, n);
    s->at += n;
    *data = s->last;
    return (ssize_t)n;
}

static struct source source_of(const struct pt_buf *tar, size_t piece)
{
    return (struct source){.tar = tar, .end = tar->len, .piece = piece};
}

/* Reads on until something but an entry comes. */
static int read_all(struct source *s, uint32_t max, size_t *entries, struct pt_err *err)
{
    struct pt_untar *u = pt_untar_create(read_piece, s, err);
    struct pt_untar_entry e;
    int rc;
    *entries = 0;
    while ((rc = pt_untar_next(u, max, &e, err)) == 1)
        ++*entries;
    cr_assert_eq(pt_untar_next(u, max, &e, NULL), rc, "it changes its mind");
    pt_untar_destroy(u);
    free(s->last);
    s->last = NULL;
    return rc;
}

static int verdict(const struct pt_buf *tar, uint32_t max, struct pt_err *err)
{
    size_t n;
    struct source s = source_of(tar, 4096);
    *err = PT_ERR_INIT;
    return read_all(&s, max, &n, err);
}

Test(sync_untar, gives_content_and_where_it_lies)
{
    static const size_t pieces[] = {1, 7, 511, 512, 513, 4096, 65536, 1 << 20};
    struct lab_set set = set_make(3, 60, 9000);
    for (size_t k = 0; k < PT_COUNT(pieces); k++) {
        struct source s = source_of(&set.tar, pieces[k]);
        struct pt_err err = PT_ERR_INIT;
        struct pt_untar *u = pt_untar_create(read_piece, &s, &err);
        struct pt_untar_entry e;
        size_t inside = 0;
        for (size_t i = 0; i < set.n; i++) {
            cr_assert_eq(pt_untar_next(u, 9000, &e, &err), 1, "%s", err.msg);
            cr_assert_eq(strtoul(e.name, NULL, 10), i);
            cr_assert_eq(e.size, set.v[i].size);
            cr_assert_eq(e.offset, set.v[i].at);
            cr_assert_eq(memcmp(e.data, set.v[i].data, e.size), 0);
            inside += e.inside;
        }
        cr_assert_eq(pt_untar_next(u, 9000, &e, &err), 0, "%s", err.msg);
        cr_assert_eq(inside > 50, pieces[k] >= 65536, "%zu of pieces of %zu", inside, pieces[k]);
        pt_untar_destroy(u);
        free(s.last);
    }
    set_free(&set);
}

Test(sync_untar, tells_every_truncation)
{
    struct lab_set set = set_make(5, 3, 700);
    for (size_t end = 0; end <= set.tar.len; end++) {
        struct pt_err err = PT_ERR_INIT;
        struct source s = source_of(&set.tar, 300);
        size_t entries, whole = 0;
        s.end = end;
        for (size_t i = 0; i < set.n; i++)
            whole += set.v[i].at + set.v[i].size <= end;
        cr_assert_eq(read_all(&s, 700, &entries, &err), end == set.tar.len ? 0 : 2, "%zu: %s", end, err.msg);
        cr_assert_eq(entries, whole, "%zu", end);
    }
    set_free(&set);
}

Test(sync_untar, says_when_the_reader_gave_up)
{
    struct lab_set set = set_make(6, 3, 700);
    for (size_t end = 0; end < set.tar.len; end += 100) {
        struct pt_err err = PT_ERR_INIT;
        struct source s = source_of(&set.tar, 300);
        size_t entries;
        s.end = end;
        s.give_up = true;
        cr_assert_eq(read_all(&s, 700, &entries, &err), -1, "%zu", end);
        cr_assert_str_empty(err.msg, "%zu", end);
    }
    set_free(&set);
}

Test(sync_untar, empty_files_and_an_empty_tar)
{
    struct pt_buf tar = {0};
    struct pt_err err = PT_ERR_INIT;
    size_t n;
    tar_file(&tar, "0", "", 0);
    tar_file(&tar, "1", "x", 1);
    tar_end(&tar);
    struct source s = source_of(&tar, 512);
    cr_assert_eq(read_all(&s, 1, &n, &err), 0, "%s", err.msg);
    cr_assert_eq(n, 2);
    tar.len = 0;
    tar_end(&tar);
    s = source_of(&tar, 512);
    cr_assert_eq(read_all(&s, 1, &n, &err), 0, "%s", err.msg);
    cr_assert_eq(n, 0);
    pt_buf_fini(&tar);
}

/* Links, devices, folders; but a label is passed over, and some kinds are plain files by another name. */
Test(sync_untar, refuses_what_is_no_plain_file)
{
    static const char *const kinds[] = {"123456D", "7SV"};
    struct pt_err err;
    for (int plain = 0; plain < 2; plain++)
        for (const char *t = kinds[plain]; *t; t++) {
            struct pt_buf tar = {0};
            tar_header(&tar, "0", *t, 0);
            tar_file(&tar, "1", "x", 1);
            tar_end(&tar);
            cr_assert_eq(verdict(&tar, 100, &err), plain ? 0 : -1, "type %c", *t);
            cr_assert(plain || strstr(err.msg, "'0' is not a plain file"), "%s", err.msg);
            pt_buf_fini(&tar);
        }
}

Test(sync_untar, refuses_more_than_may_be)
{
    struct pt_buf tar = {0};
    struct pt_err err;
    tar_file(&tar, "0", "hello", 5);
    tar_end(&tar);
    cr_assert_eq(verdict(&tar, 5, &err), 0, "%s", err.msg);
    cr_assert_eq(verdict(&tar, 4, &err), -1);
    cr_assert(strstr(err.msg, "'0'"), "%s", err.msg);
    tar.len = 0;
    tar_header(&tar, "0", '0', 077777777777); /* 8 GiB */
    cr_assert_eq(verdict(&tar, 8 << 20, &err), -1);
    tar.len = 0;
    tar_header(&tar, "huge", 'L', 077777777777); /* a name of 8 GiB */
    tar_zeros(&tar, 1024);
    cr_assert_neq(verdict(&tar, 8 << 20, &err), 1);
    tar.len = 0;
    tar_header(&tar, "pax", 'x', 077777777777);
    tar_zeros(&tar, 1024);
    cr_assert_neq(verdict(&tar, 8 << 20, &err), 1);
    pt_buf_fini(&tar);
}

Test(sync_untar, refuses_noise)
{
    struct pt_buf tar = {0};
    struct pt_err err;
    struct lab_blob b = blob_make(1, 5000);
    pt_buf_append(&tar, b.data, b.size);
    cr_assert_eq(verdict(&tar, 100, &err), -1);
    cr_assert(err.msg[0]);
    free(b.data);
    pt_buf_fini(&tar);
}

Test(sync_untar, survives_flipped_bytes)
{
    struct lab_set set = set_make(8, 4, 600);
    for (size_t i = 0; i < set.tar.len; i++) {
        struct pt_err err;
        set.tar.data[i] ^= 0x81;
        verdict(&set.tar, 600, &err);
        set.tar.data[i] ^= 0x81;
    }
    set_free(&set);
}
