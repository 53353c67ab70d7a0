/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/crew.h"

#include <sched.h>
#include <signal.h>

unsigned pt_crew_size(void)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    int n = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : PT_CREW_MAX;
    return n < 1 ? 1 : n > PT_CREW_MAX ? PT_CREW_MAX : (unsigned)n;
}

static void *run(void *arg)
{
    const struct pt_crew_task *t = arg;
    t->fn(t->arg, t->number);
    return NULL;
}

void pt_crew_start(struct pt_crew *crew, unsigned size, void (*fn)(void *arg, unsigned number), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    crew->n = 0;
    for (unsigned i = 1; i < size && i < PT_CREW_MAX; i++) {
        crew->task[crew->n] = (struct pt_crew_task){fn, arg, i};
        if (pthread_create(&crew->thread[crew->n], NULL, run, &crew->task[crew->n]) != 0)
            break;
        crew->n++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pt_crew_join(struct pt_crew *crew)
{
    while (crew->n)
        pthread_join(crew->thread[--crew->n], NULL);
}
