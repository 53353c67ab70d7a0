/* SPDX-License-Identifier: Apache-2.0 */
/* Which cpus a group gets. */
#include "remote/worker/cores.c"

#include "common/auto.h"
#include "common/err.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CPUS 16

/* `domains` of so many cpus each; `threads` cpus share a core, as the kernel often numbers them: the second
 * ones after all first ones. */
static struct pt_cores make(uint32_t domains, uint32_t each, uint32_t threads)
{
    struct pt_cores cores = {.cpus = calloc(CPUS, sizeof(*cores.cpus)), .n = domains * each};
    cr_assert(cores.cpus && cores.n <= CPUS);
    uint32_t real = cores.n / threads;
    for (uint32_t i = 0; i < cores.n; i++)
        cores.cpus[i] =
            (struct pt_cpu){.cpu = i, .core = i % real, .domain = (i % real) * domains / real, .owner = 0};
    return cores;
}

static uint32_t domain_of(const struct pt_cores *cores, uint32_t cpu)
{
    cr_assert_lt(cpu, cores->n);
    return cores->cpus[cpu].domain;
}

/* What it got is its own, and each once. */
static void expect(struct pt_cores *cores, uint32_t group, uint32_t n, bool alone, uint32_t *got)
{
    cr_assert(pt_cores_take(cores, group, n, alone, got), "group %u, %u cpus", group, n);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(cores->cpus[got[i]].owner, group);
        for (uint32_t k = 0; k < i; k++)
            cr_assert_neq(got[i], got[k]);
    }
}

static uint32_t count_owned(const struct pt_cores *cores, uint32_t group)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < cores->n; i++)
        n += cores->cpus[i].owner == group;
    return n;
}

Test(worker_cores, one_domain_when_it_fits)
{
    struct pt_cores cores = make(2, 4, 1);
    uint32_t a[CPUS], b[CPUS], c[CPUS];
    expect(&cores, 1, 2, false, a);
    cr_assert_eq(domain_of(&cores, a[0]), domain_of(&cores, a[1]));
    expect(&cores, 2, 3, false, b);
    for (int i = 0; i < 3; i++)
        cr_assert_neq(domain_of(&cores, b[i]), domain_of(&cores, a[0]), "two of four are taken there");
    expect(&cores, 3, 2, false, c);
    cr_assert(domain_of(&cores, c[0]) == domain_of(&cores, a[0]) &&
                  domain_of(&cores, c[1]) == domain_of(&cores, a[0]),
              "where they leave the fewest");
    pt_cores_fini(&cores);
}

Test(worker_cores, several_domains_when_none_fits)
{
    struct pt_cores cores = make(4, 2, 1);
    uint32_t a[CPUS], b[CPUS];
    expect(&cores, 1, 5, false, a);
    expect(&cores, 2, 3, false, b);
    cr_assert_not(pt_cores_take(&cores, 3, 1, false, b), "none is left");
    cr_assert_eq(count_owned(&cores, 3), 0);
    pt_cores_give(&cores, 1);
    cr_assert_eq(count_owned(&cores, 0), 5);
    expect(&cores, 3, 5, false, a);
    cr_assert_not(pt_cores_take(&cores, 4, 1, true, b));
    pt_cores_fini(&cores);
}

Test(worker_cores, what_does_not_fit_changes_nothing)
{
    struct pt_cores cores = make(1, 4, 1);
    uint32_t a[CPUS];
    cr_assert_not(pt_cores_take(&cores, 1, 5, false, a));
    cr_assert_eq(count_owned(&cores, 0), 4);
    struct pt_cores none = {0};
    cr_assert_not(pt_cores_take(&none, 1, 1, false, a));
    pt_cores_fini(&cores);
}

Test(worker_cores, a_domain_alone)
{
    struct pt_cores cores = make(2, 4, 1);
    uint32_t a[CPUS], b[CPUS];
    expect(&cores, 1, 2, true, a);
    cr_assert_eq(count_owned(&cores, 1), 4, "all of it");
    expect(&cores, 2, 4, false, b);
    cr_assert_not(pt_cores_take(&cores, 3, 1, false, b), "nobody else comes in");
    pt_cores_give(&cores, 2);
    expect(&cores, 2, 1, false, b);
    expect(&cores, 3, 2, true, b);
    cr_assert_eq(count_owned(&cores, 3), 2, "no domain is free: as otherwise");
    for (uint32_t group = 1; group < 4; group++)
        pt_cores_give(&cores, group);
    expect(&cores, 4, 6, true, a);
    cr_assert_eq(count_owned(&cores, 4), 8);
    pt_cores_fini(&cores);
}

Test(worker_cores, threads_of_one_core_come_last)
{
    struct pt_cores cores = make(1, 8, 2);
    uint32_t a[CPUS], b[CPUS], c[CPUS];
    expect(&cores, 1, 2, false, a);
    expect(&cores, 2, 2, false, b);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t used = 0;
        for (uint32_t k = 0; k < 8; k++)
            used += cores.cpus[k].core == i && cores.cpus[k].owner;
        cr_assert_eq(used, 1, "core %u", i);
    }
    expect(&cores, 3, 4, false, c);
    pt_cores_fini(&cores);
}

/* --- reading --- */

static void mark(void *arg, uint32_t cpu)
{
    bool *seen = arg;
    cr_assert_lt(cpu, 64);
    seen[cpu] = true;
}

Test(worker_cores, lists)
{
    static const char text[] = "0-2,5,8-9,63-70\n";
    bool seen[64] = {false};
    cr_assert(pt_cores_list(text, 64, mark, seen));
    for (uint32_t i = 0; i < 64; i++)
        cr_assert_eq(seen[i], i <= 2 || i == 5 || i == 8 || i == 9 || i == 63, "%u", i);
    cr_assert(pt_cores_list("\n", 64, mark, seen) && pt_cores_list("", 64, mark, seen));
    const char *const wrong[] = {"-1", "1-", "3-1", "1,,2", " 1", "1 2", "x", "1-2-3", "0x3", "1;2"};
    for (size_t i = 0; i < PT_COUNT(wrong); i++)
        cr_assert_not(pt_cores_list(wrong[i], 64, mark, seen), "%s", wrong[i]);
    cr_assert(pt_cores_list("0-99999999999999999999", 64, mark, seen), "bounded");
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    for (char *slash = path + strlen(dir); (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

Test(worker_cores, what_this_process_may_use)
{
    struct pt_cores cores;
    struct pt_err err = PT_ERR_INIT;
    char dir[] = "/tmp/pt-cores-XXXXXX", name[96], list[32], command[64];
    cpu_set_t set;
    cr_assert(mkdtemp(dir));
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    cr_assert_eq(pt_cores_read(&cores, dir, &err), 0, "%s", err.msg);
    cr_assert_eq(cores.n, (uint32_t)CPU_COUNT(&set));
    uint32_t first = cores.cpus[0].cpu, last = cores.cpus[cores.n - 1].cpu;
    for (uint32_t i = 0; i < cores.n; i++)
        cr_assert(CPU_ISSET(cores.cpus[i].cpu, &set) && cores.cpus[i].core == cores.cpus[i].cpu &&
                  cores.cpus[i].domain == PT_CORES_UNKNOWN);
    pt_cores_fini(&cores);

    put(dir, "devices/system/node/online", "3\n");
    snprintf(list, sizeof(list), "%u-%u\n", first, last);
    put(dir, "devices/system/node/node3/cpulist", list);
    snprintf(name, sizeof(name), "devices/system/cpu/cpu%u/topology/thread_siblings_list", last);
    snprintf(list, sizeof(list), "%u,%u\n", first, last);
    put(dir, name, list);
    cr_assert_eq(pt_cores_read(&cores, dir, &err), 0, "%s", err.msg);
    for (uint32_t i = 0; i < cores.n; i++)
        cr_assert_eq(cores.cpus[i].domain, 3);
    cr_assert_eq(cores.cpus[cores.n - 1].core, first);
    pt_cores_fini(&cores);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}
