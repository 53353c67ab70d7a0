/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Asking the person at the terminal: one question at a time, each secret asked for once in a program run. */
#include "remote/sshdial.h"
#include "remote/transport.h"

#define PT_SECRET_MAX 512

/* Who asks; how many questions were put to the person, and how long they took, so far. */
struct pt_asker {
    const struct pt_transport_options *options;
    const char *host; /* the target as the user wrote it */
    bool batch;       /* BatchMode: never ask */
    unsigned asked;
    int64_t asked_ms;
};

bool pt_can_ask(const struct pt_asker *asker);
/* One question, nothing remembered. -1: nobody can be asked, they gave up, or cancelled. */
int pt_ask(struct pt_asker *asker, const char *prompt, bool echo, char answer[PT_SECRET_MAX]);

/* A secret that many lanes need (a key's passphrase, by its file). The first lane asks, the others wait and
 * get the same; `check` says whether it is right and is called under the lock. A person who gave up, or was
 * wrong `tries` times, is not asked for it again. 0 with the secret in answer, -1 without. */
int pt_ask_once(struct pt_asker *asker, const char *name, const char *prompt, int tries,
                bool (*check)(void *arg, const char *secret), void *arg, char answer[PT_SECRET_MAX]);
/* Remember a secret that turned out right (a password, for connecting again), or look one up. */
void pt_secret_keep(const char *name, const char *secret);
int pt_secret_find(const char *name, char answer[PT_SECRET_MAX]);
/* Overwrites all secrets; also done at exit. */
void pt_secret_wipe(void);
