/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the worker asks of MPI: who it is among the ranks, and a common end. Nothing passes through MPI. */

/* Joins the job. Signal handlers that MPI put in are taken out again: a crash here is a plain crash. */
void pt_world_start(int *argc, char ***argv, int *rank, int *size);
/* Waits for every rank. Busily: call it only when all ranks are about to. */
void pt_world_end(void);
