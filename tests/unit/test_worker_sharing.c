/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that share the slots of a machine: real files and locks, several runs in one process, one of its own
 * that is killed. */
#include "remote/worker/fair.c"
#include "remote/worker/sharing.c"

#include "common/err.h"
#include "common/loop.h"
#include "orders.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000

struct user {
    struct pt_sharing *sharing;
    uint32_t n, need; /* asks for n more whenever it may, until it holds so many */
    uint32_t asked, had, told;
    char run[64], who[128];
    uint32_t held, slots;
};

static char folder[64];
static struct pt_loop *loop;

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/pt-sharing.XXXXXX");
    cr_assert(mkdtemp(folder));
    cr_assert((loop = pt_loop_create(NULL)));
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    pt_loop_destroy(loop);
    cr_assert_eq(system(command), 0);
    orders_show();
}

TestSuite(worker_sharing, .init = set_up, .fini = tear_down, .timeout = 100);

static bool ask(struct user *u, uint32_t n)
{
    uint32_t held = pt_sharing_held(u->sharing);
    const struct pt_sharing_wish wish = {n, u->need > held + n ? u->need : held + n};
    u->asked++;
    bool had = pt_sharing_take(u->sharing, n, 0, &wish);
    u->had += had;
    return had;
}

static void fill(struct user *u)
{
    while (pt_sharing_held(u->sharing) + u->n <= u->need && ask(u, u->n))
        ;
}

static void on_may_have(void *arg)
{
    fill(arg);
}

static void on_waits(void *arg, const char *run, const char *who, uint32_t held, uint32_t slots)
{
    struct user *u = arg;
    u->told++;
    snprintf(u->run, sizeof(u->run), "%s", run);
    snprintf(u->who, sizeof(u->who), "%s", who);
    u->held = held;
    u->slots = slots;
}

static void enter(struct user *u, const char *run, uint32_t host, uint32_t slots)
{
    static const struct pt_sharing_callbacks callbacks = {on_may_have, on_waits};
    const struct pt_sharing_config config = {folder, run, "ann@laptop", host, slots};
    struct pt_err err = PT_ERR_INIT;
    *u = (struct user){.n = 1};
    u->sharing = pt_sharing_create(loop, &config, &callbacks, u, &err);
    cr_assert(u->sharing, "%s", err.msg);
}

static uint32_t held(const struct user *u)
{
    return pt_sharing_held(u->sharing);
}

static void pump_until(const struct user *u, uint32_t n)
{
    for (int64_t end = pt_now_ms() + PATIENCE_MS; held(u) != n;) {
        cr_assert_lt(pt_now_ms(), end, "it has %u slots, not %u", held(u), n);
        cr_assert_geq(pt_loop_step(loop, 100), 0);
    }
}

/* Slots that are locked, and files that there are. */
static void count(uint32_t *locked, uint32_t *slots, uint32_t *runs)
{
    DIR *dir = opendir(folder);
    *locked = *slots = *runs = 0;
    cr_assert(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        int fd = openat(dirfd(dir), e->d_name, O_RDONLY);
        if (strncmp(e->d_name, "slot.", 5) == 0) {
            ++*slots;
            *locked += flock(fd, LOCK_SH | LOCK_NB) < 0;
        }
        *runs += strncmp(e->d_name, "run.", 4) == 0;
        close(fd);
    }
    closedir(dir);
}

static uint32_t count_locked(void)
{
    uint32_t locked, slots, runs;
    count(&locked, &slots, &runs);
    return locked;
}

Test(worker_sharing, alone_it_has_all_at_once)
{
    struct user a;
    enter(&a, "a", 0, 4);
    a.need = 4;
    fill(&a);
    cr_expect_eq(held(&a), 4);
    cr_expect_eq(count_locked(), 4);
    pt_sharing_keep(a.sharing, 1);
    cr_expect_eq(count_locked(), 1);
    cr_expect(ask(&a, 3));
    pt_sharing_destroy(a.sharing);
    cr_expect_eq(count_locked(), 0);
}

Test(worker_sharing, two_have_half_each)
{
    struct user a, b;
    enter(&a, "a", 0, 4);
    enter(&b, "b", 0, 4);
    a.need = b.need = 4;
    fill(&a);
    fill(&b);
    cr_expect(held(&a) == 4 && held(&b) == 0);
    for (uint32_t n = 4; n-- > 2;) { /* bundles end, and it would take the next at once */
        pt_sharing_keep(a.sharing, n);
        cr_expect_not(ask(&a, 1));
    }
    pump_until(&b, 2);
    cr_expect_eq(held(&a), 2);
    cr_expect_eq(count_locked(), 4);
    pt_sharing_destroy(b.sharing);
    pump_until(&a, 4);
    pt_sharing_destroy(a.sharing);
}

Test(worker_sharing, says_whom_it_waits_for_once)
{
    struct user a, b;
    enter(&a, "20261122-one", 0, 4);
    enter(&b, "b", 0, 4);
    a.need = 4;
    b.need = 2;
    fill(&a);
    fill(&b);
    for (int64_t end = pt_now_ms() + PATIENCE_MS; !b.told;) {
        cr_assert_lt(pt_now_ms(), end, "it did not say it");
        pt_loop_step(loop, 100);
    }
    cr_expect_str_eq(b.run, "20261122-one");
    cr_expect_str_eq(b.who, "ann@laptop");
    cr_expect(b.held == 4 && b.slots == 4);
    for (uint32_t before = b.asked; b.asked < before + 10;)
        pt_loop_step(loop, 100);
    cr_expect(b.told == 1 && a.told == 0);
    pt_sharing_destroy(a.sharing);
    pump_until(&b, 2);
    pt_sharing_destroy(b.sharing);
}

Test(worker_sharing, the_larger_number_is_the_bound)
{
    struct user small, large;
    enter(&small, "small", 0, 2);
    enter(&large, "large", 0, 6);
    small.need = 2;
    large.need = 6;
    fill(&large);
    fill(&small);
    cr_expect_eq(held(&small), 0);
    for (uint32_t n = 6; n-- > 4;) {
        pt_sharing_keep(large.sharing, n);
        ask(&large, 1);
    }
    pump_until(&small, 2);
    cr_expect_eq(held(&large), 4, "it gave those that the small one can use");
    cr_expect_eq(count_locked(), 6);
    pt_sharing_destroy(large.sharing);
    pt_sharing_destroy(small.sharing);
}

Test(worker_sharing, two_that_need_all_take_turns)
{
    struct user a, b;
    enter(&a, "a", 0, 3);
    enter(&b, "b", 0, 3);
    a.n = b.n = a.need = b.need = 3;
    fill(&a);
    fill(&b);
    cr_expect(held(&a) == 3 && held(&b) == 0);
    for (int i = 0; i < 4; i++) {
        struct user *now = i % 2 ? &b : &a, *next = i % 2 ? &a : &b;
        pt_sharing_keep(now->sharing, 0);
        cr_expect_not(ask(now, 3), "it stands behind the other now");
        pump_until(next, 3);
        cr_expect_eq(held(now), 0);
    }
    pt_sharing_destroy(a.sharing);
    pt_sharing_destroy(b.sharing);
}

Test(worker_sharing, all_beside_many_single_ones)
{
    struct user a, b;
    enter(&a, "a", 0, 4);
    enter(&b, "b", 0, 4);
    a.need = b.need = b.n = 4;
    fill(&a);
    fill(&b);
    for (uint32_t n = 4; n-- > 0;) {
        pt_sharing_keep(a.sharing, n);
        cr_expect_not(ask(&a, 1), "slots are kept for the other");
    }
    pump_until(&b, 4);
    pt_sharing_keep(b.sharing, 0);
    cr_expect_not(ask(&b, 4));
    pump_until(&a, 4);
    for (uint32_t n = 4; n-- > 0;) {
        pt_sharing_keep(a.sharing, n);
        cr_expect_not(ask(&a, 1), "it had its turn");
    }
    pump_until(&b, 4);
    pt_sharing_destroy(a.sharing);
    pt_sharing_destroy(b.sharing);
}

Test(worker_sharing, spare_is_left)
{
    struct user a;
    enter(&a, "a", 0, 4);
    const struct pt_sharing_wish wish = {3, 4};
    cr_expect(pt_sharing_take(a.sharing, 1, 3, &wish));
    cr_expect_not(pt_sharing_take(a.sharing, 1, 3, &wish));
    cr_expect(pt_sharing_take(a.sharing, 3, 0, &wish));
    pt_sharing_destroy(a.sharing);
}

Test(worker_sharing, hosts_of_one_run_that_are_one_machine)
{
    struct user one, two, other;
    enter(&one, "a", 0, 2);
    enter(&two, "a", 1, 3);
    one.need = 2;
    two.need = 3;
    fill(&one);
    fill(&two);
    cr_expect(held(&one) == 2 && held(&two) == 3, "its user asked for five");
    enter(&other, "b", 0, 2);
    other.need = 2;
    fill(&other);
    cr_expect_eq(held(&other), 0);
    cr_expect_eq(count_locked(), 5);
    pt_sharing_destroy(one.sharing);
    pump_until(&other, 2);
    cr_expect_eq(held(&two), 3);
    pt_sharing_destroy(two.sharing);
    pt_sharing_destroy(other.sharing);
}

/* Of a host that was lost and is back, what was stopped holds its locks until somebody ends it. */
Test(worker_sharing, nobody_waits_for_what_its_host_was_before)
{
    struct user before, after, third;
    enter(&before, "run", 1, 2);
    before.need = 2;
    fill(&before);
    cr_expect_eq(held(&before), 2);
    enter(&after, "run", 1, 2);
    after.need = 2;
    fill(&after);
    cr_expect_eq(held(&after), 2, "it has slots of its own");
    pt_sharing_destroy(before.sharing);
    pt_sharing_keep(after.sharing, 0);
    fill(&after);
    cr_expect_eq(held(&after), 2);
    enter(&third, "other", 0, 2);
    third.need = 1;
    fill(&third);
    cr_expect_eq(held(&third), 0, "they are those that all share again");
    pt_sharing_destroy(after.sharing);
    pump_until(&third, 1);
    pt_sharing_destroy(third.sharing);
}

Test(worker_sharing, one_that_is_killed_has_none)
{
    struct user a;
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct user b;
        enter(&b, "b", 0, 2);
        b.need = 2;
        fill(&b);
        _exit(held(&b) == 2 && write(ready[1], "", 1) == 1 ? pause() : 1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    enter(&a, "a", 0, 2);
    a.need = 2;
    fill(&a);
    cr_expect_eq(held(&a), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    pump_until(&a, 2);
    uint32_t locked, slots, runs;
    count(&locked, &slots, &runs);
    cr_expect_eq(runs, 1, "what it left is gone");
    pt_sharing_destroy(a.sharing);
    close(ready[0]);
    close(ready[1]);
}

Test(worker_sharing, files_are_not_believed)
{
    struct user a;
    char path[128], junk[400];
    memset(junk, 0xff, sizeof(junk));
    static const size_t sizes[] = {0, 10, sizeof(junk)};
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/run.junk%zu", folder, i);
        fds[i] = open(path, O_RDWR | O_CREAT, 0600);
        cr_assert_eq(flock(fds[i], LOCK_EX | LOCK_NB), 0);
        cr_assert_eq(write(fds[i], junk, sizes[i]), (ssize_t)sizes[i]);
    }
    snprintf(path, sizeof(path), "%s/run.fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    enter(&a, "a", 0, 2);
    a.need = 2;
    fill(&a);
    cr_expect_eq(held(&a), 2);
    pt_sharing_destroy(a.sharing);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
}

Test(worker_sharing, files_that_are_removed_meanwhile)
{
    struct user a, b;
    char command[128];
    enter(&a, "a", 0, 2);
    a.need = 2;
    fill(&a);
    pt_sharing_keep(a.sharing, 0);
    snprintf(command, sizeof(command), "rm %s/slot.*", folder);
    cr_assert_eq(system(command), 0);
    enter(&b, "b", 0, 2);
    b.need = 2;
    fill(&b);
    cr_expect_eq(held(&b), 2);
    fill(&a);
    cr_expect_eq(held(&a), 0, "what it had open is no slot any more");
    pt_sharing_destroy(b.sharing);
    pump_until(&a, 2);
    pt_sharing_destroy(a.sharing);
}

Test(worker_sharing, folder_of_somebody_else)
{
    struct pt_err err = PT_ERR_INIT;
    const struct pt_sharing_callbacks callbacks = {on_may_have, on_waits};
    struct pt_sharing_config config = {folder, "a", "ann@laptop", 0, 2};
    cr_assert_eq(chmod(folder, 0755), 0);
    cr_expect_null(pt_sharing_create(loop, &config, &callbacks, NULL, &err));
    cr_expect(strstr(err.msg, "is not this user's alone"), "%s", err.msg);
    config.folder = "/nowhere/at/all";
    cr_expect_null(pt_sharing_create(loop, &config, &callbacks, NULL, &err));
    chmod(folder, 0700);
}

/* --- orders --- */

#define DEPTH 5

/* What a run may do: come with so many slots, take one, let one go, and leave. */
static void act(struct user *u, uint32_t number)
{
    static const uint32_t slots[] = {2, 3};
    if (!u->sharing) {
        enter(u, number ? "r2" : "r1", 0, slots[number]);
        u->need = slots[number];
        return;
    }
    uint32_t what = choose(3);
    if (what == 0) {
        ask(u, 1);
    } else if (what == 1) {
        pt_sharing_destroy(u->sharing);
        u->sharing = NULL;
    } else {
        pt_sharing_keep(u->sharing, held(u) ? held(u) - 1 : 0);
    }
}

Test(worker_sharing, in_no_order_has_a_slot_two_holders)
{
    uint32_t locked, slots, files;
    orders_begin(2 * DEPTH);
    do {
        struct user users[2] = {0};
        for (uint32_t i = 0; i < DEPTH; i++) {
            uint32_t number = choose(2), sum = 0, runs = 0;
            act(&users[number], number);
            for (uint32_t k = 0; k < 2; k++) {
                sum += users[k].sharing ? held(&users[k]) : 0;
                runs += users[k].sharing != NULL;
            }
            count(&locked, &slots, &files);
            cr_assert(locked == sum && sum <= 3 && files == runs, "%u of %u slots are held by %u runs",
                      locked, sum, files);
        }
        for (uint32_t k = 0; k < 2; k++)
            pt_sharing_destroy(users[k].sharing);
    } while (orders_next());
    cr_assert_eq(orders.n, 672);
}
