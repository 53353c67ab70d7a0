/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The project and the person here: where the tree begins, where state is kept, what of the environment goes
 * along, and the terminal that can be asked. */
#include "common/message.h"
#include "options.h"

#include <stdatomic.h>

struct pt_err;

/* The top folder: --project, else the git checkout around the working directory (heap); NULL without an error
 * when there is none, NULL with err when --project is no folder, or memory ends. */
char *pt_project_find(const char *option, struct pt_err *err);
/* Refuses to take "/" or the home folder for a project unless it was asked for (`explicit`). */
int pt_project_check(const char *root, bool explicit_root, struct pt_err *err);
/* ROOT/.ptremote, or the option (heap, absolute). */
char *pt_project_state(const char *root, const char *option);
/* Where the record of runs is that a command started here means: --state-dir, else that of the project, else
 * of the nearest folder upwards that has one (heap). project: --project; NULL with err when there is none. */
char *pt_project_state_here(const char *project, const char *state_dir, struct pt_err *err);
/* Name of the workspace on hosts: readable, and apart for every folder of every machine (heap). */
char *pt_project_key(const char *root);
/* The working directory below root, "" for its top or when it is elsewhere (heap). */
char *pt_project_cwd(const char *root);
/* What tests get of the environment here: LANG, LC_*, TZ, PYTEST_ADDOPTS and --env (heap). */
struct pt_env *pt_project_env(const struct pt_words *option, uint32_t *n);
void pt_project_env_free(struct pt_env *env, uint32_t n);
/* The Python package, unpacked below the user's cache folder (or state_dir when given); its path (heap). */
char *pt_project_package(const char *state_dir, struct pt_err *err);
/* Ask on /dev/tty; -1 when there is none, it was given up, or *cancel became non-zero. */
int pt_project_ask(const char *host, const char *prompt, bool echo, char *answer, size_t size,
                   const atomic_int *cancel);
