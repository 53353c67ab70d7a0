/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The commands on recorded runs, also while one goes on: runs, show, report and history only read, attach
 * follows what a detached one prints, stop ends one, add-host and drain-host ask its master for something. */
#include "options_table.h"

/* Is this first argument one of the commands? */
bool pt_records_is(const char *word);
/* argv[0] is the command. The exit code, or -1 with err. */
int pt_records(int argc, char *const *argv, struct pt_err *err);

/* Each with its arguments, for help, man page and completion; up to one with term NULL. */
extern const struct pt_option_note pt_record_notes[];
/* The options of all of them, for completion. */
void pt_records_print_words(void);
