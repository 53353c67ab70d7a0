/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/cores.h"

#include "common/auto.h"
#include "common/err.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPUS_MAX 8192u

/* --- reading --- */

bool pt_cores_list(const char *text, uint32_t limit, void (*add)(void *arg, uint32_t cpu), void *arg)
{
    const char *p = text;
    while (*p && *p != '\n') {
        char *end;
        if (*p < '0' || *p > '9')
            return false;
        unsigned long first = strtoul(p, &end, 10), last = first;
        if (*end == '-' && end[1] >= '0' && end[1] <= '9')
            last = strtoul(end + 1, &end, 10);
        if (last < first || (*end && *end != ',' && *end != '\n'))
            return false;
        for (unsigned long cpu = first; cpu <= last && cpu < limit; cpu++)
            add(arg, (uint32_t)cpu);
        p = *end == ',' ? end + 1 : end;
    }
    return true;
}

struct place {
    struct pt_cores *cores;
    const char *sys;
    uint32_t domain, core;
};

static struct pt_cpu *find(const struct pt_cores *cores, uint32_t cpu)
{
    for (uint32_t i = 0; i < cores->n; i++)
        if (cores->cpus[i].cpu == cpu)
            return &cores->cpus[i];
    return NULL;
}

static void put_domain(void *arg, uint32_t cpu)
{
    const struct place *place = arg;
    struct pt_cpu *c = find(place->cores, cpu);
    if (c)
        c->domain = place->domain;
}

static void put_core(void *arg, uint32_t cpu)
{
    struct place *place = arg;
    if (cpu < place->core)
        place->core = cpu;
}

/* A list of numbers in a file below sys; false when it is not there. */
static bool read_list(const char *path, void (*add)(void *arg, uint32_t cpu), void *arg)
{
    char text[4096];
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0)
        return false;
    text[n] = '\0';
    return pt_cores_list(text, CPUS_MAX, add, arg);
}

static void read_domain(void *arg, uint32_t domain)
{
    const struct place *all = arg;
    struct place one = {.cores = all->cores, .domain = domain};
    char path[512];
    snprintf(path, sizeof(path), "%s/devices/system/node/node%u/cpulist", all->sys, domain);
    read_list(path, put_domain, &one);
}

static void read_places(struct pt_cores *cores, const char *sys)
{
    char path[512];
    struct place all = {.cores = cores, .sys = sys};
    snprintf(path, sizeof(path), "%s/devices/system/node/online", sys);
    read_list(path, read_domain, &all);
    for (uint32_t i = 0; i < cores->n; i++) {
        struct place place = {.core = cores->cpus[i].cpu};
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%u/topology/thread_siblings_list", sys,
                 cores->cpus[i].cpu);
        read_list(path, put_core, &place);
        cores->cpus[i].core = place.core;
    }
}

int pt_cores_read(struct pt_cores *cores, const char *sys, struct pt_err *err)
{
    *cores = (struct pt_cores){0};
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    cores->cpus = calloc(CPUS_MAX, sizeof(*cores->cpus));
    if (!set || !cores->cpus || sched_getaffinity(0, size, set) < 0) {
        pt_err_set(err, "which cpus may be used: %s", strerror(errno));
        CPU_FREE(set);
        pt_cores_fini(cores);
        return -1;
    }
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++)
        if (CPU_ISSET_S(cpu, size, set))
            cores->cpus[cores->n++] = (struct pt_cpu){.cpu = cpu, .domain = PT_CORES_UNKNOWN, .core = cpu};
    CPU_FREE(set);
    read_places(cores, sys);
    return 0;
}

void pt_cores_fini(struct pt_cores *cores)
{
    free(cores->cpus);
    *cores = (struct pt_cores){0};
}

/* --- choosing --- */

struct domain {
    uint32_t number, all, free;
};

/* The domains there are, each once; how many. */
static uint32_t list_domains(const struct pt_cores *cores, struct domain *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < cores->n; i++) {
        uint32_t k = 0;
        while (k < n && out[k].number != cores->cpus[i].domain)
            k++;
        if (k == n)
            out[n++] = (struct domain){.number = cores->cpus[i].domain};
        out[k].all++;
        out[k].free += cores->cpus[i].owner == 0;
    }
    return n;
}

static bool core_is_idle(const struct pt_cores *cores, uint32_t core)
{
    for (uint32_t i = 0; i < cores->n; i++)
        if (cores->cpus[i].core == core && cores->cpus[i].owner)
            return false;
    return true;
}

/* Up to n free cpus of a domain, those of idle cores first; how many. */
static uint32_t take_of(struct pt_cores *cores, uint32_t group, uint32_t domain, uint32_t n, uint32_t *out)
{
    uint32_t taken = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < cores->n && taken < n; i++) {
            struct pt_cpu *c = &cores->cpus[i];
            if (c->domain != domain || c->owner || (pass == 0 && !core_is_idle(cores, c->core)))
                continue;
            c->owner = group;
            out[taken++] = c->cpu;
        }
    return taken;
}

static void own_all(struct pt_cores *cores, uint32_t group, uint32_t domain)
{
    for (uint32_t i = 0; i < cores->n; i++)
        if (cores->cpus[i].domain == domain)
            cores->cpus[i].owner = group;
}

/* Where n leave the fewest free; none: where the most are free. NULL when nothing is. whole: only where all
 * are free. */
static struct domain *choose(struct domain *domains, uint32_t count, uint32_t n, bool whole)
{
    struct domain *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct domain *d = &domains[i];
        if (!d->free || (whole && d->free < d->all))
            continue;
        bool fits = d->free >= n, best_fits = best && best->free >= n;
        if (!best || (fits && !best_fits) ||
            (fits == best_fits && (fits ? d->free < best->free : d->free > best->free)))
            best = d;
    }
    return best;
}

static uint32_t sum_free(const struct domain *domains, uint32_t count, bool whole)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += whole && domains[i].free < domains[i].all ? 0 : domains[i].free;
    return n;
}

bool pt_cores_take(struct pt_cores *cores, uint32_t group, uint32_t n, bool alone, uint32_t *out)
{
    struct domain *domains = calloc(cores->n + 1, sizeof(*domains));
    uint32_t count = domains ? list_domains(cores, domains) : 0, taken = 0;
    if (sum_free(domains, count, false) < n) {
        free(domains);
        return false;
    }
    alone = alone && sum_free(domains, count, true) >= n;
    while (taken < n) {
        struct domain *d = choose(domains, count, n - taken, alone);
        taken += take_of(cores, group, d->number, n - taken, out + taken);
        if (alone)
            own_all(cores, group, d->number);
        d->free = 0;
    }
    free(domains);
    return true;
}

void pt_cores_give(struct pt_cores *cores, uint32_t group)
{
    for (uint32_t i = 0; i < cores->n; i++)
        if (cores->cpus[i].owner == group)
            cores->cpus[i].owner = 0;
}
