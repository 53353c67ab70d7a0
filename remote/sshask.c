/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/sshask.h"

#include "common/loop.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_SECRETS 64
#define ASK_MS      50 /* how long anybody sleeps before looking whether the terminal is free */

/* Lives in locked pages that core files leave out. */
struct secret {
    char name[256]; /* "": free */
    char text[PT_SECRET_MAX];
    bool refused; /* the person gave up on it */
};

static pthread_mutex_t terminal = PTHREAD_MUTEX_INITIALIZER; /* held while a person types */
static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct secret *secrets;

static bool lock_terminal(const struct pt_asker *asker)
{
    while (!asker->options->cancel || !*asker->options->cancel) {
        if (pthread_mutex_trylock(&terminal) == 0)
            return true;
        poll(NULL, 0, ASK_MS);
    }
    return false;
}

/* --- secrets; all with secrets_lock held --- */

static struct secret *secrets_get(void)
{
    if (secrets)
        return secrets;
    size_t size = MAX_SECRETS * sizeof(*secrets);
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        return NULL;
    mlock(mem, size);
    madvise(mem, size, MADV_DONTDUMP);
    madvise(mem, size, MADV_WIPEONFORK);
    secrets = mem;
    atexit(pt_secret_wipe);
    return secrets;
}

static struct secret *secret_of(const char *name, bool make)
{
    struct secret *all = secrets_get();
    for (size_t i = 0; all && i < MAX_SECRETS; i++)
        if (!strcmp(all[i].name, name))
            return &all[i];
    for (size_t i = 0; make && all && i < MAX_SECRETS; i++)
        if (!all[i].name[0] && strlen(name) < sizeof(all[i].name)) {
            strcpy(all[i].name, name);
            return &all[i];
        }
    return NULL;
}

static void set_secret(const char *name, const char *text, bool refused)
{
    pthread_mutex_lock(&secrets_lock);
    struct secret *s = secret_of(name, true);
    if (s) {
        explicit_bzero(s->text, sizeof(s->text));
        snprintf(s->text, sizeof(s->text), "%s", text);
        s->refused = refused;
    }
    pthread_mutex_unlock(&secrets_lock);
}

/* 1 found, 0 not there, -1 refused. */
static int get_secret(const char *name, char answer[PT_SECRET_MAX])
{
    pthread_mutex_lock(&secrets_lock);
    struct secret *s = secret_of(name, false);
    int rc = !s ? 0 : s->refused ? -1 : 1;
    if (rc == 1)
        memcpy(answer, s->text, PT_SECRET_MAX);
    pthread_mutex_unlock(&secrets_lock);
    return rc;
}

void pt_secret_keep(const char *name, const char *secret)
{
    set_secret(name, secret, false);
}

int pt_secret_find(const char *name, char answer[PT_SECRET_MAX])
{
    return get_secret(name, answer) == 1 ? 0 : -1;
}

void pt_secret_wipe(void)
{
    pthread_mutex_lock(&secrets_lock);
    if (secrets)
        explicit_bzero(secrets, MAX_SECRETS * sizeof(*secrets));
    pthread_mutex_unlock(&secrets_lock);
}

/* --- questions --- */

bool pt_can_ask(const struct pt_asker *asker)
{
    return asker->options->ask && !asker->batch;
}

static int ask(struct pt_asker *asker, const char *prompt, bool echo, char answer[PT_SECRET_MAX])
{
    int64_t start = pt_now_ms();
    asker->asked++;
    explicit_bzero(answer, PT_SECRET_MAX);
    int rc = asker->options->ask(asker->options->arg, asker->host, prompt, echo, answer, PT_SECRET_MAX);
    answer[PT_SECRET_MAX - 1] = '\0';
    asker->asked_ms += pt_now_ms() - start;
    return rc < 0 ? -1 : 0;
}

int pt_ask(struct pt_asker *asker, const char *prompt, bool echo, char answer[PT_SECRET_MAX])
{
    int64_t start = pt_now_ms();
    if (!pt_can_ask(asker) || !lock_terminal(asker))
        return -1;
    asker->asked_ms += pt_now_ms() - start;
    int rc = ask(asker, prompt, echo, answer);
    pthread_mutex_unlock(&terminal);
    return rc;
}

int pt_ask_once(struct pt_asker *asker, const char *name, const char *prompt, int tries,
                bool (*check)(void *arg, const char *secret), void *arg, char answer[PT_SECRET_MAX])
{
    int64_t start = pt_now_ms();
    if (!lock_terminal(asker))
        return -1;
    asker->asked_ms += pt_now_ms() - start;
    int rc = get_secret(name, answer);
    if (rc == 1 && !check(arg, answer))
        rc = 0;
    for (int i = 0; rc == 0 && pt_can_ask(asker) && i <= tries; i++) {
        if (i == tries || ask(asker, prompt, false, answer) < 0) {
            set_secret(name, "", true);
            rc = -1;
        } else if (check(arg, answer)) {
            set_secret(name, answer, false);
            rc = 1;
        }
    }
    pthread_mutex_unlock(&terminal);
    return rc == 1 ? 0 : -1;
}
