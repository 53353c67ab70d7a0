/* SPDX-License-Identifier: Apache-2.0 */
/* Every structured message: what is encoded comes back, every truncation and every surplus byte is refused,
 * random changes never do harm, nor does memory that ends. */
#include "decode_lab.h"

#include "src/common/message.c"
#include "src/common/wire.c"

DECODER(setup)
DECODER(ready)
DECODER(attach)
DECODER(launch)
DECODER(waits)
DECODER(bundle)
DECODER(death)
DECODER(steal)

static int limits_once(struct pt_reader *r, struct pt_err *err)
{
    struct pt_limits m;
    return pt_limits_decode(r, &m, err);
}

static struct pt_env env[] = {{(char *)"A", (char *)"1"}, {(char *)"EMPTY", (char *)""}};

static const struct pt_setup setup = {.protocol = PT_PROTOCOL,
                                      .run = (char *)"20261121-1",
                                      .host = 2,
                                      .slots = 8,
                                      .project = (char *)"proj",
                                      .cwd = (char *)"sub/dir",
                                      .python = (char *)"python3",
                                      .mpirun = (char *)"",
                                      .init = (char *)"module load x",
                                      .hash_seed = (char *)"123",
                                      .silence_ms = 9000,
                                      .linger_ms = 60000,
                                      .flags = PT_SETUP_SYNC_ONLY,
                                      .shared = (char *)"/net/proj",
                                      .proof = (char *)".ptremote/shared-1",
                                      .secret = (char *)"abc",
                                      .preload = (char *)"numpy,yaml",
                                      .env = env,
                                      .nenv = 2};

Test(message, setup)
{
    struct pt_buf b = {0};
    struct pt_setup got;
    pt_setup_encode(&setup, &b);
    struct pt_reader r = body_of(&b, PT_C_SETUP, 0);
    cr_assert_eq(pt_setup_decode(&r, &got, NULL), 0);
    cr_expect_str_eq(got.run, setup.run);
    cr_expect_str_eq(got.cwd, setup.cwd);
    cr_expect_str_eq(got.init, setup.init);
    cr_expect_str_eq(got.hash_seed, setup.hash_seed);
    cr_expect_eq(got.slots, 8);
    cr_expect_eq(got.silence_ms, 9000);
    cr_expect_eq(got.linger_ms, 60000);
    cr_expect_eq(got.flags, PT_SETUP_SYNC_ONLY);
    cr_expect_str_eq(got.shared, setup.shared);
    cr_expect_str_eq(got.proof, setup.proof);
    cr_expect_str_eq(got.secret, setup.secret);
    cr_expect_str_eq(got.preload, setup.preload);
    cr_assert_eq(got.nenv, 2);
    cr_expect_str_eq(got.env[1].name, "EMPTY");
    cr_expect_str_eq(got.env[1].value, "");
    pt_setup_fini(&got);
    check(setup_once, &b, PT_C_SETUP, 0);
}

Test(message, setup_with_a_flag_that_is_none)
{
    struct pt_setup odd = setup;
    struct pt_buf b = {0};
    odd.flags = PT_SETUP_FLAGS + 1;
    pt_setup_encode(&odd, &b);
    struct pt_reader r = body_of(&b, PT_C_SETUP, 0);
    cr_expect_eq(decode_copy(setup_once, r.p, r.left, NULL), -1);
    pt_buf_fini(&b);
}

/* Another protocol is told by name, whatever the rest of its message looks like. */
Test(message, setup_of_another_protocol)
{
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_put_u32(&b, 77);
    pt_put_u8(&b, 9);
    cr_expect_eq(decode_copy(setup_once, b.data, b.len, &err), -1);
    cr_expect_not_null(strstr(err.msg, "the master speaks protocol 77, this agent "), "%s", err.msg);
    pt_buf_fini(&b);
}

Test(message, ready)
{
    const struct pt_ready ready = {.protocol = PT_PROTOCOL,
                                   .machine = (char *)"x86_64",
                                   .cores = 64,
                                   .memory = 1ull << 40,
                                   .machine_id = (char *)"h1-abc",
                                   .cache = (char *)"/c",
                                   .workspace = (char *)"/c/w",
                                   .dir = (char *)"/run/x"};
    struct pt_buf b = {0};
    struct pt_ready got;
    pt_ready_encode(&ready, &b);
    struct pt_reader r = body_of(&b, PT_C_READY, 0);
    cr_assert_eq(pt_ready_decode(&r, &got, NULL), 0);
    cr_expect_eq(got.memory, 1ull << 40);
    cr_expect_str_eq(got.machine, "x86_64");
    cr_expect_str_eq(got.workspace, "/c/w");
    cr_expect_str_eq(got.dir, "/run/x");
    pt_ready_fini(&got);
    check(ready_once, &b, PT_C_READY, 0);
}

Test(message, attach)
{
    const struct pt_attach attach = {
        .protocol = PT_PROTOCOL, .run = (char *)"20261121-1", .host = 3, .dir = (char *)"/run/x"};
    struct pt_buf b = {0};
    struct pt_attach got;
    pt_attach_encode(&attach, &b);
    struct pt_reader r = body_of(&b, PT_C_ATTACH, 0);
    cr_assert_eq(pt_attach_decode(&r, &got, NULL), 0);
    cr_expect_str_eq(got.run, "20261121-1");
    cr_expect_eq(got.host, 3);
    cr_expect_str_eq(got.dir, "/run/x");
    pt_attach_fini(&got);
    check(attach_once, &b, PT_C_ATTACH, 0);
}

Test(message, launch)
{
    const struct pt_launch launch = {.launch = 2,
                                     .slots = 4,
                                     .cert = (char *)"CERT",
                                     .key = (char *)"KEY",
                                     .ca = (char *)"CA",
                                     .address = (char *)"10.0.0.1:99",
                                     .share = (char *)"ann@laptop"};
    struct pt_buf b = {0};
    struct pt_launch got;
    pt_launch_encode(&launch, PT_C_LAUNCH, &b);
    struct pt_reader r = body_of(&b, PT_C_LAUNCH, 0);
    cr_assert_eq(pt_launch_decode(&r, &got, NULL), 0);
    cr_expect_str_eq(got.key, "KEY");
    cr_expect_str_eq(got.address, "10.0.0.1:99");
    cr_expect_str_eq(got.share, "ann@laptop");
    pt_launch_fini(&got);
    check(launch_once, &b, PT_C_LAUNCH, 0);
}

Test(message, waits)
{
    const struct pt_waits waits = {
        .run = (char *)"20261121-1", .who = (char *)"ann@laptop", .held = 3, .slots = 8};
    struct pt_buf b = {0};
    struct pt_waits got;
    pt_waits_encode(&waits, &b);
    struct pt_reader r = body_of(&b, PT_L_WAITS, 0);
    cr_assert_eq(pt_waits_decode(&r, &got, NULL), 0);
    cr_expect_str_eq(got.run, "20261121-1");
    cr_expect_str_eq(got.who, "ann@laptop");
    cr_expect(got.held == 3 && got.slots == 8);
    pt_waits_fini(&got);
    check(waits_once, &b, PT_L_WAITS, 0);
}

Test(message, bundle)
{
    struct pt_bundle_test tests[] = {{.test = 1, .occurrence = 0, .nodeid = (char *)"a.py::t[x]"},
                                     {.test = 2, .occurrence = 1, .nodeid = (char *)"a.py::t[x]"}};
    struct pt_bundle_file files[] = {{.path = (char *)"a.py", .tests = tests, .ntests = 2},
                                     {.path = (char *)"b.py", .tests = NULL, .ntests = 0}};
    const struct pt_bundle bundle = {.bundle = 5,
                                     .attempt = 1,
                                     .timeout_ms = 100,
                                     .rank = 3,
                                     .ranks = 4,
                                     .flags = PT_BUNDLE_NUMA,
                                     .files = files,
                                     .nfiles = 2};
    struct pt_buf b = {0};
    struct pt_bundle got;
    pt_bundle_encode(&bundle, PT_L_BUNDLE, &b);
    struct pt_reader r = body_of(&b, PT_L_BUNDLE, 0);
    cr_assert_eq(pt_bundle_decode(&r, &got, NULL), 0);
    cr_assert_eq(got.nfiles, 2);
    cr_expect(got.rank == 3 && got.ranks == 4 && got.flags == PT_BUNDLE_NUMA);
    cr_assert_eq(got.files[0].ntests, 2);
    cr_expect_eq(got.files[0].tests[1].occurrence, 1);
    cr_expect_str_eq(got.files[0].tests[1].nodeid, "a.py::t[x]");
    cr_expect_eq(got.files[1].ntests, 0);
    pt_bundle_fini(&got);
    check(bundle_once, &b, PT_L_BUNDLE, 0);
}

/* Unsaid is one rank; none, or more than there can be, is refused, as is a flag that is none. */
Test(message, bundle_of_ranks)
{
    static const uint32_t ranks[] = {0, 1, PT_RANKS_MAX, PT_RANKS_MAX + 1, PT_NONE};
    static const uint32_t want[] = {1, 1, PT_RANKS_MAX, 0, 0};
    for (size_t i = 0; i < 5; i++) {
        for (uint32_t flags = 0; flags <= PT_BUNDLE_FLAGS + 1; flags++) {
            const struct pt_bundle bundle = {.ranks = ranks[i], .flags = flags};
            struct pt_buf b = {0};
            struct pt_bundle got;
            pt_bundle_encode(&bundle, PT_R_BUNDLE, &b);
            struct pt_reader r = body_of(&b, PT_R_BUNDLE, 0);
            bool ok = want[i] && flags <= PT_BUNDLE_FLAGS;
            cr_expect_eq(pt_bundle_decode(&r, &got, NULL), ok ? 0 : -1, "%u ranks, flags %u", ranks[i],
                         flags);
            cr_expect(!ok || (got.ranks == want[i] && got.flags == flags));
            if (ok)
                pt_bundle_fini(&got);
            pt_buf_fini(&b);
        }
    }
    struct pt_buf none = {0};
    for (int i = 0; i < 7; i++)
        pt_put_u32(&none, 0);
    cr_expect_eq(decode_copy(bundle_once, none.data, none.len, NULL), -1, "no ranks");
    pt_buf_fini(&none);
}

Test(message, death)
{
    const struct pt_death death = {.rank = 1,
                                   .bundle = 2,
                                   .attempt = 3,
                                   .test = PT_NONE,
                                   .file = 0,
                                   .path = (char *)"a.py",
                                   .phase = 1,
                                   .cause = PT_CAUSE_DIED,
                                   .status = 139,
                                   .duration_us = 12345678901ull,
                                   .began_us = 1700000000000001ull,
                                   .lasted_us = 12345678902ull,
                                   .stack = (char *)"stack",
                                   .output = (char *)"out"};
    struct pt_buf b = {0};
    struct pt_death got;
    pt_death_encode(&death, 42, &b);
    struct pt_reader r = body_of(&b, PT_L_DEATH, 0);
    cr_expect_eq(pt_get_u64(&r), 42);
    cr_assert_eq(pt_death_decode(&r, &got, NULL), 0);
    cr_expect_eq(got.test, PT_NONE);
    cr_expect_eq(got.duration_us, 12345678901ull);
    cr_expect(got.began_us == 1700000000000001ull && got.lasted_us == 12345678902ull);
    cr_expect_str_eq(got.stack, "stack");
    pt_death_fini(&got);
    check(death_once, &b, PT_L_DEATH, 8);
}

Test(message, death_of_a_cause_that_is_none)
{
    for (unsigned cause = 0; cause <= 255; cause++) {
        struct pt_death odd = {.cause = (uint8_t)cause};
        struct pt_buf b = {0};
        pt_death_encode(&odd, 1, &b);
        struct pt_reader r = body_of(&b, PT_L_DEATH, 8);
        bool known = cause >= PT_CAUSE_DIED && cause <= PT_CAUSE_FALL;
        cr_expect_eq(decode_copy(death_once, r.p, r.left, NULL), known ? 0 : -1, "cause %u", cause);
        pt_buf_fini(&b);
    }
}

Test(message, limits)
{
    const struct pt_limits limits = {.runners = 3,
                                     .memory = 5ull << 32,
                                     .output_ms = 7,
                                     .grace_ms = 9,
                                     .mpi_grace_ms = 3000,
                                     .fresh = PT_FRESH_TEST};
    struct pt_buf b = {0};
    struct pt_limits got;
    pt_limits_encode(&limits, &b);
    struct pt_reader r = body_of(&b, PT_L_LIMITS, 0);
    cr_assert_eq(pt_limits_decode(&r, &got, NULL), 0);
    cr_expect(got.runners == 3 && got.memory == 5ull << 32 && got.output_ms == 7 && got.grace_ms == 9);
    cr_expect(got.mpi_grace_ms == 3000 && got.fresh == PT_FRESH_TEST);
    struct pt_buf odd = {0};
    pt_limits_encode(&(struct pt_limits){.fresh = PT_FRESH_TEST + 1}, &odd);
    r = body_of(&odd, PT_L_LIMITS, 0);
    cr_expect_eq(decode_copy(limits_once, r.p, r.left, NULL), -1);
    pt_buf_fini(&odd);
    r = body_of(&b, PT_L_LIMITS, 0);
    refuse_all_but_the_whole(limits_once, r.p, r.left);
    change_at_random(limits_once, r.p, r.left);
    pt_buf_fini(&b);
}

Test(message, steal)
{
    uint32_t tests[] = {7, 8, 0xfffffffeu};
    const struct pt_steal steal = {.bundle = 4, .tests = tests, .n = 3};
    struct pt_buf b = {0};
    struct pt_steal got;
    pt_steal_encode(&steal, PT_L_STEAL, &b);
    struct pt_reader r = body_of(&b, PT_L_STEAL, 0);
    cr_assert_eq(pt_steal_decode(&r, &got, NULL), 0);
    cr_expect(got.bundle == 4 && got.n == 3 && got.tests[0] == 7 && got.tests[2] == 0xfffffffeu);
    pt_steal_fini(&got);
    check(steal_once, &b, PT_L_STEAL, 0);
}

/* A count that the bytes cannot hold must not make us allocate for it. */
Test(message, counts_that_lie)
{
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_put_u32(&b, 1);
    pt_put_u32(&b, 1);
    pt_put_u32(&b, 0);
    pt_put_u32(&b, 0xfffffff0u);
    cr_expect_eq(decode_copy(bundle_once, b.data, b.len, &err), -1);
    pt_buf_fini(&b);
}

Test(message, names)
{
    for (unsigned i = 0; i < PT_OUTCOMES; i++)
        cr_expect_str_neq(pt_outcome_name(i), "?");
    cr_expect_str_eq(pt_outcome_name(PT_OUTCOME_CRASHED), "crashed");
    cr_expect_str_eq(pt_outcome_name(PT_OUTCOMES), "?");
    cr_expect_str_eq(pt_phase_name(0), "collect");
    cr_expect_str_eq(pt_phase_name(99), "?");
}
