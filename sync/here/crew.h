/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A few threads that do one thing together. */
#include <pthread.h>

#define PT_CREW_MAX 4

/* How many threads are worth having here: one a core, at most PT_CREW_MAX. */
unsigned pt_crew_size(void);

struct pt_crew {
    unsigned n; /* helpers that run */
    pthread_t thread[PT_CREW_MAX];
    struct pt_crew_task {
        void (*fn)(void *arg, unsigned number);
        void *arg;
        unsigned number;
    } task[PT_CREW_MAX];
};

/* Start helpers 1 to size - 1; the caller is number 0 and runs fn itself. They take no signals. Fewer run
 * when the system gives no more. */
void pt_crew_start(struct pt_crew *crew, unsigned size, void (*fn)(void *arg, unsigned number), void *arg);
/* Wait until all have returned. */
void pt_crew_join(struct pt_crew *crew);
