/* SPDX-License-Identifier: Apache-2.0 */
#include "fail_alloc.h"
#include "remote/worker/queue.c"

#include <criterion/criterion.h>
#include <stdio.h>

/* A bundle of two files with tests 10, 11, 12 and 20. */
static void add(struct pt_queue *queue, uint32_t number, uint32_t rank)
{
    struct pt_bundle_test tests[] = {{.test = 10, .nodeid = (char *)"a.py::x"},
                                     {.test = 11, .nodeid = (char *)"a.py::y"},
                                     {.test = 12, .nodeid = (char *)"a.py::z"},
                                     {.test = 20, .nodeid = (char *)"b.py::x"}};
    struct pt_bundle_file files[] = {{(char *)"a.py", tests, 3}, {(char *)"b.py", tests + 3, 1}};
    struct pt_bundle bundle = {.bundle = number, .attempt = 2, .rank = rank, .files = files, .nfiles = 2};
    cr_assert_eq(pt_queue_add(queue, &bundle), 0);
}

/* What the item brings, as "a.py:10,11 b.py:20 ". */
static const char *content(const struct pt_queue_item *item)
{
    static char text[256];
    struct pt_reader body;
    struct pt_bundle bundle;
    uint8_t type;
    size_t total;
    strcpy(text, "");
    cr_assert_eq(pt_frame_next(item->frame, item->len, PT_MAX_FRAME, &type, &body, &total), 1);
    cr_assert(type == PT_L_BUNDLE && total == item->len);
    cr_assert_eq(pt_bundle_decode(&body, &bundle, NULL), 0);
    cr_assert(bundle.bundle == item->bundle && bundle.attempt == item->attempt && bundle.rank == item->rank);
    for (uint32_t f = 0; f < bundle.nfiles; f++) {
        strcat(text, bundle.files[f].path);
        for (uint32_t k = 0; k < bundle.files[f].ntests; k++)
            sprintf(text + strlen(text), "%c%u", k ? ',' : ':', bundle.files[f].tests[k].test);
        strcat(text, " ");
    }
    pt_bundle_fini(&bundle);
    return text;
}

static void take(struct pt_queue *queue, uint32_t rank, uint32_t number)
{
    struct pt_queue_item *item = pt_queue_take(queue, rank);
    cr_assert(item && item->bundle == number, "wanted %u", number);
    cr_assert_str_eq(content(item), "a.py:10,11,12 b.py:20 ");
    free(item);
}

static bool removed(struct pt_queue *queue, uint32_t number)
{
    struct pt_queue_item *item = pt_queue_remove(queue, number);
    free(item);
    return item != NULL;
}

Test(queue, first_in_first_out_and_any_out)
{
    struct pt_queue queue;
    pt_queue_init(&queue);
    cr_assert_null(pt_queue_take(&queue, 0));
    cr_assert_not(removed(&queue, 1));
    for (uint32_t i = 1; i <= 5; i++)
        add(&queue, i, PT_NONE);
    cr_assert(removed(&queue, 3));
    cr_assert_not(removed(&queue, 3), "only once");
    take(&queue, 0, 1);
    cr_assert(removed(&queue, 5), "the last");
    add(&queue, 6, PT_NONE);
    take(&queue, 1, 2);
    take(&queue, 0, 4);
    take(&queue, 7, 6);
    cr_assert_null(pt_queue_take(&queue, 0));
    add(&queue, 7, PT_NONE);
    pt_queue_fini(&queue);
    cr_assert_null(queue.head);
    add(&queue, 8, PT_NONE);
    pt_queue_fini(&queue);
}

Test(queue, a_pinned_bundle_goes_to_its_rank_only)
{
    struct pt_queue queue;
    pt_queue_init(&queue);
    add(&queue, 1, 2);
    add(&queue, 2, 2);
    add(&queue, 3, PT_NONE);
    cr_assert_eq(pt_queue_pinned(&queue, 2)->bundle, 1);
    cr_assert_eq(pt_queue_pinned(&queue, PT_NONE)->bundle, 3);
    cr_assert_null(pt_queue_pinned(&queue, 0));
    take(&queue, 0, 3);
    cr_assert_null(pt_queue_take(&queue, 0));
    take(&queue, 2, 1);
    add(&queue, 4, PT_NONE);
    take(&queue, 2, 2);
    take(&queue, 2, 4);
    cr_assert_null(queue.head);
    pt_queue_fini(&queue);
}

static struct pt_steal ask(uint32_t bundle, uint32_t n, const uint32_t *tests)
{
    struct pt_steal steal = {.bundle = bundle, .n = n, .tests = calloc(n + 1, sizeof(*tests))};
    memcpy(steal.tests, tests, n * sizeof(*tests));
    return steal;
}

Test(queue, tests_are_taken_out_of_what_waits)
{
    struct pt_queue queue;
    const struct pt_queue_item *left = NULL;
    pt_queue_init(&queue);
    add(&queue, 1, PT_NONE);
    add(&queue, 2, 3);
    struct pt_steal unknown = ask(9, 1, (uint32_t[]){10});
    cr_assert_eq(pt_queue_steal(&queue, &unknown, &left), 0);
    struct pt_steal some = ask(2, 4, (uint32_t[]){20, 11, 99, 11});
    cr_assert_eq(pt_queue_steal(&queue, &some, &left), 1);
    cr_assert(some.n == 2 && some.tests[0] == 11 && some.tests[1] == 20, "each once, in its order");
    cr_assert(left->bundle == 2 && left->rank == 3 && left->attempt == 2 && left->ntests == 2);
    cr_assert_str_eq(content(left), "a.py:10,12 ");
    struct pt_steal again = ask(2, 2, (uint32_t[]){20, 11});
    cr_assert_eq(pt_queue_steal(&queue, &again, &left), 1);
    cr_assert_eq(again.n, 0, "it was taken before");
    struct pt_steal all = ask(2, 2, (uint32_t[]){10, 12});
    cr_assert_eq(pt_queue_steal(&queue, &all, &left), 1);
    cr_assert(all.n == 2 && left->ntests == 0);
    add(&queue, 3, PT_NONE);
    take(&queue, 0, 1);
    take(&queue, 0, 3);
    cr_assert(removed(&queue, 2) && !queue.head);
    pt_queue_fini(&queue);
    for (struct pt_steal *s[] = {&unknown, &some, &again, &all}, **at = s; at < s + 4; at++)
        pt_steal_fini(*at);
}

/* Without memory a theft changes nothing. */
Test(queue, every_allocation_fails)
{
    struct pt_queue queue;
    pt_queue_init(&queue);
    add(&queue, 1, PT_NONE);
    for (long n = 1;; n++) {
        const struct pt_queue_item *left = NULL;
        struct pt_steal steal = ask(1, 1, (uint32_t[]){11});
        fail_at = n;
        fail_hit = false;
        int rc = pt_queue_steal(&queue, &steal, &left);
        fail_at = 0;
        cr_assert_eq(rc, fail_hit ? -1 : 1);
        cr_assert_str_eq(content(queue.head), fail_hit ? "a.py:10,11,12 b.py:20 " : "a.py:10,12 b.py:20 ");
        pt_steal_fini(&steal);
        if (!fail_hit)
            break;
    }
    pt_queue_fini(&queue);
}

static void add_ranks(struct pt_queue *queue, uint32_t number, uint32_t ranks, bool first)
{
    struct pt_bundle_test test = {.test = 1, .nodeid = (char *)"a.py::x"};
    struct pt_bundle_file file = {(char *)"a.py", &test, 1};
    struct pt_bundle bundle = {
        .bundle = number, .rank = PT_NONE, .ranks = ranks, .files = &file, .nfiles = 1};
    cr_assert_eq(first ? pt_queue_back(queue, &bundle) : pt_queue_add(queue, &bundle), 0);
}

static uint32_t take_ranks(struct pt_queue *queue, uint32_t ranks)
{
    struct pt_queue_item *item = pt_queue_take_ranks(queue, ranks);
    uint32_t number = item ? item->bundle : 0;
    cr_assert(!item || item->ranks == ranks);
    free(item);
    return number;
}

Test(queue, bundles_for_several_ranks_are_for_no_rank)
{
    struct pt_queue queue;
    pt_queue_init(&queue);
    add_ranks(&queue, 1, 2, true);
    add_ranks(&queue, 2, 4, false);
    cr_assert(!pt_queue_take(&queue, 0) && !pt_queue_pinned(&queue, PT_NONE));
    add(&queue, 3, PT_NONE);
    add_ranks(&queue, 4, 2, false);
    cr_assert_eq(pt_queue_pinned(&queue, PT_NONE)->bundle, 3);
    cr_assert(pt_queue_count(&queue, 2) == 2 && pt_queue_count(&queue, 4) == 1);
    cr_assert(pt_queue_largest(&queue, PT_NONE) == 4 && pt_queue_largest(&queue, 4) == 2);
    cr_assert_eq(pt_queue_largest(&queue, 2), 0);
    add_ranks(&queue, 5, 2, true);
    cr_assert(take_ranks(&queue, 2) == 5 && take_ranks(&queue, 2) == 1 && take_ranks(&queue, 2) == 4);
    cr_assert_eq(take_ranks(&queue, 2), 0);
    take(&queue, 0, 3);
    cr_assert(take_ranks(&queue, 4) == 2 && !queue.head && queue.tail == &queue.head);
    pt_queue_fini(&queue);
}

static void add_spread(struct pt_queue *queue, uint32_t number)
{
    struct pt_share shares[] = {{1, 2}, {3, 2}};
    struct pt_bundle_test tests[] = {{.test = 1, .nodeid = (char *)"a.py::x"},
                                     {.test = 2, .nodeid = (char *)"a.py::y"}};
    struct pt_bundle_file file = {(char *)"a.py", tests, 2};
    struct pt_bundle bundle = {.bundle = number,
                               .rank = PT_NONE,
                               .ranks = 4,
                               .spread = shares,
                               .nspread = 2,
                               .files = &file,
                               .nfiles = 1};
    cr_assert_eq(pt_queue_add(queue, &bundle), 0);
}

Test(queue, bundles_over_several_hosts_are_apart)
{
    struct pt_queue queue;
    struct pt_bundle bundle;
    const struct pt_queue_item *left;
    pt_queue_init(&queue);
    cr_assert_null(pt_queue_spread(&queue, NULL));
    add_spread(&queue, 1);
    add_ranks(&queue, 2, 4, false);
    add_spread(&queue, 3);
    cr_assert(pt_queue_count(&queue, 4) == 1 && pt_queue_largest(&queue, PT_NONE) == 4);
    cr_assert_eq(take_ranks(&queue, 4), 2);
    cr_assert(take_ranks(&queue, 4) == 0 && pt_queue_largest(&queue, PT_NONE) == 0);
    cr_assert_null(pt_queue_take(&queue, 0));
    cr_assert_eq(pt_queue_spread(&queue, NULL)->bundle, 1);
    struct pt_steal one = ask(3, 1, (uint32_t[]){2});
    cr_assert_eq(pt_queue_steal(&queue, &one, &left), 1);
    const struct pt_queue_item *last = pt_queue_spread(&queue, pt_queue_spread(&queue, NULL));
    cr_assert(last == left && last->bundle == 3 && !pt_queue_spread(&queue, last));
    cr_assert_eq(pt_queue_open(last, &bundle), 0);
    cr_assert(bundle.nspread == 2 && bundle.spread[1].host == 3 && bundle.spread[1].ranks == 2);
    cr_assert_eq(bundle.files[0].ntests, 1);
    pt_bundle_fini(&bundle);
    pt_steal_fini(&one);
    pt_queue_fini(&queue);
}
