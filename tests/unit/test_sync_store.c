/* SPDX-License-Identifier: Apache-2.0 */
#include "store_lab.h"

#include <signal.h>
#include <sys/resource.h>

TestSuite(sync_store, .init = lab_open, .fini = lab_close);

Test(sync_store, gives_back_what_came)
{
    static const int levels[] = {0, 1, 9};
    static const size_t pieces[] = {1000, 65536, PT_SEGMENT_MAX};
    for (size_t i = 0; i < PT_COUNT(levels) * PT_COUNT(pieces); i++) {
        struct lab_set set = set_make(i, 300, 20000), other = set_make(i + 100, 5, 100);
        struct pt_store *s = lab_store();
        cr_assert_eq(lab_get(s, &set), 0);
        lab_put(s, &set, pieces[i / 3], levels[i % 3]);
        cr_assert_eq(lab_get(s, &set), set.n);
        pt_store_close(s);
        s = lab_store();
        cr_assert_eq(lab_get(s, &set), set.n);
        cr_assert_eq(lab_get(s, &other), 0);
        pt_store_close(s);
        set_free(&set);
        set_free(&other);
    }
    cr_assert_eq(lab_count(".pack"), 9);
    cr_assert_eq(lab_count(".idx"), 9);
    cr_assert_eq(lab_count(".part"), 0);
}

Test(sync_store, folders_are_private)
{
    struct stat st;
    struct lab_set set = set_make(1, 1, 100);
    struct pt_store *s = lab_store();
    lab_put(s, &set, 4096, 0);
    pt_store_close(s);
    static const char *const folders[] = {"cache", "cache/store", LAB_STORE};
    for (size_t i = 0; i < PT_COUNT(folders); i++) {
        cr_assert_eq(stat(folders[i], &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0700);
    }
    cr_assert_eq(stat(lab_find(".pack"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    set_free(&set);
}

Test(sync_store, algorithms_do_not_mix)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(1, 10, 100);
    struct pt_store *s = lab_store();
    lab_put(s, &set, 4096, 0);
    pt_store_close(s);
    s = pt_store_open("cache", PT_DIGEST_SHA256, &err);
    cr_assert_not_null(s, "%s", err.msg);
    cr_assert_eq(lab_get(s, &set), 0);
    pt_store_close(s);
    cr_assert_null(pt_store_open("cache", (enum pt_digest_algorithm)9, &err));
    cr_assert(err.msg[0]);
    set_free(&set);
}

/* As large as blobs get, over many segments. */
Test(sync_store, large_blobs)
{
    for (int level = 0; level < 2; level++) {
        struct lab_set set = {.v = calloc(3, sizeof(*set.v)), .n = 3};
        for (size_t i = 0; i < 3; i++) {
            set.v[i] = blob_make(i + 10, i == 1 ? PT_BLOB_MAX : 4u << 20);
            set.v[i].at = tar_file(&set.tar, "x", set.v[i].data, set.v[i].size);
        }
        struct pt_store *s = lab_store();
        lab_put(s, &set, 700000, level);
        cr_assert_eq(lab_get(s, &set), 3);
        pt_store_tidy(s, 0);
        pt_store_close(s);
        set_free(&set);
    }
}

Test(sync_store, only_what_was_noted_and_came)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(2, 40, 5000);
    struct pt_store *s = lab_store();
    size_t half = set.v[20].at + 1;
    cr_assert_eq(pt_store_begin(s, &err), 0);
    lab_segments(s, &set.tar, half, 1000, 1);
    for (size_t i = 1; i < set.n; i++)
        pt_store_note(s, set.v[i].digest, set.v[i].at, set.v[i].size);
    pt_store_note(s, set.v[0].digest, UINT64_MAX - 3, 5);
    pt_store_note(s, set.v[0].digest, 0, 0);
    pt_store_note(s, set.v[0].digest, 0, UINT32_MAX);
    cr_assert_not(pt_store_has(s, set.v[1].digest, set.v[1].size));
    cr_assert_eq(pt_store_end(s, &err), 0);
    cr_assert_eq(lab_get(s, &set), 19);
    cr_assert_not(pt_store_has(s, set.v[1].digest, set.v[1].size + 1));
    cr_assert_not(pt_store_has(s, set.v[0].digest, 0));
    pt_store_close(s);
    set_free(&set);
}

Test(sync_store, nothing_noted_leaves_nothing)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(2, 4, 5000);
    struct pt_store *s = lab_store();
    cr_assert_eq(pt_store_begin(s, &err), 0);
    lab_segments(s, &set.tar, set.tar.len, 1000, 1);
    cr_assert_eq(pt_store_end(s, &err), 0);
    cr_assert_eq(pt_store_begin(s, &err), 0);
    pt_store_close(s);
    cr_assert_eq(lab_count(""), 2, "more than . and ..");
    set_free(&set);
}

/* A digest that was noted wrongly is no reason to give other content. */
Test(sync_store, content_is_checked)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(3, 10, 5000);
    struct pt_store *s = lab_store();
    cr_assert_eq(pt_store_begin(s, &err), 0);
    lab_segments(s, &set.tar, set.tar.len, 1000, 1);
    for (size_t i = 0; i < set.n; i++)
        pt_store_note(s, set.v[i].digest, set.v[i].at + (i == 4), set.v[i].size);
    cr_assert_eq(pt_store_end(s, &err), 0);
    cr_assert(pt_store_has(s, set.v[4].digest, set.v[4].size));
    cr_assert_eq(lab_get(s, &set), 9);
    pt_store_close(s);
    s = lab_store();
    cr_assert_not(pt_store_has(s, set.v[4].digest, set.v[4].size), "the index claims it still");
    cr_assert_eq(lab_get(s, &set), 9);
    pt_store_close(s);
    set_free(&set);
}

static int stop_soon(void *arg, uint32_t number, const void *data, uint32_t size)
{
    (void)number, (void)data, (void)size;
    return ++*(int *)arg < 7 ? 0 : -1;
}

Test(sync_store, the_caller_may_end_it)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(4, 2000, 20000);
    struct pt_store *s = lab_store();
    struct pt_store_want *w = calloc(set.n, sizeof(*w));
    int calls = 0;
    size_t lost = 0;
    lab_put(s, &set, PT_SEGMENT_MAX, 1);
    for (size_t i = 0; i < set.n; i++) {
        w[i] = (struct pt_store_want){.size = set.v[i].size};
        memcpy(w[i].digest, set.v[i].digest, PT_DIGEST);
    }
    cr_assert_eq(pt_store_read(s, w, set.n, stop_soon, &calls, &err), -1);
    cr_assert_str_empty(err.msg);
    cr_assert_eq(calls, 7);
    for (size_t i = 0; i < set.n; i++)
        lost += w[i].lost;
    cr_assert_eq(lost, set.n - 6);
    cr_assert_eq(lab_get(s, &set), set.n);
    pt_store_close(s);
    free(w);
    set_free(&set);
}

Test(sync_store, the_same_again_and_again)
{
    struct lab_set set = set_make(5, 3, 3000);
    struct pt_store *s = lab_store();
    struct pt_store_want w[9];
    lab_put(s, &set, 1000, 0);
    lab_put(s, &set, 1000, 1);
    for (size_t i = 0; i < 9; i++) {
        w[i] = (struct pt_store_want){.size = set.v[i % 3].size, .number = (uint32_t)i % 3};
        memcpy(w[i].digest, set.v[i % 3].digest, PT_DIGEST);
    }
    cr_assert_eq(pt_store_read(s, w, 9, lab_check, &set, NULL), 0);
    for (size_t i = 0; i < 9; i++)
        cr_assert_not(w[i].lost);
    cr_assert_eq(pt_store_read(s, NULL, 0, lab_check, &set, NULL), 0);
    pt_store_close(s);
    set_free(&set);
}

Test(sync_store, no_store_has_nothing)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(6, 3, 100);
    struct pt_segment g = {.data = "x", .size = 1, .raw = 1};
    cr_assert_eq(lab_get(NULL, &set), 0);
    cr_assert_eq(pt_store_begin(NULL, &err), -1);
    cr_assert(err.msg[0]);
    cr_assert_eq(pt_store_segment(NULL, &g, &err), 0);
    pt_store_note(NULL, set.v[0].digest, 0, 1);
    cr_assert_eq(pt_store_end(NULL, &err), 0);
    pt_store_tidy(NULL, 0);
    pt_store_close(NULL);
    set_free(&set);
}

Test(sync_store, segments_that_are_none_end_the_archive)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(7, 3, 100);
    struct pt_store *s = lab_store();
    struct pt_segment g = {.data = "xy", .size = 2, .raw = 1};
    cr_assert_eq(pt_store_begin(s, &err), 0);
    cr_assert_eq(pt_store_segment(s, &g, &err), -1);
    cr_assert(err.msg[0]);
    lab_segments(s, &set.tar, set.tar.len, 1000, 1);
    pt_store_note(s, set.v[0].digest, set.v[0].at, set.v[0].size);
    cr_assert_eq(pt_store_end(s, &err), 0);
    cr_assert_eq(lab_count(""), 2, "more than . and ..");
    lab_put(s, &set, 1000, 1);
    cr_assert_eq(lab_get(s, &set), 3);
    pt_store_close(s);
    set_free(&set);
}

Test(sync_store, a_full_disk_gets_its_room_back)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_set set = set_make(8, 100, 9000);
    struct rlimit all, little = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
    struct pt_store *s = lab_store();
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    struct pt_segment g = {.data = set.tar.data, .size = 60000, .raw = 60000};
    cr_assert_eq(pt_store_begin(s, &err), 0);
    cr_assert_eq(pt_store_segment(s, &g, &err), 0);
    cr_assert_eq(lab_count(".part"), 1);
    int rc = pt_store_segment(s, &g, &err);
    setrlimit(RLIMIT_FSIZE, &all);
    cr_assert_eq(rc, -1);
    cr_assert(strstr(err.msg, "cannot keep files"), "%s", err.msg);
    cr_assert_eq(lab_count(""), 2, "more than . and ..");
    cr_assert_eq(pt_store_segment(s, &g, &err), 0);
    cr_assert_eq(pt_store_end(s, &err), 0);
    lab_put(s, &set, 60000, 0);
    cr_assert_eq(lab_get(s, &set), 100);
    pt_store_close(s);
    set_free(&set);
}

/* --- tidy --- */

Test(sync_store, small_packs_become_one)
{
    struct lab_set sets[20];
    struct pt_store *s = lab_store(), *other = lab_store();
    for (size_t i = 0; i < 20; i++) {
        sets[i] = set_make(i, 10, 5000);
        lab_put(s, &sets[i], 4096, (int)i % 3);
        if (i == 15)
            pt_store_tidy(s, UINT64_MAX);
    }
    cr_assert_eq(lab_count(".pack"), 20);
    lab_put(s, &sets[3], 999, 1);
    cr_assert_eq(lab_get(other, &sets[0]), 0);
    pt_store_tidy(other, UINT64_MAX);
    cr_assert_eq(lab_count(".pack"), 1);
    cr_assert_eq(lab_count(".idx"), 1);
    cr_assert_eq(lab_count(""), 4);
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(lab_get(other, &sets[i]), 10);
        cr_assert_eq(lab_get(s, &sets[i]), 10, "the packs it knew are gone, but what was in them is not");
    }
    pt_store_close(s);
    pt_store_close(other);
    s = lab_store();
    struct stat st;
    cr_assert_eq(stat(lab_find(".pack"), &st), 0);
    cr_assert_lt(st.st_size, 20 * 10 * 6000, "what was twice is there once");
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(lab_get(s, &sets[i]), 10);
        set_free(&sets[i]);
    }
    pt_store_close(s);
}

Test(sync_store, what_was_not_read_for_long_goes_first)
{
    struct lab_set sets[5];
    struct pt_store *s;
    for (size_t i = 0; i < 5; i++) {
        sets[i] = set_make(i, 10, 5000);
        s = lab_store();
        lab_put(s, &sets[i], 4096, 0);
        pt_store_close(s);
        for (size_t k = 0; k <= i; k++) { /* the index of the newest is the only one that is not old */
            DIR *d = opendir(LAB_STORE);
            for (const struct dirent *e; (e = readdir(d));) {
                char path[512];
                struct stat st;
                snprintf(path, sizeof(path), LAB_STORE "/%s", e->d_name);
                if (strstr(e->d_name, ".idx") && stat(path, &st) == 0 && time(NULL) - st.st_mtime < 86400)
                    lab_age(path, (time_t)(30 - i) * 86400);
            }
            closedir(d);
        }
    }
    s = lab_store();
    cr_assert_eq(lab_get(s, &sets[0]), 10);
    pt_store_tidy(s, sets[0].tar.len + sets[4].tar.len + 4096);
    cr_assert_eq(lab_count(".pack"), 2);
    cr_assert_eq(lab_get(s, &sets[0]), 10, "it was read just now");
    cr_assert_eq(lab_get(s, &sets[4]), 10);
    cr_assert_eq(lab_get(s, &sets[1]), 0);
    pt_store_tidy(s, 0);
    cr_assert_eq(lab_count(""), 2);
    cr_assert_eq(lab_get(s, &sets[4]), 0);
    pt_store_close(s);
    for (size_t i = 0; i < 5; i++)
        set_free(&sets[i]);
}

Test(sync_store, litter_is_swept_when_it_is_old)
{
    static const char *const names[] = {LAB_STORE "/0123456789abcdef.merge",
                                        LAB_STORE "/0123456789abcde0.idx",
                                        LAB_STORE "/0123456789abcde1.idx.Xy12ab", LAB_STORE "/.clock.abcdef"};
    struct pt_store *s = lab_store();
    for (size_t i = 0; i < PT_COUNT(names); i++)
        lab_spill(names[i], "x", 1);
    lab_spill(LAB_STORE "/keep", "x", 1);
    pt_store_tidy(s, UINT64_MAX);
    for (size_t i = 0; i < PT_COUNT(names); i++)
        cr_assert_eq(access(names[i], F_OK), 0, "%s", names[i]);
    for (size_t i = 0; i < PT_COUNT(names); i++)
        lab_age(names[i], 700);
    lab_age(LAB_STORE "/keep", 700);
    pt_store_tidy(s, UINT64_MAX);
    for (size_t i = 0; i < PT_COUNT(names); i++)
        cr_assert_neq(access(names[i], F_OK), 0, "%s", names[i]);
    cr_assert_eq(access(LAB_STORE "/keep", F_OK), 0);
    pt_store_close(s);
}
