/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* known_hosts files as sshd(8) describes them: hashed names, [host]:port, patterns, negation, markers. */
#include "remote/sshconfig.h"

#include <stdbool.h>
#include <stddef.h>

struct pt_err;

/* Whom a key is looked up for: an alias stands alone, else host (lower case) and port. */
struct pt_knownname {
    const char *host;
    int port;    /* 22, or 0 for an alias: the plain name */
    bool hashed; /* how pt_knownhosts_add writes it */
};

enum pt_known {
    PT_KNOWN_OK,
    PT_KNOWN_UNKNOWN,   /* no line for this host */
    PT_KNOWN_CHANGED,   /* another key of this type is there: file, line */
    PT_KNOWN_OTHER,     /* only keys of other types are there: file, line */
    PT_KNOWN_REVOKED,   /* the key is revoked: file, line */
    PT_KNOWN_AUTHORITY, /* only a @cert-authority line is there: file, line */
    PT_KNOWN_UNREAD,    /* what a file says cannot be known, now: file, why */
};

struct pt_knownwhere {
    const char *file; /* borrowed from the list of files */
    unsigned line;
    int why; /* errno */
};

/* `key` is the public key as it goes over the wire. Files that are missing, or not for this user, count as
 * empty; where (may be NULL) says which line decided. */
enum pt_known pt_knownhosts_check(const struct pt_strings *files, const struct pt_knownname *name,
                                  const void *key, size_t n, struct pt_knownwhere *where);
/* The types of the keys known for the host, each once, comma separated; "" for none. */
void pt_knownhosts_types(const struct pt_strings *files, const struct pt_knownname *name, char *out,
                         size_t size);
/* Append a line for the key unless the host is known by now; makes the file (0600) and its folder (0700).
 * Safe among threads and processes. -1 with err. */
int pt_knownhosts_add(const char *file, const struct pt_knownname *name, const void *key, size_t n,
                      struct pt_err *err);

/* How the host is written in such a file: "host" or "[host]:port". */
void pt_knownname_text(const struct pt_knownname *name, char *out, size_t size);
/* The type at the front of a key as it goes over the wire; false when it has none or a strange one. */
bool pt_key_type(const void *key, size_t n, char *out, size_t size);
