/* SPDX-License-Identifier: Apache-2.0 */
/* What a group of ranks that ended is told by. */
#include "ranks_lab.h"

static void fallen(const struct pt_fall *m, const struct pt_ranks_of *of, struct pt_report *r)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    cr_assert_eq(pt_ranks_fall_report(m, of, &b, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_report_decode(b.data, b.len, r, &err), 0, "%s", err.msg);
    cr_assert_eq(r->ranks, m->of);
    pt_buf_fini(&b);
}

#define STACK(address)                                                                                       \
    (char *)"Current thread 0x00007f" address " (most recent call first):\n  File \"a.py\"\n"

Test(ranks_fall, a_crash_names_rank_signal_and_phase)
{
    struct words w = {0};
    struct pt_report r;
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL, .cause = PT_CAUSE_FALL, .stack = STACK("01")});
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL,
                                      .status = 11,
                                      .duration_us = 2500000,
                                      .stack = (char *)"Fatal Python error",
                                      .output = (char *)"last words"});
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL, .cause = PT_CAUSE_FALL, .stack = STACK("ff")});
    words_none(&w);
    struct pt_fall m = fall_of(&w, PT_CAUSE_DIED, PT_PHASE_CALL, 1);
    fallen(&m, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_CRASHED && r.phase == PT_PHASE_CALL && r.duration == 2.5);
    cr_expect_str_eq(r.message, "rank 1 of 4: killed by signal 11 (SIGSEGV) in call");
    cr_expect(r.ncounts == 1 && count_of(&r, "crashed") == 1);
    cr_assert_eq(r.nproblems, 1);
    cr_expect_str_eq(r.problems[0].headline, "TestA.test_x[3]");
    cr_expect_str_eq(r.problems[0].longrepr,
                     "rank 1 of 4: killed by signal 11 (SIGSEGV) in call\n\n" BAR " On rank 1 of 4 " BAR
                     "\nFatal Python error\n\nrank 3 of 4 said nothing more\n\n"
                     "ranks 0, 2 of 4 were in their call when the ranks were ended:\n\n"
                     "Current thread 0x00007f01 (most recent call first):\n  File \"a.py\"\n");
    cr_assert_eq(pt_json_count(r.problems[0].sections), 1);
    cr_expect_str_eq(text_at(r.problems[0].sections, 0, 0), "Last output on rank 1 of 4");
    cr_expect_not_null(strstr(r.longrepr, "\nLast output on rank 1 of 4:\nlast words"));
    char words[200];
    pt_ranks_fall_words(&m, words, sizeof(words));
    cr_expect_str_eq(words, "rank 1 of 4: killed by signal 11 (SIGSEGV)");
    pt_report_fini(&r);
    words_fini(&w);
}

Test(ranks_fall, a_deadlock_shows_who_failed_and_who_waited)
{
    struct words w = {0};
    struct pt_report r;
    words_death(&w,
                (struct pt_death){
                    .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DEADLOCK, .status = 9, .stack = STACK("01")});
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("boom", "1"));
    words_death(&w,
                (struct pt_death){
                    .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DEADLOCK, .status = 9, .stack = STACK("02")});
    words_report(&w, PT_OUTCOME_PASSED, PASSED ",\"stdout\":\"fine\"}");
    struct pt_fall m = fall_of(&w, PT_CAUSE_DEADLOCK, PT_PHASE_CALL, 1);
    fallen(&m, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_FAILED && count_of(&r, "failed") == 1);
    cr_expect_str_eq(r.message, "rank 1 of 4: boom; others were still in call 3 s later");
    cr_expect_str_eq(r.problems[0].category, "failed");
    cr_expect_str_eq(r.problems[0].longrepr,
                     BAR " On rank 1 of 4 " BAR "\ndef x\nE  boom\n\n"
                         "ranks 0, 2 of 4 were still in their call 3 s after rank 1 had failed:\n\n"
                         "Current thread 0x00007f01 (most recent call first):\n  File \"a.py\"\n");
    cr_assert_eq(pt_json_count(r.problems[0].sections), 2);
    cr_expect_str_eq(text_at(r.problems[0].sections, 0, 0), "Captured stdout on rank 1 of 4");
    cr_expect_str_eq(text_at(r.problems[0].sections, 1, 1), "fine");
    pt_report_fini(&r);
    words_fini(&w);
}

Test(ranks_fall, a_deadlock_in_set_up_is_an_error)
{
    struct words w = {0};
    struct pt_report r;
    words_death(&w, (struct pt_death){.phase = PT_PHASE_SETUP, .cause = PT_CAUSE_FALL, .stack = STACK("01")});
    words_death(&w,
                (struct pt_death){.phase = PT_PHASE_SETUP, .cause = PT_CAUSE_DEADLOCK, .stack = STACK("02")});
    struct pt_fall m = fall_of(&w, PT_CAUSE_DEADLOCK, PT_PHASE_SETUP, 0);
    struct pt_ranks_of of = here;
    of.grace = -1;
    fallen(&m, &of, &r);
    cr_expect(r.outcome == PT_OUTCOME_ERROR && count_of(&r, "error") == 1);
    cr_expect_str_eq(r.message, "rank 0 of 2: failed in set-up; others were still in set-up later");
    cr_expect_str_eq(r.problems[0].headline, "ERROR at setup of TestA.test_x[3]");
    cr_expect_not_null(
        strstr(r.longrepr, "rank 1 of 2 was still in its set-up after another rank had failed:\n"));
    cr_expect_not_null(strstr(r.longrepr, "rank 0 of 2 was in its set-up when the ranks were ended:\n"));
    pt_report_fini(&r);
    words_fini(&w);
}

Test(ranks_fall, causes_and_their_outcomes)
{
    static const struct {
        uint8_t cause;
        uint32_t status;
        uint8_t outcome;
        const char *message;
    } cases[] = {
        {PT_CAUSE_DIED, 3 << 8, PT_OUTCOME_CRASHED, "rank 0 of 1: exited with status 3 in tear-down"},
        {PT_CAUSE_TIMEOUT, 9, PT_OUTCOME_TIMEOUT, "rank 0 of 1: timed out in teardown after 2.0 s"},
        {PT_CAUSE_MEMORY, 9, PT_OUTCOME_CRASHED,
         "rank 0 of 1: killed in teardown: 70 MiB, above --memory-per-slot 64 MiB"},
        {PT_CAUSE_OOM, 9, PT_OUTCOME_CRASHED,
         "rank 0 of 1: killed in teardown by the kernel, which was out of memory"},
    };
    for (size_t i = 0; i < 4; i++) {
        struct words w = {0};
        struct pt_report r;
        struct pt_ranks_of of = here;
        bool memory = cases[i].cause == PT_CAUSE_MEMORY;
        of.memory = 64 << 20;
        words_death(&w, (struct pt_death){.phase = PT_PHASE_TEARDOWN,
                                          .cause = cases[i].cause,
                                          .status = cases[i].status,
                                          .duration_us = 2000000,
                                          .output = (char *)(memory ? "70 MiB, limit 64 MiB\nout" : "out")});
        struct pt_fall m = fall_of(&w, cases[i].cause, PT_PHASE_TEARDOWN, 0);
        fallen(&m, &of, &r);
        cr_expect_eq(r.outcome, cases[i].outcome);
        cr_expect_str_eq(r.message, cases[i].message);
        cr_expect_str_eq(text_at(r.problems[0].sections, 0, 1), "out");
        pt_report_fini(&r);
        words_fini(&w);
    }
}

/* By the clock of the lowest rank that knows, as several hosts' may differ; of no other test. */
Test(ranks_fall, when_the_test_began)
{
    struct words w = {0};
    struct pt_report r;
    struct pt_death later = {.phase = PT_PHASE_CALL, .status = 9, .began_us = 5000000, .lasted_us = 4250000};
    struct pt_death other = later, none = later;
    later.duration_us = 250000;
    other.cause = PT_CAUSE_FALL;
    other.began_us = 3000000;
    none.began_us = none.lasted_us = 0;
    none.duration_us = 4500000;
    words_death(&w, none);
    words_death(&w, later);
    words_death(&w, other);
    struct pt_fall m = fall_of(&w, PT_CAUSE_DIED, PT_PHASE_CALL, 2);
    fallen(&m, &here, &r);
    cr_expect(r.started == 5 && r.duration == 4.5, "%f, %f", r.started, r.duration);
    pt_report_fini(&r);
    m.test++; /* they died of another */
    fallen(&m, &here, &r);
    cr_expect(r.started < 0 && r.duration == 4.5, "%f, %f", r.started, r.duration);
    pt_report_fini(&r);
    words_fini(&w);
}

Test(ranks_fall, no_group)
{
    struct words w = {0};
    struct pt_report r;
    words_none(&w);
    words_none(&w);
    words_none(&w);
    struct pt_fall m = fall_of(&w, PT_CAUSE_NO_GROUP, PT_PHASE_SETUP, PT_NONE);
    m.text = (char *)"No module named 'mpi4py'\nmore";
    fallen(&m, &here, &r);
    cr_expect(r.outcome == PT_OUTCOME_ERROR && r.phase == PT_PHASE_SETUP);
    cr_expect_str_eq(r.message, "no 3 ranks could be started on h1: No module named 'mpi4py'");
    cr_expect_str_eq(r.longrepr, "no 3 ranks could be started on h1: No module named 'mpi4py'\n\n"
                                 "No module named 'mpi4py'\nmore\n\n"
                                 "Try it there: mpirun -np 3 python3 -c 'import mpi4py.MPI'");
    pt_report_fini(&r);
    static const char *const hosts[] = {"h1", "h2"};
    static const struct pt_share shares[] = {{0, 2}, {1, 1}};
    struct pt_ranks_of of = here;
    of.hosts = hosts;
    of.nhosts = 2;
    of.shares = shares;
    fallen(&m, &of, &r);
    cr_expect_str_eq(r.message, "no 3 ranks could be started on h1+h2: No module named 'mpi4py'");
    cr_expect_eq(pt_json_count(r.shares), 2);
    pt_report_fini(&r);
    words_fini(&w);
}

Test(ranks_fall, a_file_is_told_by_one_of_its_tests)
{
    struct words w = {0};
    struct pt_report r;
    struct pt_ranks_of of = here;
    words_death(&w, (struct pt_death){
                        .test = PT_NONE, .path = (char *)"t/a.py", .phase = PT_PHASE_COLLECT, .status = 11});
    struct pt_fall m = fall_of(&w, PT_CAUSE_DIED, PT_PHASE_COLLECT, 0);
    m.test = PT_NONE;
    m.path = (char *)"t/a.py";
    fallen(&m, &of, &r);
    cr_expect_str_eq(r.problems[0].headline, "ERROR collecting t/a.py::TestA::test_x[3]");
    cr_expect_str_eq(r.message, "rank 0 of 1: killed by signal 11 (SIGSEGV) in import");
    pt_report_fini(&r);
    of.silent = true;
    fallen(&m, &of, &r);
    cr_expect(r.nproblems == 0 && r.counts && r.ncounts == 0 && r.outcome == PT_OUTCOME_CRASHED);
    pt_report_fini(&r);
    words_fini(&w);
}

/* Native frames of the interpreter say nothing that the Python stack does not. */
Test(ranks_fall, native_frames_end_where_python_begins)
{
    struct words w = {0};
    struct pt_report r;
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL, .status = 3 << 8});
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL,
                                      .cause = PT_CAUSE_FALL,
                                      .stack = (char *)"  File \"a.py\"\n\nNative frames:\nTID 12:\n"
                                                       "#0  0x01 PMPI_Barrier\n#1  0x02 PyObject_Vectorcall\n"
                                                       "#2  0x03 x\n#3  0x04 _PyEval_EvalFrameDefault\n"
                                                       "TID 13:\n#0  0x05 poll\n#1  0x06 clone"});
    struct pt_fall m = fall_of(&w, PT_CAUSE_DIED, PT_PHASE_CALL, 0);
    fallen(&m, &here, &r);
    cr_expect_str_eq(r.longrepr, "rank 0 of 2: exited with status 3 in call\n\n"
                                 "rank 1 of 2 was in its call when the ranks were ended:\n\n"
                                 "  File \"a.py\"\n\nNative frames:\nTID 12:\n#0  0x01 PMPI_Barrier\n"
                                 "#1  0x02 PyObject_Vectorcall\n... 2 frames of Python\n"
                                 "TID 13:\n#0  0x05 poll\n#1  0x06 clone");
    pt_report_fini(&r);
    words_fini(&w);
}

/* --- whatever hosts send --- */

/* A frame with a few bytes changed: a report comes of it or an error, and nothing worse. */
Test(ranks_fall, changed_frames_do_no_harm)
{
    struct words w = {0};
    struct pt_buf b = {0};
    uint32_t seed = 1;
    int ok = 0;
    words_report(&w, PT_OUTCOME_FAILED, FAILED_BY("boom", "1"));
    words_death(&w,
                (struct pt_death){.phase = PT_PHASE_CALL, .cause = PT_CAUSE_DEADLOCK, .stack = STACK("02")});
    words_death(&w, (struct pt_death){.phase = PT_PHASE_CALL, .status = 11, .output = (char *)"out"});
    struct pt_fall m = fall_of(&w, PT_CAUSE_DEADLOCK, PT_PHASE_CALL, 0);
    pt_fall_encode(&m, 0, &b);
    size_t n = b.len - PT_FRAME_HEAD - 8;
    for (int round = 0; round < 6000; round++) {
        unsigned char *copy = malloc(n);
        struct pt_err err = PT_ERR_INIT;
        struct pt_buf out = {0};
        struct pt_fall got;
        memcpy(copy, b.data + PT_FRAME_HEAD + 8, n);
        for (int k = 0; k <= round % 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % n] =
                round % 2 ? (unsigned char)(seed >> 24) : (unsigned char)((seed >> 24) % 8);
        }
        struct pt_reader r = {.p = copy, .left = n};
        if (pt_fall_decode(&r, &got, &err) == 0) {
            char words[64];
            pt_ranks_fall_words(&got, words, sizeof(words));
            int rc = pt_ranks_fall_report(&got, &here, &out, &err);
            cr_expect(rc == 0 || err.msg[0]);
            ok += rc == 0;
            pt_fall_fini(&got);
        }
        pt_buf_fini(&out);
        free(copy);
    }
    cr_expect_gt(ok, 100);
    pt_buf_fini(&b);
    words_fini(&w);
}
