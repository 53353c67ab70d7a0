/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command of a run, kept for --resume. */
#include "options.h"

struct pt_err;

/* The words behind the program's name as a JSON array, to be recorded (heap); NULL when memory ends. */
char *pt_resume_words(int argc, char *const *argv);
/* opts, parsed from argv, say --resume: finds that run, and makes of opts its command with what argv gives
 * besides, in the folder where it was given. *root is the top of its tree, *words its command now, for the
 * record (both heap). Refuses a run that goes on, that is complete, or cannot be resumed. */
int pt_resume_options(int argc, char *const *argv, struct pt_options *opts, char **root, char **words,
                      struct pt_err *err);
