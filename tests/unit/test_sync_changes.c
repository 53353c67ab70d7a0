/* SPDX-License-Identifier: Apache-2.0 */
/* Files that change: before a scan, and while they are read. */
#include "sync/here/content.h"
#include "sync_lab.h"

#include <pthread.h>
#include <stdatomic.h>

TestSuite(sync_changes, .init = lab_open, .fini = lab_close);

static void content_is(const struct pt_entry *e, const unsigned char *data, size_t n, const char *why)
{
    unsigned char is[PT_DIGEST];
    cr_assert_eq(e->size, n, "%s", why);
    if (!e->nchunks)
        cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, data, n, is, NULL), 0);
    else
        cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, e->chunks, e->nchunks, is), 0);
    cr_assert_arr_eq(e->digest, is, PT_DIGEST, "%s", why);
    for (uint32_t i = 0; i < e->nchunks; data += e->chunks[i++].size) {
        cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, data, e->chunks[i].size, is, NULL), 0);
        cr_assert_arr_eq(e->chunks[i].digest, is, PT_DIGEST, "%s: chunk %u", why, i);
    }
}

/* Scan: the digests of "f" must be those of its content. */
static void scan_is_right(const char *why)
{
    struct stat st;
    struct pt_manifest *m = lab_scan();
    const struct pt_entry *e = pt_manifest_find(m, "f");
    pt_auto_fd int fd = open("here/f", O_RDONLY | O_CLOEXEC);
    cr_assert_not_null(e, "%s", why);
    cr_assert_eq(fstat(fd, &st), 0);
    pt_auto_free unsigned char *data = malloc((size_t)st.st_size + 1);
    cr_assert_eq(read(fd, data, (size_t)st.st_size), st.st_size);
    content_is(e, data, (size_t)st.st_size, why);
    pt_manifest_destroy(m);
}

static void set_mtime(const char *path, const struct stat *to)
{
    struct timespec times[2] = {to->st_mtim, to->st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Same size, same mtime, and mostly the same ctime: the clock does not tick in between. */
Test(sync_changes, within_the_clocks_grain)
{
    struct stat st;
    for (int i = 0; i < 300; i++) {
        lab_text("here/f", i % 2 ? "a" : "b");
        cr_assert_eq(stat("here/f", &st), 0);
        scan_is_right("first");
        int fd = open("here/f", O_WRONLY | O_CLOEXEC);
        cr_assert_eq(pwrite(fd, i % 2 ? "c" : "d", 1, 0), 1);
        close(fd);
        set_mtime("here/f", &st);
        scan_is_right("changed in the same tick");
    }
}

/* Waits until the hash cache takes the file. */
static void let_it_age(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    struct pt_stamp s = pt_stamp_of(&st);
    for (int i = 0; i < 1000 && pt_stamp_racy(&s, pt_stamp_clock(".")); i++)
        poll(NULL, 0, 10);
}

Test(sync_changes, mtime_set_back)
{
    struct stat st;
    lab_text("here/f", "pass");
    let_it_age("here/f");
    scan_is_right("first");
    cr_assert_eq(stat("here/f", &st), 0);
    lab_text("here/f", "fail");
    set_mtime("here/f", &st);
    let_it_age("here/f");
    scan_is_right("mtime set back");
}

Test(sync_changes, replaced_by_another)
{
    struct stat st;
    lab_text("here/f", "pass");
    lab_text("other", "fail");
    cr_assert_eq(stat("here/f", &st), 0);
    set_mtime("other", &st);
    let_it_age("other");
    scan_is_right("first");
    cr_assert_eq(rename("other", "here/f"), 0);
    scan_is_right("replaced");
    let_it_age("here/f");
    scan_is_right("replaced, and old");
}

struct writer {
    pthread_t thread;
    atomic_bool stop;
    atomic_long writes;
    bool grow;
};

static void *keep_writing(void *arg)
{
    struct writer *w = arg;
    int fd = open("here/f", O_WRONLY | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END);
    while (!w->stop) {
        if (pwrite(fd, "x", 1, w->grow ? end++ : w->writes % end) != 1)
            break;
        w->writes++;
    }
    close(fd);
    return NULL;
}

static void start_writer(struct writer *w, bool grow)
{
    *w = (struct writer){.grow = grow};
    cr_assert_eq(pthread_create(&w->thread, NULL, keep_writing, w), 0);
    while (!w->writes)
        sched_yield();
}

static void stop_writer(struct writer *w)
{
    w->stop = true;
    pthread_join(w->thread, NULL);
}

static void large_file(size_t n)
{
    char *data = calloc(1, n);
    lab_write("here/f", data, n);
    free(data);
}

Test(sync_changes, while_it_is_read)
{
    large_file(48u << 20);
    int here = open("here", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int round = 0; round < 4; round++) {
        struct writer w;
        struct pt_content content;
        unsigned char digest[PT_DIGEST];
        struct pt_content_reader *r = pt_content_create(PT_DIGEST_BLAKE2B, NULL);
        start_writer(&w, round % 2);
        cr_assert_eq(pt_content_read(r, here, "f", false, &content), 0, "%d", round);
        cr_assert_null(content.chunks);
        stop_writer(&w);
        cr_assert_eq(truncate("here/f", 48 << 20), 0);
        let_it_age("here/f");
        cr_assert_eq(pt_content_read(r, here, "f", false, &content), 1, "the same reader, %d", round);
        cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, content.chunks, content.nchunks, digest), 0);
        cr_assert_arr_eq(content.digest, digest, PT_DIGEST);
        pt_content_fini(&content);
        pt_content_destroy(r);
    }
    close(here);
}

Test(sync_changes, without_end)
{
    struct writer w;
    struct pt_err err = PT_ERR_INIT;
    large_file(48u << 20);
    start_writer(&w, false);
    cr_assert_null(lab_scan_with(NULL, 0, NULL, 0, &err));
    stop_writer(&w);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.msg, "f changes all the time"), "%s", err.msg);
    cr_assert_not_null(strstr(err.hint, "--exclude"));
    scan_is_right("at rest");
}

/* Files come and go while folders are read: what a scan gives is what was there all the time, and more. */
static void *come_and_go(void *arg)
{
    struct writer *w = arg;
    while (!w->stop) {
        char path[64];
        snprintf(path, sizeof(path), "here/d%ld/new", w->writes % 50);
        mkdir("here/folder", 0755);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        close(fd);
        symlink("d0", "here/folder/link");
        unlink("here/folder/link");
        unlink(path);
        rmdir("here/folder");
        w->writes++;
    }
    return NULL;
}

Test(sync_changes, come_and_go)
{
    struct writer w = {.grow = false};
    for (int i = 0; i < 50; i++) {
        char path[64];
        snprintf(path, sizeof(path), "here/d%d/stays", i);
        lab_text(path, "1");
    }
    cr_assert_eq(pthread_create(&w.thread, NULL, come_and_go, &w), 0);
    for (int i = 0; i < 100; i++) {
        struct pt_manifest *m = lab_scan();
        cr_assert_geq(pt_manifest_count(m), 100);
        pt_manifest_destroy(m);
    }
    stop_writer(&w);
}
