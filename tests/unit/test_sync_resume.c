/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers that are cut short, by whatever: nothing half under a final name, and what arrived is not sent
 * again. */
#include "sync/sealed.h"
#include "sync/there/record.h"
#include "sync_lab.h"

TestSuite(sync_resume, .init = lab_open, .fini = lab_close);

#define FILES 60
#define SIZE  150000

/* Files that do not compress, so that the archive has about 9 MB however it travels. */
static void write_files(void)
{
    static unsigned char data[SIZE];
    for (int i = 0; i < FILES; i++) {
        char path[64];
        for (size_t k = 0; k < sizeof(data); k++)
            data[k] = (unsigned char)(random() >> 7);
        snprintf(path, sizeof(path), "here/d%d/f%d", i % 7, i);
        lab_write(path, data, sizeof(data));
    }
}

static void no_half_files(void)
{
    pt_auto_free char *there = lab_dump(LAB_TREE);
    pt_auto_free char *here = lab_dump("here");
    for (char *line = strtok(there, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, "100", 3) == 0)
            cr_assert_not_null(strstr(here, line), "half or wrong: %s", line);
}

struct cut {
    struct lab_host *host;
    uint64_t after; /* wire bytes */
    bool whole;     /* the receiver dies; else only the connection */
    bool done;
};

static void cut_now(void *arg, const struct pt_push *push)
{
    struct cut *c = arg;
    struct pt_push_figures f;
    pt_push_get_figures(push, &f);
    if (c->done || f.wire < c->after)
        return;
    c->done = true;
    if (c->whole)
        kill(c->host->pid, SIGKILL);
    else
        shutdown(c->host->fd, SHUT_WR);
}

/* Cut at many places; each attempt goes on where the last one ended. Gives the bytes that were sent in all.
 */
static uint64_t cut_often(bool whole)
{
    struct pt_manifest *m = lab_scan();
    uint64_t sum = 0;
    for (uint64_t after = 10000; after < FILES * SIZE / 4; after += 400000) {
        struct lab_host h;
        lab_start(&h);
        struct cut c = {.host = &h, .after = after, .whole = whole};
        struct lab_result r = lab_push_hooked(&h, m, cut_now, &c);
        if (r.state == PT_PUSH_DONE) {
            cr_assert_eq(lab_stop(&h), 0);
            break;
        }
        sum += r.sent;
        int status = lab_stop(&h);
        cr_assert_eq(status, whole ? 128 + SIGKILL : 1, "%d: %s", status, r.err.msg);
        no_half_files();
    }
    pt_manifest_destroy(m);
    struct lab_result r = lab_sync();
    sum += r.sent;
    cr_assert_lt(r.need, FILES, "what arrived before is not sent again");
    cr_assert_eq(lab_sync().sent, 0);
    return sum;
}

Test(sync_resume, killed_receiver, .timeout = 100)
{
    write_files();
    cut_often(true);
}

Test(sync_resume, connection_cut, .timeout = 100)
{
    write_files();
    uint64_t sum = cut_often(false);
    cr_assert_lt(sum, 2u * FILES * SIZE, "%llu", (unsigned long long)sum);
}

/* The connection ends within the archive at any byte: what came whole is known. */
Test(sync_resume, what_came_whole_is_not_asked_again)
{
    write_files();
    struct pt_manifest *m = lab_scan();
    struct lab_host h;
    lab_start(&h);
    struct cut c = {.host = &h, .after = FILES * SIZE / 2};
    struct lab_result r = lab_push_hooked(&h, m, cut_now, &c);
    cr_assert_neq(r.state, PT_PUSH_DONE);
    cr_assert_eq(lab_stop(&h), 1);
    pt_manifest_destroy(m);
    lab_run("rm -r cache/ws");
    r = lab_sync();
    cr_assert_geq(r.synced.files_reused, FILES / 2 - 8, "%llu", (unsigned long long)r.synced.files_reused);
    cr_assert_eq(r.synced.files_reused + r.files, FILES);
    cr_assert_eq(r.need, r.files);
}

/* Killed with a large file on its way: its chunks are in the store. */
Test(sync_resume, large_file_goes_on)
{
    size_t n = 20u << 20;
    unsigned char *data = malloc(n);
    for (size_t i = 0; i < n; i++)
        data[i] = (unsigned char)(random() >> 7);
    lab_write("here/big", data, n);
    free(data);
    struct pt_manifest *m = lab_scan();
    for (int i = 0; i < 2; i++) {
        struct lab_host h;
        lab_start(&h);
        struct cut c = {.host = &h, .after = 9u << 20, .whole = i == 0};
        cr_assert_neq(lab_push_hooked(&h, m, cut_now, &c).state, PT_PUSH_DONE);
        lab_stop(&h);
        cr_assert_neq(access(LAB_TREE "/big", F_OK), 0);
    }
    pt_manifest_destroy(m);
    struct lab_result r = lab_sync();
    cr_assert_lt(r.sent, n - (12u << 20), "%llu", (unsigned long long)r.sent);
    cr_assert_gt(r.synced.bytes_reused, 12u << 20);
    cr_assert_eq(r.synced.bytes_reused + r.bytes, n);
}

/* The power fails after a sync: what stat(2) says no longer proves anything. */
Test(sync_resume, another_boot_vouches_for_nothing)
{
    char boot[64] = "";
    struct pt_stamp stamp = {.ino = 7, .size = 1, .mtime_ns = 5, .ctime_ns = 6};
    struct pt_entry e = {.path = "a", .type = PT_ENTRY_FILE, .mode = 0644, .size = 1};
    struct pt_record r = {.manifest = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL), .stamps = &stamp};
    struct pt_buf b = {0};
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, boot, 8) != 8)
        cr_skip_test("no boot id");
    close(fd);
    cr_assert_eq(pt_manifest_add(r.manifest, &e, NULL), 0);
    cr_assert_eq(pt_manifest_seal(r.manifest, NULL), 0);
    cr_assert_eq(pt_record_save(&r, "record"), 0);
    pt_manifest_destroy(r.manifest);
    pt_record_load(&r, "record");
    cr_assert(pt_record_vouches(&r, 0, &stamp));
    pt_record_fini(&r);
    cr_assert_eq(pt_sealed_read("record", &b), 0);
    unsigned char *at = memmem(b.data, b.len, boot, 8);
    cr_assert_not_null(at);
    at[0] = at[0] == '0' ? '1' : '0';
    cr_assert_eq(pt_sealed_write("record", &b), 0);
    pt_record_load(&r, "record");
    cr_assert_not_null(r.manifest);
    cr_assert_not(pt_record_vouches(&r, 0, &stamp));
    pt_record_fini(&r);
    pt_buf_fini(&b);
}
