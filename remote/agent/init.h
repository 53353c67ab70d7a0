/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The suite's environment: the login's, what --init leaves behind, and on top what the master sent. */
#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_init;

#define PT_INIT_MS 60000 /* --init has so long */

/* Starts --init if there is one and something will be started, else the environment is ready at once. */
struct pt_init *pt_init_create(struct pt_agent *a, struct pt_err *err);
void pt_init_destroy(struct pt_init *init);
/* The process, 0 when none runs. */
pid_t pt_init_pid(const struct pt_init *init);
bool pt_init_reaped(struct pt_init *init, pid_t pid, int status);

/* The role `printenv FILE`: writes this process's environment to FILE, NUL after each entry. */
int pt_init_print(const char *file);
