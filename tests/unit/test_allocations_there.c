/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn in what agents and workers keep: a group of ranks, what is on its way to the
 * master, environments, words, the first words on a channel. */
#include "allocations.h"
#include "worker_group_lab.h"

#include "remote/boot.h"
#define find environ_find
#define put  environ_put
#include "remote/agent/environ.c"
#undef find
#undef put
#include "remote/worker/outbox.c"
#include "remote/worker/spool.c"

#include <unistd.h>

TestSuite(allocations_there, .timeout = 110);

/* --- a group of ranks --- */

/* Reports of two ranks; what could not be kept is refused, and comes again. */
static bool tell_one(struct pt_group *group, uint32_t test)
{
    struct pt_buf msg = {0}, out = {0};
    struct pt_ranks m;
    bool ok = true;
    for (uint32_t rank = 0; rank < 2; rank++) {
        uint32_t told;
        allocations_pause();
        pt_buf_clear(&msg);
        pt_tell_report(&msg, rank, &(struct pt_bundle){.bundle = 7, .attempt = 2}, test, PT_OUTCOME_PASSED,
                       "{}", 2);
        allocations_resume();
        int rc = pt_group_reported(group, rank, msg.data, msg.len, &told);
        if (rc < 0) {
            ok = false;
            allocations_pause();
            rc = pt_group_reported(group, rank, msg.data, msg.len, &told);
            allocations_resume();
        }
        cr_assert_eq(rc, rank == 1, "told when both have");
    }
    pt_group_tell(group, test, &out);
    ok = ok && !out.bad;
    if (!out.bad) {
        allocations_pause();
        struct pt_reader r = body_of(&out, PT_L_RANKS);
        pt_get_u64(&r);
        cr_assert(pt_ranks_decode(&r, &m, NULL) == 0 && m.words[0].n && m.words[1].n);
        pt_ranks_fini(&m);
        allocations_resume();
    }
    pt_buf_fini(&msg);
    pt_buf_fini(&out);
    return ok;
}

static bool fall_over(struct pt_group *group)
{
    static char text[] = "where it was";
    struct pt_buf msg = {0}, out = {0};
    struct pt_death death = {.rank = 0,
                             .bundle = 7,
                             .attempt = 2,
                             .test = 12,
                             .file = PT_NONE,
                             .path = text,
                             .stack = text,
                             .output = text,
                             .phase = PT_PHASE_CALL,
                             .cause = PT_CAUSE_DIED};
    allocations_pause();
    pt_death_encode(&death, 0, &msg);
    allocations_resume();
    bool ok = pt_group_died(group, 0, msg.data, msg.len) == 0;
    if (!ok) {
        allocations_pause();
        cr_assert_eq(pt_group_died(group, 0, msg.data, msg.len), 0);
        allocations_resume();
    }
    cr_assert_eq(pt_group_died(group, 1, NULL, 0), 0);
    cr_assert(pt_group_fallen(group));
    cr_assert_eq(pt_group_tell_fall(group, 0x0100, "mpirun said", &out), 1, "its test is told");
    ok = ok && !out.bad;
    pt_buf_fini(&msg);
    pt_buf_fini(&out);
    return ok;
}

static bool group(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_group g;
    struct pt_buf frame = {0};
    struct pt_bundle rest;
    (void)arg;
    bool ok = allocations_told(pt_group_init(&g, 5, 1, 2, &err), &err);
    for (uint32_t i = 0; ok && i < 2; i++) {
        cr_assert_eq(pt_group_join(&g, i), 0);
        pt_group_ready(&g, i);
    }
    if (ok) {
        allocations_pause();
        struct pt_bundle bundle = make_bundle(2);
        allocations_resume();
        ok = allocations_told(pt_group_take(&g, &bundle, true, &frame, &err), &err);
        cr_assert(ok ? g.state == PT_GROUP_BUSY && g.only == 10
                     : g.state == PT_GROUP_IDLE && g.only == PT_NONE);
    }
    if (ok) {
        ok = tell_one(&g, 10);
        ok = tell_one(&g, 11) && ok;
        ok = fall_over(&g) && ok;
        bool known = pt_group_rest(&g, &rest) == 0;
        cr_assert(!known || (rest.nfiles == 1 && rest.files[0].ntests == 2));
        if (known)
            pt_bundle_fini(&rest);
        ok = ok && known;
    }
    pt_buf_fini(&frame);
    pt_group_fini(&g);
    return ok;
}

Test(allocations_there, group)
{
    /* the words of a rank that died may be missing */
    allocations_check("group", group, NULL, ALLOCATIONS_BORNE, 40);
}

/* --- what is on its way --- */

/* Numbers are given to what is kept alone, and come out in order. */
static bool outbox(void *arg)
{
    struct pt_outbox box;
    struct pt_buf msg = {0};
    struct pt_err err = PT_ERR_INIT;
    const unsigned char *frame;
    size_t n;
    uint64_t kept = 0, said = 0;
    bool ok = true;
    (void)arg;
    pt_outbox_init(&box);
    allocations_pause();
    pt_tell_done(&msg, 3, 7, 1);
    allocations_resume();
    for (int i = 0; i < 30; i++) {
        bool added = pt_outbox_add(&box, msg.data, msg.len) == 0;
        kept += added;
        ok = ok && added;
        cr_assert_eq(box.last, kept);
    }
    while (pt_outbox_next(&box, &frame, &n, &err) == 1) {
        struct pt_reader r = {.p = frame + PT_FRAME_HEAD, .left = n - PT_FRAME_HEAD};
        cr_assert_eq(pt_get_u64(&r), ++said);
    }
    cr_assert_eq(said, kept);
    cr_assert(pt_outbox_ack(&box, kept) == 0 && pt_outbox_empty(&box));
    pt_buf_fini(&msg);
    pt_outbox_fini(&box);
    return ok;
}

Test(allocations_there, outbox)
{
    ALLOCATIONS_CHECK("outbox", outbox, 30);
}

/* --- environments and words --- */

static bool environment(void *arg)
{
    char path[] = "PATH=/nonexistent:/bin", other[] = "B=2";
    char *v[] = {path, other, NULL};
    struct pt_environ env = {0};
    char name[16];
    (void)arg;
    pt_environ_add(&env, v);
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof(name), "V%d", i);
        pt_environ_set(&env, name, "1");
    }
    pt_environ_set(&env, "A", "1");
    pt_environ_set(&env, "A", "22");
    pt_environ_unset(&env, "B");
    cr_assert(env.bad || (env.n == 82 && !strcmp(pt_environ_get(&env, "A"), "22")));
    for (size_t i = 0; i < env.n; i++)
        cr_assert(strchr(env.v[i], '='));
    cr_assert(!env.v || !env.v[env.n]);
    bool ok = !env.bad;
    if (ok) {
        char *sh = pt_environ_which(&env, "sh");
        cr_assert(sh ? !strcmp(sh, "/bin/sh") : errno == ENOMEM);
        ok = sh != NULL;
        free(sh);
    }
    pt_environ_fini(&env);
    return ok;
}

Test(allocations_there, environment)
{
    allocations_check("environ", environment, NULL, ALLOCATIONS_BORNE,
                      80); /* where a folder of PATH has it not */
}

/* --- the first words --- */

static bool boot(void *arg)
{
    static const char said[] = "noise\nPTREMOTE-BOOT need x86_64\nPTREMOTE-AGENT 1\nrest";
    static char program[4000];
    struct pt_boot_agent agent = {program, sizeof(program), "digest", "x86_64"};
    struct pt_buf out = {0}, rest = {0};
    struct pt_err err = PT_ERR_INIT;
    (void)arg;
    struct pt_boot *b = pt_boot_create(&agent, "/cache", &out, &err);
    bool ok = allocations_told(b ? 0 : -1, &err);
    int rc = 0;
    for (size_t i = 0; ok && rc == 0 && i < sizeof(said) - 1; i += 16) {
        size_t n = sizeof(said) - 1 - i;
        rc = pt_boot_feed(b, said + i, n < 16 ? n : 16, &out, &rest, &err);
        ok = allocations_told(rc, &err);
    }
    cr_assert(!ok || (rc == 1 && out.len > sizeof(program) && pt_boot_pushed(b)));
    pt_boot_destroy(b);
    pt_buf_fini(&out);
    pt_buf_fini(&rest);
    return ok;
}

Test(allocations_there, boot)
{
    ALLOCATIONS_CHECK("boot", boot, 5);
}
