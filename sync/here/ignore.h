/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: what .ptremoteignore at the top of a project leaves out, in the syntax of .gitignore. */
#include <stdbool.h>

struct pt_err;
struct pt_ignore;

#define PT_IGNORE_NAME ".ptremoteignore"

/* Read it in the folder `root`; *out is NULL when there is none. -1 when it cannot be read or has a line that
 * means nothing; the error names the line. */
int pt_ignore_read(int root, struct pt_ignore **out, struct pt_err *err);
void pt_ignore_destroy(struct pt_ignore *g);
/* True when the path, whose last part is `name`, is left out. A folder that is takes all below with it: do
 * not ask for that. */
bool pt_ignore_has(const struct pt_ignore *g, const char *path, const char *name, bool is_folder);
