/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/world.h"

#include <mpi.h>
#include <signal.h>

void pt_world_start(int *argc, char ***argv, int *rank, int *size)
{
    static const int crashes[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTERM};
    MPI_Init(argc, argv); /* errors end the process here, with MPI's own words */
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    for (unsigned i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
        signal(crashes[i], SIG_DFL);
}

void pt_world_end(void)
{
    MPI_Finalize();
}

#ifdef __has_feature
#define HAS_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#else
#define HAS_ASAN 0
#endif

#if HAS_ASAN
/* What leaks here is Open MPI's, and its threads may end while the leak checker looks at them. */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return 1;
}
#endif
