# SPDX-License-Identifier: Apache-2.0
"""The rows of tests/bench/mpi are in mpi_rows.py."""
import mpi_rows
import whole

whole.main("mpi", "Measures runs of MPI tests against bare mpirun and pytest; prints one table.", mpi_rows.ROWS, "mpi4py")
