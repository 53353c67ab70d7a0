/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs as a tar: plain headers, content in place, and where it is cut off. */
#include "common/auto.h"
#include "common/err.h"
#include "sync/here/tar.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define ROOM 4096

/* Bytes in rooms of ROOM, until `most`. */
struct sink {
    unsigned char data[65536];
    size_t len, most;
};

static void *room(void *arg, size_t *n)
{
    struct sink *s = arg;
    size_t end = (s->len / ROOM + 1) * ROOM;
    end = end < s->most ? end : s->most;
    *n = end - s->len;
    return *n ? s->data + s->len : NULL;
}

static void took(void *arg, size_t n)
{
    struct sink *s = arg;
    size_t left;
    cr_assert_not_null(room(s, &left));
    cr_assert_leq(n, left);
    s->len += n;
}

static struct pt_tar *begin(struct sink *s, size_t most)
{
    struct pt_err err = PT_ERR_INIT;
    *s = (struct sink){.most = most};
    struct pt_tar *t = pt_tar_create(&(struct pt_tar_out){.room = room, .took = took, .arg = s}, &err);
    cr_assert_not_null(t, "%s", err.msg);
    return t;
}

/* A file of n bytes 'a', 'b', ... */
static int letters(size_t n)
{
    int fd = memfd_create("letters", MFD_CLOEXEC);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(write(fd, &(char){(char)('a' + i % 26)}, 1), 1);
    return fd;
}

static void check_header(const unsigned char *h, const char *name, size_t size)
{
    cr_assert_str_eq((const char *)h, name);
    cr_assert_eq(strtoul((const char *)h + 100, NULL, 8), 0600);
    cr_assert_eq(strtoul((const char *)h + 124, NULL, 8), size);
    cr_assert_eq(strtoul((const char *)h + 136, NULL, 8), 0);
    cr_assert_eq(h[156], '0');
    cr_assert_eq(memcmp(h + 257, "ustar\00000", 8), 0);
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? 0 : h[i];
    cr_assert_eq(strtoul((const char *)h + 148, NULL, 8), sum);
}

Test(sync_tar, headers_are_plain_and_content_is_whole)
{
    static struct sink s;
    static const size_t sizes[] = {1, 511, 512, 513, 3584, 3585, 9000};
    pt_auto_fd int fd = letters(10000);
    struct pt_tar *t = begin(&s, sizeof(s.data));
    for (size_t i = 0; i < PT_COUNT(sizes); i++)
        cr_assert_eq(pt_tar_blob(t, (uint32_t)(4294967295u - i), fd, i, (uint32_t)sizes[i], NULL),
                     PT_TAR_DONE);
    cr_assert_eq(pt_tar_end(t, NULL), PT_TAR_DONE);
    pt_tar_destroy(t);
    const unsigned char *p = s.data;
    for (size_t i = 0; i < PT_COUNT(sizes); i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", (unsigned)(4294967295u - i));
        check_header(p, name, sizes[i]);
        p += 512;
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(p[k], 'a' + (i + k) % 26, "%zu %zu", i, k);
        p += (sizes[i] + 511) / 512 * 512;
    }
    cr_assert_eq(s.len, (size_t)(p - s.data) + 1024);
    for (; p < s.data + s.len; p++)
        cr_assert_eq(*p, 0);
}

Test(sync_tar, without_an_end_it_stays_cut_off)
{
    static struct sink s;
    pt_auto_fd int fd = letters(100);
    struct pt_tar *t = begin(&s, sizeof(s.data));
    cr_assert_eq(pt_tar_blob(t, 1, fd, 0, 100, NULL), PT_TAR_DONE);
    cr_assert_eq(s.len, 1024);
    pt_tar_destroy(t);
    cr_assert_eq(s.len, 1024);
    pt_tar_destroy(NULL);
}

Test(sync_tar, a_file_that_ends_early)
{
    static struct sink s;
    pt_auto_fd int fd = letters(100);
    struct pt_tar *t = begin(&s, sizeof(s.data));
    cr_assert_eq(pt_tar_blob(t, 1, fd, 0, 101, NULL), PT_TAR_SHORT);
    pt_tar_destroy(t);
    cr_assert_eq(s.len, 612);
}

Test(sync_tar, a_file_that_cannot_be_read)
{
    static struct sink s;
    pt_auto_fd int fd = open("/", O_RDONLY | O_CLOEXEC);
    struct pt_tar *t = begin(&s, sizeof(s.data));
    cr_assert_eq(pt_tar_blob(t, 1, fd, 0, 1, NULL), PT_TAR_UNREADABLE);
    cr_assert_eq(errno, EISDIR);
    pt_tar_destroy(t);
}

Test(sync_tar, room_may_end_anywhere)
{
    static struct sink s;
    pt_auto_fd int fd = letters(1000);
    const size_t all = 512 + 1024 + 1024;
    for (size_t most = 0; most <= all; most += 37) {
        struct pt_tar *t = begin(&s, most);
        enum pt_tar_got got = pt_tar_blob(t, 1, fd, 0, 1000, NULL);
        if (got == PT_TAR_DONE)
            got = pt_tar_end(t, NULL);
        cr_assert_eq(got, most >= all ? PT_TAR_DONE : PT_TAR_STOPPED, "%zu: %d", most, got);
        pt_tar_destroy(t);
        cr_assert_eq(s.len, most);
    }
}
