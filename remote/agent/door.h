/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A socket of this run's folder at which only workers of the launch that runs are let in. */
#include "common/loop.h"

#include <sys/types.h>

struct pt_agent;
struct pt_err;

/* Listens at RUNDIR/name (0600); the loop calls accept. The descriptor, -1 with err. */
int pt_door_open(const struct pt_agent *a, const char *name, pt_fd_fn *accept, void *arg, struct pt_err *err);
/* The process at the other end, if it is this user's; -1 with err, which `what` begins. */
pid_t pt_door_peer(int fd, const char *what, struct pt_err *err);
/* -1 unless the process at the other end is this user's, and below mpirun (0: nobody is). */
int pt_door_check(int fd, pid_t mpirun, const char *what, struct pt_err *err);
