/* SPDX-License-Identifier: Apache-2.0 */
/* Slots in a file without a name. */
#include "common/auto.h"
#include "sync/here/spill.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SLOT 1000
#define MANY 200

static char folder[] = "/tmp/ptremote-spill.XXXXXX";

static void open_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

/* It never had anything in it that has a name. */
static void close_folder(void)
{
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(sync_spill, .init = open_folder, .fini = close_folder);

static void check(const struct pt_spill *s, uint32_t slot, char c, size_t n)
{
    char got[SLOT];
    cr_assert_eq(pt_spill_get(s, slot, got, n), 0);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(got[i], c);
}

static uint32_t put(struct pt_spill *s, char c, size_t n)
{
    char data[SLOT];
    memset(data, c, n);
    return pt_spill_put(s, data, n);
}

Test(sync_spill, keeps_what_it_is_given)
{
    uint32_t slots[MANY];
    struct pt_spill *s = pt_spill_create(folder, SLOT);
    for (size_t i = 0; i < MANY; i++)
        slots[i] = put(s, (char)i, SLOT - i);
    for (size_t i = 0; i < MANY; i++)
        check(s, slots[i], (char)i, SLOT - i);
    for (size_t i = 0; i < MANY; i += 2)
        pt_spill_drop(s, slots[i]);
    for (size_t i = 0; i < MANY; i += 2) {
        slots[i] = put(s, (char)(i + 1), SLOT);
        cr_assert_lt(slots[i], MANY);
    }
    for (size_t i = 0; i < MANY; i++)
        check(s, slots[i], (char)(i + (i % 2 == 0)), i % 2 ? SLOT - i : SLOT);
    pt_spill_destroy(s);
    pt_spill_destroy(NULL);
}

/* The file is the process's only one in that folder. */
static long long size_of_file(void)
{
    struct stat st;
    for (int fd = 3; fd < 1000; fd++) {
        char link[64], target[256] = "";
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof(target) - 1) > 0 && strncmp(target, folder, strlen(folder)) == 0 &&
            fstat(fd, &st) == 0)
            return st.st_size;
    }
    return -1;
}

Test(sync_spill, gives_the_room_back)
{
    uint32_t slots[3];
    struct pt_spill *s = pt_spill_create(folder, SLOT);
    cr_assert_eq(size_of_file(), -1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            slots[i] = put(s, 'a', SLOT);
        cr_assert_eq(size_of_file(), 3 * SLOT);
        for (int i = 0; i < 3; i++)
            pt_spill_drop(s, slots[i]);
        cr_assert_eq(size_of_file(), 0);
    }
    pt_spill_drop(s, PT_SPILL_NONE);
    pt_spill_destroy(s);
    cr_assert_eq(size_of_file(), -1);
}

Test(sync_spill, a_full_disk_spoils_nothing)
{
    struct pt_spill *s = pt_spill_create(folder, SLOT);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){2 * SLOT + 1, RLIM_INFINITY}), 0);
    uint32_t one = put(s, '1', SLOT), two = put(s, '2', SLOT);
    cr_assert_eq(put(s, '3', SLOT), PT_SPILL_NONE);
    cr_assert_eq(errno, EFBIG);
    check(s, one, '1', SLOT);
    check(s, two, '2', SLOT);
    pt_spill_drop(s, one);
    check(s, put(s, '4', SLOT - 1), '4', SLOT - 1);
    pt_spill_destroy(s);
}

Test(sync_spill, no_such_folder)
{
    struct pt_spill *s = pt_spill_create("/nowhere/at/all", SLOT);
    cr_assert_eq(put(s, 'a', 1), PT_SPILL_NONE);
    cr_assert_eq(errno, ENOENT);
    pt_spill_destroy(s);
}
