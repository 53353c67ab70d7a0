/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The OpenSSH client configuration (ssh_config(5)) for one host: first value wins, as `ssh -G` answers.
 * Keywords that do not concern us are skipped. `Match exec` is never run: such a block does not match. */
#include <stdbool.h>
#include <stddef.h>

struct pt_err;

struct pt_strings {
    char **items;
    size_t n;
};

enum pt_strict { PT_STRICT_ASK, PT_STRICT_YES, PT_STRICT_NO, PT_STRICT_ACCEPT_NEW };
enum pt_family { PT_FAMILY_ANY, PT_FAMILY_INET, PT_FAMILY_INET6 };

/* Everything resolved: tokens and ~ replaced, defaults filled in. Absent strings are NULL. */
struct pt_sshconfig {
    char *hostname; /* lower case when it came from the command line, as in ssh */
    char *user;
    int port;
    struct pt_strings identity_files, certificate_files;
    struct pt_strings user_known_hosts, global_known_hosts;
    char *host_key_alias;
    char *proxy_jump;     /* NULL for none */
    char *proxy_command;  /* NULL for none */
    char *identity_agent; /* path of the socket; "none": no agent; NULL: SSH_AUTH_SOCK */
    int strict;           /* enum pt_strict */
    int family;           /* enum pt_family */
    int connect_timeout;  /* seconds, 0: not set */
    int identities_only, batch_mode, hash_known_hosts;
    int pubkey, password, kbdint; /* which ways to log in are allowed */
    int prompts;                  /* how often to ask for a password */
};

/* Who is asked for. user and port as pt_target has them (NULL, 0: not given). */
struct pt_sshquery {
    const char *file; /* replaces both files, as `ssh -F`; NULL: ~/.ssh/config and /etc/ssh/ssh_config */
    const char *host;
    const char *user;
    int port;
};

/* 0, or -1 with err naming file and line. out is to be finished by pt_sshconfig_fini either way. */
int pt_sshconfig_read(const struct pt_sshquery *query, struct pt_sshconfig *out, struct pt_err *err);
void pt_sshconfig_fini(struct pt_sshconfig *conf);

/* -1 when memory ends. */
int pt_strings_add(struct pt_strings *list, const char *text);
void pt_strings_fini(struct pt_strings *list);

/* Split one line as ssh does: quotes, backslashes, # starts a comment. -1 on an open quote. */
int pt_sshwords(const char *line, struct pt_strings *out);

/* One hop of ProxyJump: [ssh://][user@]host[:port], the host in brackets if it holds colons. The texts are in
 * `store` (cut in place). -1 when it does not parse. */
struct pt_sshhop {
    char store[512];
    const char *user; /* or NULL */
    const char *host;
    int port; /* or 0 */
};
int pt_sshhop_parse(const char *text, size_t n, struct pt_sshhop *out);
