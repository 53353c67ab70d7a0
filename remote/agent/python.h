/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The fork server: Python with pytest imported, started before anyone needs it, from which runners are
 * forked. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pt_agent;
struct pt_environ;
struct pt_err;
struct pt_python;

struct pt_python *pt_python_create(struct pt_agent *a, struct pt_err *err);
void pt_python_destroy(struct pt_python *python);
/* Start it when package and environment are there, and it does not run. One that died is started again once
 * `wanted` (workers are to be launched). */
void pt_python_advance(struct pt_python *python, bool wanted);
pid_t pt_python_pid(const struct pt_python *python);
bool pt_python_reaped(struct pt_python *python, pid_t pid, int status);

/* --python, or python3, on this host. Heap; NULL with err and hint. */
char *pt_python_find(const struct pt_agent *a, struct pt_err *err);
/* The suite's environment as Python gets it: seed, bytecode folder, what tests may ask for. */
void pt_python_environ(const struct pt_agent *a, const char *program, struct pt_environ *env);
