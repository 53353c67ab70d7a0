/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `ptremote clean`: removes what ptremote keeps on hosts, as far as no run uses it. */
#include <stdbool.h>

struct pt_err;

/* Is this first argument the command? */
bool pt_clean_is(const char *word);
/* argv[0] is the command. Prints a line for each host. The exit code, or -1 with err. */
int pt_clean(int argc, char *const *argv, struct pt_err *err);
