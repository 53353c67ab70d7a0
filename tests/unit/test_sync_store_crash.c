/* SPDX-License-Identifier: Apache-2.0 */
/* Writers that are killed, and several at work in one folder, as two machines with one home are. */
#include "store_lab.h"

#include <poll.h>
#include <signal.h>

TestSuite(sync_store_crash, .init = lab_open, .fini = lab_close);

/* Writes without end, a byte to fd for each segment; notes nothing before the end of an archive. */
static void write_for_ever(const struct lab_set *set, int fd)
{
    for (;;) {
        struct pt_store *s = pt_store_open("cache", PT_DIGEST_BLAKE2B, NULL);
        if (!s || pt_store_begin(s, NULL) < 0)
            _exit(2);
        for (size_t at = 0; at < set->tar.len; at += 3000) {
            size_t n = set->tar.len - at < 3000 ? set->tar.len - at : 3000;
            struct pt_segment g = {.data = set->tar.data + at, .size = (uint32_t)n, .raw = (uint32_t)n};
            if (pt_store_segment(s, &g, NULL) < 0 || write(fd, "", 1) != 1)
                _exit(2);
        }
        for (size_t i = 0; i < set->n; i++)
            pt_store_note(s, set->v[i].digest, set->v[i].at, set->v[i].size);
        if (pt_store_end(s, NULL) < 0)
            _exit(2);
        pt_store_close(s);
    }
}

/* Waits for so many bytes of a child. */
static void await(int fd, size_t n)
{
    char b[64];
    while (n > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        cr_assert_gt(poll(&p, 1, 60000), 0, "the writer says nothing");
        ssize_t got = read(fd, b, n < sizeof(b) ? n : sizeof(b));
        cr_assert_gt(got, 0, "the writer ended");
        n -= (size_t)got;
    }
}

/* Killed before it said whose it is; that takes its time to be removed. */
static bool is_unborn(const char *part)
{
    struct stat st;
    if (stat(part, &st) < 0 || st.st_size >= 32)
        return false;
    return unlink(part) == 0;
}

Test(sync_store_crash, a_writer_killed_at_any_moment)
{
    struct lab_set set = set_make(1, 20, 6000);
    size_t segments = (set.tar.len + 2999) / 3000;
    for (size_t round = 0; round < 40; round++) {
        int ends[2], status;
        size_t told = 1 + round * 7 % (segments + 6), whole = 0;
        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_for_ever(&set, ends[1]);
        close(ends[1]);
        await(ends[0], told);
        kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status));
        close(ends[0]);
        for (size_t i = 0; i < set.n; i++)
            whole += told >= segments || set.v[i].at + set.v[i].size <= told * 3000;
        struct pt_store *s = lab_store();
        cr_assert(lab_count(".part") == 0 || is_unborn(lab_find(".part")), "round %zu", round);
        cr_assert_geq(lab_get(s, &set), whole, "round %zu", round);
        lab_put(s, &set, 4096, 1);
        cr_assert_eq(lab_get(s, &set), set.n);
        pt_store_tidy(s, round % 2 ? UINT64_MAX : 0);
        cr_assert_eq(lab_get(s, &set), round % 2 ? set.n : 0);
        pt_store_close(s);
    }
    set_free(&set);
}

Test(sync_store_crash, a_part_that_is_written_is_left_alone)
{
    struct lab_set set = set_make(2, 20, 6000);
    struct pt_store *writer = lab_store();
    cr_assert_eq(pt_store_begin(writer, NULL), 0);
    lab_segments(writer, &set.tar, set.tar.len, 3000, 0);
    lab_age(lab_find(".part"), 7000);
    struct pt_store *other = lab_store();
    cr_assert_eq(lab_get(other, &set), 0);
    pt_store_tidy(other, 0);
    cr_assert_eq(lab_count(".part"), 1);
    for (size_t i = 0; i < set.n; i++)
        pt_store_note(writer, set.v[i].digest, set.v[i].at, set.v[i].size);
    cr_assert_eq(pt_store_end(writer, NULL), 0);
    cr_assert_eq(lab_get(writer, &set), set.n);
    pt_store_tidy(other, UINT64_MAX);
    cr_assert_eq(lab_get(other, &set), set.n);
    pt_store_close(writer);
    pt_store_close(other);
    set_free(&set);
}

/* Where locks are not seen by others, an old .part may be taken while its writer is only slow. */
Test(sync_store_crash, a_slow_writer_whose_part_was_taken)
{
    struct lab_set set = set_make(3, 20, 6000);
    struct pt_store *writer = lab_store();
    size_t half = set.v[9].at + set.v[9].size;
    cr_assert_eq(pt_store_begin(writer, NULL), 0);
    lab_segments(writer, &set.tar, half, 3000, 0);
    char part[512], pack[512];
    snprintf(part, sizeof(part), "%s", lab_find(".part"));
    snprintf(pack, sizeof(pack), "%s", part);
    strcpy(strstr(pack, ".part"), ".pack");
    cr_assert_eq(rename(part, pack), 0); /* what the other does, once it has written an index */
    for (size_t i = 0; i < 10; i++)
        pt_store_note(writer, set.v[i].digest, set.v[i].at, set.v[i].size);
    cr_assert_eq(pt_store_end(writer, NULL), 0);
    cr_assert_eq(lab_get(writer, &set), 10);
    pt_store_close(writer);
    struct pt_store *s = lab_store();
    cr_assert_eq(lab_get(s, &set), 10);
    pt_store_close(s);
    set_free(&set);
}

/* A child must not assert. */
static void expect(bool good, int status)
{
    if (!good)
        _exit(status);
}

static int check(void *arg, uint32_t number, const void *data, uint32_t size)
{
    const struct lab_blob *b = &((const struct lab_set *)arg)->v[number];
    expect(size == b->size && memcmp(data, b->data, size) == 0, 4);
    return 0;
}

static size_t get(struct pt_store *s, struct lab_set *set)
{
    struct pt_store_want w[8] = {0};
    size_t got = 0;
    for (size_t i = 0; i < 8; i++) {
        w[i] = (struct pt_store_want){.size = set->v[i].size, .number = (uint32_t)i};
        memcpy(w[i].digest, set->v[i].digest, PT_DIGEST);
    }
    expect(pt_store_read(s, w, 8, check, set, NULL) == 0, 5);
    for (size_t i = 0; i < 8; i++)
        got += !w[i].lost;
    return got;
}

static void put(struct pt_store *s, const struct lab_set *set, int level)
{
    struct pt_buf b = {0};
    expect(pt_segment_pack(set->tar.data, set->tar.len, level, &b, NULL) == 0, 6);
    struct pt_segment g = {
        .data = b.data, .size = (uint32_t)b.len, .raw = (uint32_t)set->tar.len, .packed = true};
    expect(pt_store_begin(s, NULL) == 0 && pt_store_segment(s, &g, NULL) == 0, 7);
    for (size_t i = 0; i < set->n; i++)
        pt_store_note(s, set->v[i].digest, set->v[i].at, set->v[i].size);
    expect(pt_store_end(s, NULL) == 0, 8);
    pt_buf_fini(&b);
}

/* Puts sets, tidies, and reads; whatever it is given must be right. Exits with 0 when that was so. */
static void work(struct lab_set *sets, size_t n, unsigned seed, uint64_t limit)
{
    for (unsigned i = 0; i < 40; i++) {
        struct pt_store *s = pt_store_open("cache", PT_DIGEST_BLAKE2B, NULL);
        struct lab_set *set = &sets[(i * 7 + seed * 3) % n];
        expect(s, 2);
        put(s, set, 1 + (int)i % 2);
        size_t got = get(s, set);
        expect(got == set->n || limit < UINT64_MAX, 3);
        if (i % 2 == seed % 2)
            pt_store_tidy(s, limit);
        get(s, &sets[i % n]);
        pt_store_close(s);
    }
    _exit(0);
}

static void together(uint64_t limit)
{
    struct lab_set sets[8];
    pid_t pids[3];
    for (size_t i = 0; i < PT_COUNT(sets); i++)
        sets[i] = set_make(i, 8, 3000);
    for (unsigned i = 0; i < PT_COUNT(pids); i++) {
        pids[i] = fork();
        cr_assert_geq(pids[i], 0);
        if (pids[i] == 0)
            work(sets, PT_COUNT(sets), i, limit);
    }
    for (size_t i = 0; i < PT_COUNT(pids); i++) {
        int status;
        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_assert_eq(status, 0, "process %zu: %d", i, status);
    }
    struct pt_store *s = lab_store();
    pt_store_tidy(s, UINT64_MAX);
    cr_assert_leq(lab_count(".pack"), 16);
    cr_assert_eq(lab_count(".pack"), lab_count(".idx"));
    cr_assert_eq(lab_count(".part") + lab_count(".merge"), 0);
    for (size_t i = 0; i < PT_COUNT(sets); i++) {
        if (limit == UINT64_MAX)
            cr_assert_eq(lab_get(s, &sets[i]), 8, "nothing is ever lost");
        else
            lab_get(s, &sets[i]);
        set_free(&sets[i]);
    }
    pt_store_close(s);
}

Test(sync_store_crash, several_write_and_merge_at_once, .timeout = 100)
{
    together(UINT64_MAX);
}

Test(sync_store_crash, several_write_and_evict_at_once, .timeout = 100)
{
    together(60000);
}
