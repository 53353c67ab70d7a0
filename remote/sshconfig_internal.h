/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by sshconfig.c (reading) and sshexpand.c (defaults and tokens). */
#include "remote/sshconfig.h"

#include <pwd.h>

/* The user as the password file has them. */
struct pt_sshself {
    char *home, *login;
};
int pt_sshself_init(struct pt_sshself *self, struct pt_err *err);
void pt_sshself_fini(struct pt_sshself *self);

/* Put a directory before a relative path; ~ and ~/ at the front become the home. NULL when memory ends. */
char *pt_sshpath(const char *path, const char *home, const char *base);
/* Replace %h (and %%) in a HostName. NULL with err. */
char *pt_sshexpand_host(const char *text, const char *host, struct pt_err *err);
/* Fill in defaults and replace all tokens. */
int pt_sshconfig_resolve(struct pt_sshconfig *conf, const struct pt_sshquery *query,
                         const struct pt_sshself *self, struct pt_err *err);
