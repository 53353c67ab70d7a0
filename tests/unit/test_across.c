/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts may run tests together, from what each said. */
#include "across.h"

#include <criterion/criterion.h>
#include <string.h>

#define HOSTS            5
#define ADDRESSES        3
#define ADDRESS(host, k) (0x0a000000u + 256 * (k) + (host) + 1) /* 10.0.K.HOST+1 */

/* Each has an address in every network, and reaches all others by all of them, until a test says otherwise.
 */
static struct {
    struct pt_across_host hosts[HOSTS];
    struct pt_listening listening[HOSTS];
    struct pt_address addresses[HOSTS][ADDRESSES];
    struct pt_reached reached[HOSTS];
    struct pt_reached_host list[HOSTS][HOSTS * ADDRESSES];
    bool cut[HOSTS][HOSTS][ADDRESSES]; /* [from][to]: by that address */
    uint32_t n;
} l;

static void start(uint32_t n)
{
    static const char *const names[] = {"h1", "h2", "h3", "h4", "h5"};
    memset(&l, 0, sizeof(l));
    l.n = n;
    for (uint32_t i = 0; i < n; i++) {
        l.hosts[i] = (struct pt_across_host){.name = names[i], .slots = 4, .asked = true};
        l.listening[i] = (struct pt_listening){.mpi = (char *)"4.1.4",
                                               .run_dir = (char *)"/run",
                                               .worker = (char *)"/worker",
                                               .n = ADDRESSES,
                                               .addresses = l.addresses[i]};
        for (uint32_t k = 0; k < ADDRESSES; k++)
            l.addresses[i][k] = (struct pt_address){ADDRESS(i, k), 24};
        l.hosts[i].listening = &l.listening[i];
        l.hosts[i].reached = &l.reached[i];
    }
}

static void cut(uint32_t from, uint32_t to)
{
    for (uint32_t k = 0; k < ADDRESSES; k++)
        l.cut[from][to][k] = true;
}

static void choose(void)
{
    struct pt_err err = PT_ERR_INIT;
    for (uint32_t i = 0; i < l.n; i++) {
        l.reached[i] = (struct pt_reached){.hosts = l.list[i]};
        for (uint32_t to = 0; to < l.n; to++)
            for (uint32_t k = 0; to != i && k < l.listening[to].n; k++)
                if (!l.cut[i][to][k])
                    l.list[i][l.reached[i].n++] = (struct pt_reached_host){to, l.addresses[to][k].address};
    }
    cr_assert_eq(pt_across_choose(l.hosts, l.n, &err), 0, "%s", err.msg);
}

/* "1011": who is in. */
static void expect_in(const char *want)
{
    char got[HOSTS + 1] = "";
    for (uint32_t i = 0; i < l.n; i++)
        got[i] = l.hosts[i].in ? '1' : '0';
    cr_expect_str_eq(got, want);
    for (uint32_t i = 0; i < l.n; i++)
        if (l.hosts[i].in)
            cr_expect_str_eq(l.hosts[i].why, "");
}

Test(across, all_that_reach_each_other_by_their_first_address)
{
    start(4);
    choose();
    expect_in("1111");
    for (uint32_t i = 0; i < 4; i++) {
        cr_expect_eq(l.hosts[i].address.address, ADDRESS(i, 0));
        cr_expect_eq(l.hosts[i].address.prefix, 24);
    }
}

/* h2's first address is reached by h1 only, its second by h3 only: the third is what all have. */
Test(across, the_address_is_one_that_all_others_reached)
{
    start(3);
    l.cut[2][1][0] = l.cut[0][1][1] = true;
    choose();
    expect_in("111");
    cr_expect_eq(l.hosts[1].address.address, ADDRESS(1, 2));
    cr_expect_eq(l.hosts[0].address.address, ADDRESS(0, 0));
}

Test(across, who_is_not_reached_is_named_with_who_cannot_and_the_address)
{
    start(3);
    cut(0, 2);
    choose();
    expect_in("110");
    cr_expect_str_eq(l.hosts[2].why, "h1 cannot reach it (10.0.0.3); open TCP between them");
}

Test(across, who_does_not_reach_is_named_as_well)
{
    start(3);
    cut(2, 1);
    choose();
    expect_in("110");
    cr_expect_str_eq(l.hosts[2].why, "it cannot reach h2 (10.0.0.2); open TCP between them");
}

Test(across, two_that_do_not_reach_each_other_are_no_set)
{
    start(2);
    cut(0, 1);
    cut(1, 0);
    choose();
    expect_in("00");
    cr_expect_str_eq(l.hosts[0].why, "");
    cr_expect_str_eq(l.hosts[1].why, "h1 cannot reach it (10.0.0.2); open TCP between them");
}

/* This machine behind its router stands first in the list, and nobody reaches it. */
Test(across, the_first_of_the_list_may_be_the_one_that_is_left_out)
{
    start(3);
    cut(1, 0);
    cut(2, 0);
    choose();
    expect_in("011");
    cr_expect_str_eq(l.hosts[0].why, "h2 cannot reach it (10.0.0.1); open TCP between them");
}

Test(across, the_set_with_most_slots)
{
    start(5);
    for (uint32_t a = 0; a < 2; a++)
        for (uint32_t b = 2; b < 5; b++)
            cut(a, b);
    choose();
    expect_in("00111");
    l.hosts[0].slots = 64;
    choose();
    expect_in("11000");
}

Test(across, one_series_of_open_mpi)
{
    start(4);
    l.listening[1].mpi = (char *)"4.1.6rc1";
    l.listening[2].mpi = (char *)"5.0.3";
    l.listening[3].mpi = (char *)"4.10.0";
    choose();
    expect_in("1100");
    cr_expect_str_eq(l.hosts[2].why, "Open MPI 5.0 there, 4.1 on h1");
    cr_expect_str_eq(l.hosts[3].why, "Open MPI 4.10 there, 4.1 on h1");
}

Test(across, what_a_host_says_of_itself_must_make_sense)
{
    static const char *const odd[] = {"", "4", "4.", ".1", "four.one", "\033[31m4.1", "12345678901234567.1"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        start(3);
        l.listening[0].mpi = (char *)odd[i];
        choose();
        expect_in("011");
        cr_expect_str_eq(l.hosts[0].why, "no Open MPI was found there; name its mpirun by --mpirun");
    }
    start(4);
    l.listening[0].run_dir = (char *)"run";
    l.listening[3].worker = (char *)"";
    choose();
    expect_in("0110");
    cr_expect_str_eq(l.hosts[0].why, "it named no folder of its own");
}

Test(across, no_answer_and_no_address)
{
    start(5);
    l.hosts[0].listening = NULL;
    l.hosts[1].reached = NULL;
    l.listening[2].n = 0;
    choose();
    expect_in("00011");
    cr_expect_str_eq(l.hosts[0].why, "it did not say in time which hosts it reaches");
    cr_expect_str_eq(l.hosts[1].why, l.hosts[0].why);
    cr_expect_str_eq(l.hosts[2].why, "it has no IPv4 address that others could reach");
}

Test(across, who_was_not_asked_is_none_of_them)
{
    start(3);
    l.hosts[1].asked = false;
    choose();
    expect_in("101");
}

/* Its addresses are those of another host, which reaches it there: mpirun would take both for one node. */
Test(across, one_machine_under_two_names)
{
    start(3);
    memcpy(l.addresses[1], l.addresses[0], sizeof(l.addresses[0]));
    choose();
    expect_in("101");
    cr_expect_str_eq(l.hosts[1].why, "it is the same machine as h1 (10.0.0.1)");
}

/* A network that two machines have each for itself: who answers there is the machine itself. */
Test(across, an_address_that_two_machines_have)
{
    start(2);
    l.addresses[1][0] = l.addresses[0][0];
    l.cut[0][1][0] = l.cut[1][0][0] = true;
    choose();
    expect_in("11");
    cr_expect_eq(l.hosts[0].address.address, ADDRESS(0, 1));
    cr_expect_eq(l.hosts[1].address.address, ADDRESS(1, 1));
}

/* h3 is reached by h1 in one network, by h2 in another. */
Test(across, no_address_for_all)
{
    start(3);
    l.cut[0][2][0] = l.cut[0][2][2] = l.cut[1][2][1] = l.cut[1][2][2] = true;
    choose();
    expect_in("110");
    cr_expect_str_eq(l.hosts[2].why, "it has no address that both h1 and h2 reach");
    start(3);
    l.cut[2][0][0] = l.cut[1][0][1] = l.cut[1][0][2] = true;
    choose();
    expect_in("110");
    cr_expect_str_eq(l.hosts[2].why, "it reaches no address of h1 that the others do");
}

Test(across, reached_hosts_and_addresses_that_are_none)
{
    struct pt_reached_host lies[] = {{1, 0x01020304}, {0, ADDRESS(0, 0)}, {77, 1}, {PT_NONE, 1}};
    struct pt_reached liar = {.n = 4, .hosts = lies};
    start(2);
    choose();
    l.hosts[0].reached = &liar;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_across_choose(l.hosts, 2, &err), 0);
    expect_in("00");
    cr_expect_str_eq(l.hosts[1].why, "h1 cannot reach it (10.0.0.2); open TCP between them");
}

Test(across, all_addresses_that_a_host_may_name)
{
    static struct pt_address many[PT_ADDRESSES_MAX];
    static struct pt_reached_host last = {0, 7 + PT_ADDRESSES_MAX - 1};
    struct pt_reached one = {.n = 1, .hosts = &last};
    start(2);
    for (uint32_t i = 0; i < PT_ADDRESSES_MAX; i++)
        many[i] = (struct pt_address){7 + i, 8};
    choose();
    l.listening[0].addresses = many;
    l.listening[0].n = PT_ADDRESSES_MAX;
    l.hosts[1].reached = &one;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_across_choose(l.hosts, 2, &err), 0);
    expect_in("11");
    cr_expect_eq(l.hosts[0].address.address, 7 + PT_ADDRESSES_MAX - 1);
}

Test(across, nobody)
{
    start(0);
    choose();
    start(1);
    choose();
    expect_in("0");
    cr_expect_str_eq(l.hosts[0].why, "");
}
