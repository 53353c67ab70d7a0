/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which keys to offer, and in which order: OpenSSH's own (certificates, agent keys that the configuration
 * names, other agent keys, key files). Knows files and blobs, no connection. */
#include "remote/sshconfig.h"

#include <stdbool.h>
#include <stddef.h>

struct pt_blob {
    unsigned char *data;
    size_t n;
};
bool pt_blob_equal(const struct pt_blob *a, const struct pt_blob *b);
int pt_blob_set(struct pt_blob *blob, const void *data, size_t n);
void pt_blob_fini(struct pt_blob *blob);

/* The public keys and certificates that an ssh-agent says it can sign with. */
struct pt_agentkeys {
    struct pt_blob *items;
    size_t n;
};
void pt_agentkeys_fini(struct pt_agentkeys *keys);

/* One thing to offer. */
struct pt_sshkey {
    char *path;           /* the private key's file; NULL: only the agent has it */
    char *cert;           /* the certificate's file, or NULL */
    struct pt_blob offer; /* as it goes over the wire; empty: not known before the file is decrypted */
    struct pt_blob held;  /* in_agent: by which name the agent knows the private key */
    bool in_agent, encrypted;
};

struct pt_sshkeys {
    struct pt_sshkey *items;
    size_t n;
    char skipped[256]; /* the last file that was passed over for a reason worth telling, or "" */
};

/* agent may be NULL. -1 when memory ends; out is to be finished either way. */
int pt_sshkeys_plan(const struct pt_sshconfig *conf, const struct pt_agentkeys *agent,
                    struct pt_sshkeys *out);
void pt_sshkeys_fini(struct pt_sshkeys *keys);

enum pt_keyfile { PT_KEYFILE_NONE, PT_KEYFILE_PUBLIC, PT_KEYFILE_PRIVATE };

/* What is in a key file, at most 64 KB of it. The text is secret: pt_keyfile_fini overwrites it. */
struct pt_keytext {
    enum pt_keyfile kind;
    bool encrypted, open_to_others;
    bool starved;          /* memory ended: it may be more than it seems */
    struct pt_blob public; /* empty when the file does not show it */
    char *text;
    size_t n;
};
int pt_keyfile_load(const char *path, struct pt_keytext *out);
void pt_keyfile_fini(struct pt_keytext *key);
/* The plain public key inside a certificate; false when it is not one. */
bool pt_cert_key(const struct pt_blob *cert, struct pt_blob *out);
