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
