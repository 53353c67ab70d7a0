/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The cpus this process may use, the NUMA domain each belongs to, and which group has it now. Pure, but for
 * pt_cores_read. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_err;

struct pt_cpu {
    uint32_t cpu;    /* as the kernel numbers it */
    uint32_t domain; /* NUMA; PT_CORES_UNKNOWN: no domain names it */
    uint32_t core;   /* those of one core share it: the lowest of them */
    uint32_t owner;  /* a group, or 0 */
};
#define PT_CORES_UNKNOWN 0xffffffffu

struct pt_cores {
    struct pt_cpu *cpus;
    uint32_t n;
};

/* sys: the folder that holds devices/system, "/sys" but in tests. What cannot be read there leaves all cpus
 * in one domain, each a core of its own. */
int pt_cores_read(struct pt_cores *cores, const char *sys, struct pt_err *err);
void pt_cores_fini(struct pt_cores *cores);
/* "0-3,8": calls add for each number below `limit`. False when that is no such list. */
bool pt_cores_list(const char *text, uint32_t limit, void (*add)(void *arg, uint32_t cpu), void *arg);

/* n cpus that nobody has, for this group, into out: of one domain when it fits, the one where they leave the
 * fewest, and of cores that nobody uses while there are any. alone: of as many domains that are wholly free
 * as it takes, all of which the group then has; as otherwise where there are too few. False when fewer than n
 * are free. */
bool pt_cores_take(struct pt_cores *cores, uint32_t group, uint32_t n, bool alone, uint32_t *out);
void pt_cores_give(struct pt_cores *cores, uint32_t group);
