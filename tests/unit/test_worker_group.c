/* SPDX-License-Identifier: Apache-2.0 */
/* One group of ranks: which test all have told, who hangs, what is told when it falls. */
#include "worker_group_lab.h"

Test(worker_group, joins_once_each)
{
    struct pt_group group;
    cr_assert_eq(pt_group_init(&group, 1, 0, 2, NULL), 0);
    cr_assert_eq(pt_group_join(&group, 2), -1);
    cr_assert_eq(pt_group_join(&group, 1), 0);
    cr_assert_eq(pt_group_join(&group, 1), -1);
    cr_assert_not(pt_group_ready(&group, 1));
    cr_assert_eq(group.state, PT_GROUP_STARTING);
    cr_assert_eq(pt_group_join(&group, 0), 0);
    cr_assert(pt_group_ready(&group, 0));
    cr_assert_eq(pt_group_join(&group, 0), -1, "it is up");
    pt_group_fini(&group);
}

Test(worker_group, a_test_is_told_when_all_have)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_ranks m;
    open_group(&group, 3, false);
    cr_assert_eq(report(&group, 1, 10, 4), 0);
    cr_assert_eq(report(&group, 1, 10, 9), 0, "the first one counts");
    cr_assert_eq(report(&group, 0, 11, 2), 0, "another order, as with tests that were not collected");
    cr_assert_eq(report(&group, 0, 10, 5), 0);
    cr_assert_eq(report(&group, 2, 10, 6), 1);
    pt_group_tell(&group, 10, &frame);
    struct pt_reader r = body_of(&frame, PT_L_RANKS);
    cr_assert_eq(pt_get_u64(&r), 0);
    cr_assert_eq(pt_ranks_decode(&r, &m, NULL), 0);
    cr_assert(m.bundle == 7 && m.attempt == 2 && m.test == 10 && m.group == 1 && m.of == 3);
    for (uint32_t i = 0; i < 3; i++) {
        static const size_t lengths[] = {5, 4, 6};
        const void *json;
        uint8_t outcome;
        size_t n;
        cr_assert(pt_word_report(&m.words[i], &outcome, &json, &n));
        cr_assert(n == lengths[i] && outcome == PT_OUTCOME_PASSED);
    }
    pt_ranks_fini(&m);
    pt_buf_fini(&frame);
    cr_assert_eq(report(&group, 0, 10, 1), 0, "told");
    cr_assert_eq(tests_left(&group), 4);
    cr_assert_eq(pt_group_untold(&group), 11);
    pt_group_fini(&group);
}

Test(worker_group, what_makes_no_sense)
{
    struct pt_group group;
    struct pt_buf msg = {0};
    uint32_t test;
    open_group(&group, 2, false);
    cr_assert_eq(report(&group, 0, 99, 2), -1);
    cr_assert_eq(pt_group_started(&group, 0, 99), -1);
    cr_assert_eq(pt_group_failed(&group, 0, 99, PT_PHASE_CALL, 5), -1);
    cr_assert_eq(pt_group_failed(&group, 0, 10, PT_PHASE_COLLECT, 5), -1);
    cr_assert_eq(pt_group_failed(&group, 0, 10, PT_PHASE_SESSION, 5), -1);
    cr_assert_eq(pt_group_failed(&group, 0, 10, 200, 5), -1);
    pt_tell_report(&msg, 0, &(struct pt_bundle){.bundle = 8}, 10, PT_OUTCOME_PASSED, "{}", 2);
    cr_assert_eq(pt_group_reported(&group, 0, msg.data, msg.len, &test), -1, "another bundle");
    pt_buf_clear(&msg);
    pt_tell_report(&msg, 0, &(struct pt_bundle){.bundle = 7}, 10, PT_OUTCOME_NONE, "{}", 2);
    cr_assert_eq(pt_group_reported(&group, 0, msg.data, msg.len, &test), -1, "no outcome");
    pt_buf_clear(&msg);
    pt_tell_report(&msg, 0, &(struct pt_bundle){.bundle = 7}, 10, PT_OUTCOME_PASSED, "{}", 2);
    for (size_t n = PT_FRAME_HEAD; n < msg.len; n++)
        cr_assert_eq(pt_group_reported(&group, 0, msg.data, n, &test), -1, "%zu bytes", n);
    for (size_t n = PT_FRAME_HEAD; n < msg.len; n++)
        cr_assert_eq(pt_group_died(&group, 0, msg.data, n), -1);
    cr_assert_eq(group.state, PT_GROUP_BUSY);
    pt_buf_fini(&msg);
    pt_group_fini(&group);
}

Test(worker_group, done_when_all_are)
{
    struct pt_group group;
    open_group(&group, 2, false);
    cr_assert_not(pt_group_done(&group, 1));
    cr_assert_not(pt_group_done(&group, 1));
    cr_assert(pt_group_done(&group, 0));
    pt_group_finish(&group);
    cr_assert_eq(group.state, PT_GROUP_IDLE);
    cr_assert_eq(pt_group_untold(&group), PT_NONE);
    cr_assert_eq(report(&group, 0, 10, 2), -1, "no bundle");
    pt_group_fini(&group);
}

Test(worker_group, one_test_of_a_bundle)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    open_group(&group, 2, true);
    cr_assert_eq(pt_group_untold(&group), 10);
    cr_assert_eq(report(&group, 0, 10, 2), 0);
    cr_assert_eq(report(&group, 1, 10, 2), 1);
    pt_group_tell(&group, 10, &frame);
    cr_assert_eq(pt_group_untold(&group), PT_NONE);
    cr_assert_eq(tests_left(&group), 4);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, words_that_are_too_long_are_left_out)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_ranks m;
    open_group(&group, 3, false);
    report(&group, 0, 10, 7u << 20);
    report(&group, 1, 10, 8u << 20);
    cr_assert_eq(report(&group, 2, 10, 6u << 20), 1);
    pt_group_tell(&group, 10, &frame);
    cr_assert_leq(frame.len, PT_MAX_FRAME);
    struct pt_reader r = body_of(&frame, PT_L_RANKS);
    pt_get_u64(&r);
    cr_assert_eq(pt_ranks_decode(&r, &m, NULL), 0);
    cr_assert(m.words[0].kind == PT_WORD_REPORT && m.words[1].kind == PT_WORD_NONE &&
              m.words[2].kind == PT_WORD_REPORT);
    pt_ranks_fini(&m);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

/* --- falls --- */

Test(worker_group, a_crash_takes_its_test)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    open_group(&group, 3, false);
    report(&group, 2, 10, 2);
    die(&group, 1, 10, PT_CAUSE_DIED);
    cr_assert_eq(group.state, PT_GROUP_FALLING);
    die(&group, 2, PT_NONE, PT_CAUSE_FALL);
    cr_assert_not(pt_group_fallen(&group));
    die(&group, 0, 10, PT_CAUSE_FALL);
    cr_assert(pt_group_fallen(&group));
    cr_assert_eq(fall(&group, &frame, &f), 1);
    cr_assert(f.bundle == 7 && f.attempt == 2 && f.test == 10 && f.culprit == 1 && f.cause == PT_CAUSE_DIED);
    cr_assert_eq(f.phase, PT_PHASE_CALL);
    cr_assert(f.words[0].kind == PT_WORD_DEATH && f.words[1].kind == PT_WORD_DEATH &&
                  f.words[2].kind == PT_WORD_REPORT,
              "what was reported stays");
    pt_fall_fini(&f);
    cr_assert_eq(tests_left(&group), 4);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, what_ends_a_rank_after_its_report_belongs_to_that_test)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    open_group(&group, 2, false);
    report(&group, 0, 10, 2);
    die(&group, 0, PT_NONE, PT_CAUSE_DIED);
    die(&group, 1, 10, PT_CAUSE_FALL);
    cr_assert_eq(fall(&group, &frame, &f), 1);
    cr_assert(f.test == 10 && f.words[0].kind == PT_WORD_DEATH && f.words[1].kind == PT_WORD_DEATH);
    pt_fall_fini(&f);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, a_report_on_its_way_when_another_dies)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    open_group(&group, 2, false);
    report(&group, 0, 10, 2);
    die(&group, 0, PT_NONE, PT_CAUSE_DIED);
    cr_assert_eq(report(&group, 1, 10, 2), 1);
    pt_group_tell(&group, 10, &frame);
    pt_buf_clear(&frame);
    die(&group, 1, PT_NONE, PT_CAUSE_FALL);
    cr_assert_eq(fall(&group, &frame, &f), 0);
    cr_assert(f.test == PT_NONE && f.words[0].kind == PT_WORD_DEATH);
    pt_fall_fini(&f);
    cr_assert_eq(tests_left(&group), 4);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, a_rank_that_vanishes_has_what_its_launcher_said)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    struct pt_death death;
    open_group(&group, 2, false);
    cr_assert_eq(pt_group_started(&group, 0, 20), 0);
    cr_assert_eq(pt_group_died(&group, 0, NULL, 0), 0);
    cr_assert_eq(pt_group_died(&group, 1, NULL, 0), 0);
    cr_assert(pt_group_fallen(&group) && group.fall.lost);
    cr_assert_eq(fall(&group, &frame, &f), 1);
    cr_assert(f.test == 20 && f.culprit == 0 && f.words[1].kind == PT_WORD_NONE);
    cr_assert_eq(pt_word_death(&f.words[0], &death, NULL), 0);
    cr_assert(death.status == 0x0100 && death.test == 20 && death.bundle == 7);
    cr_assert_str_eq(death.output, "mpirun said");
    pt_death_fini(&death);
    pt_fall_fini(&f);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, a_file_falls_as_a_whole)
{
    static char path[] = "a.py";
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    open_group(&group, 2, false);
    die_as(&group, 0, (struct pt_death){.test = PT_NONE, .file = 0, .path = path, .cause = PT_CAUSE_TIMEOUT});
    die(&group, 1, PT_NONE, PT_CAUSE_FALL);
    cr_assert_eq(fall(&group, &frame, &f), 3);
    cr_assert(f.test == PT_NONE && f.cause == PT_CAUSE_TIMEOUT && f.phase == PT_PHASE_COLLECT);
    cr_assert_str_eq(f.path, "a.py");
    pt_fall_fini(&f);
    cr_assert_eq(tests_left(&group), 2);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, between_tests_nothing_is_taken)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    open_group(&group, 2, false);
    die_as(&group, 0, (struct pt_death){.test = 10, .file = PT_NONE, .bundle = 6, .cause = PT_CAUSE_DIED});
    cr_assert_eq(fall(&group, &frame, &f), 0, "of a bundle that was before");
    cr_assert(f.test == PT_NONE && f.path[0] == '\0' && f.bundle == 7);
    pt_fall_fini(&f);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, an_idle_one_falls_over_no_bundle)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    open_group(&group, 2, false);
    pt_group_done(&group, 0);
    pt_group_done(&group, 1);
    pt_group_finish(&group);
    die_as(&group, 1, (struct pt_death){.test = PT_NONE, .file = PT_NONE, .bundle = PT_NONE, .cause = 1});
    die_as(&group, 0, (struct pt_death){.test = PT_NONE, .file = PT_NONE, .bundle = PT_NONE, .cause = 1});
    cr_assert(pt_group_fallen(&group));
    cr_assert_eq(fall(&group, &frame, &f), 0);
    cr_assert_eq(f.bundle, PT_NONE);
    pt_fall_fini(&f);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

/* --- deadlocks --- */

Test(worker_group, who_is_waited_for)
{
    struct pt_group group;
    uint32_t test = 0;
    uint8_t phase = 0;
    open_group(&group, 3, false);
    cr_assert_eq(pt_group_due(&group), -1);
    cr_assert_eq(pt_group_failed(&group, 2, 10, PT_PHASE_CALL, 3000), 0);
    cr_assert_eq(pt_group_failed(&group, 0, 10, PT_PHASE_CALL, 3500), 0, "the first one counts");
    cr_assert_eq(pt_group_failed(&group, 2, 10, PT_PHASE_TEARDOWN, 4000), 0);
    cr_assert_eq(pt_group_due(&group), 3000);
    cr_assert_not(pt_group_hung(&group, 2999, &test, &phase));
    cr_assert(pt_group_hung(&group, 3000, &test, &phase));
    cr_assert(test == 10 && phase == PT_PHASE_CALL);
    cr_assert_not(pt_group_hung(&group, 3000, &test, &phase), "once");
    cr_assert_eq(pt_group_due(&group), 4000);
    cr_assert(pt_group_hung(&group, 9000, &test, &phase) && phase == PT_PHASE_TEARDOWN);
    cr_assert_eq(pt_group_due(&group), -1);
    pt_group_fini(&group);
}

Test(worker_group, a_test_that_all_told_is_waited_for_no_more)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    open_group(&group, 2, false);
    cr_assert_eq(pt_group_failed(&group, 0, 10, PT_PHASE_CALL, 3000), 0);
    report(&group, 0, 10, 2);
    cr_assert_eq(report(&group, 1, 10, 2), 1);
    pt_group_tell(&group, 10, &frame);
    cr_assert_eq(pt_group_due(&group), -1);
    cr_assert_eq(pt_group_failed(&group, 0, 10, PT_PHASE_CALL, 3000), 0);
    cr_assert_eq(pt_group_due(&group), -1, "told");
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}

Test(worker_group, a_deadlock_began_with_who_failed)
{
    struct pt_group group;
    struct pt_buf frame = {0};
    struct pt_fall f;
    uint32_t test;
    uint8_t phase;
    open_group(&group, 3, false);
    pt_group_failed(&group, 2, 10, PT_PHASE_SETUP, 1000);
    report(&group, 2, 10, 2);
    cr_assert(pt_group_hung(&group, 1000, &test, &phase));
    die(&group, 0, 10, PT_CAUSE_DEADLOCK);
    die(&group, 1, 10, PT_CAUSE_DEADLOCK);
    die(&group, 2, PT_NONE, PT_CAUSE_FALL);
    cr_assert(pt_group_fallen(&group));
    cr_assert_eq(fall(&group, &frame, &f), 1);
    cr_assert(f.cause == PT_CAUSE_DEADLOCK && f.culprit == 2 && f.test == 10 && f.phase == PT_PHASE_SETUP);
    cr_assert(f.words[2].kind == PT_WORD_REPORT && f.words[0].kind == PT_WORD_DEATH);
    pt_fall_fini(&f);
    pt_buf_fini(&frame);
    pt_group_fini(&group);
}
