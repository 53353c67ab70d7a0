/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "plan_state.h"

#include <stdlib.h>

struct task *pt_plan_task_of_one(struct pt_plan *plan, const struct test *test)
{
    struct pt_plan_piece *piece = pt_plan_piece_of_one(test->piece, test->at);
    struct task *task = piece ? pt_plan_task_create(plan) : NULL;
    if (!task) {
        free(piece);
        return NULL;
    }
    piece->all = plan->pieces;
    plan->pieces = piece;
    piece->order = plan->npieces++;
    task->pieces = piece;
    task->line = piece->line;
    task->rank = piece->rank;
    task->host = piece->line->host;
    task->place = 0;
    task->untold = 1;
    return task;
}

int pt_plan_again(struct pt_plan *plan, uint32_t number, struct pt_err *err)
{
    struct test *test = number < plan->ntests ? &plan->tests[number] : NULL;
    if (!test || !test->added)
        return pt_err_set(err, "plan: there is no test %u to run again", number);
    if (!test->told)
        return 0;
    struct task *task = pt_plan_task_of_one(plan, test);
    if (!task)
        return pt_err_set(err, "plan: out of memory to run test %u again", number);
    if (test->bundle != PT_NONE && plan->tasks[test->bundle]->last)
        task->avoid = plan->tasks[test->bundle]->last->host;
    test->piece = task->pieces;
    test->at = 0;
    test->bundle = task->number;
    test->told = test->joined = false;
    plan->untold++;
    task->expected = pt_plan_test_work(plan, number);
    if (plan->spec.schedule != PT_SCHEDULE_SEQUENTIAL && task->rank != PT_NONE &&
        test->losses + 1 < PT_PLAN_LOSSES)
        pt_plan_rank_add(plan, task, true);
    else
        pt_plan_put_back(plan, task, true);
    plan->unsure = true;
    return 0;
}
