/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Ends processes below this one, whatever they did to hide: this process must be their subreaper. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A process that is left alone; with `below` all its descendants too. pid 0 is nobody. */
struct pt_spared {
    pid_t pid;
    bool below;
};

/* SIGKILL to every descendant of this process but those spared. How many were there, 0: none is left; -1
 * with errno when /proc cannot be read. */
int pt_sweep_round(const struct pt_spared *spared, size_t nspared);
/* The same to those descendants that are of that session (see setsid(2)). */
int pt_sweep_session(pid_t session);
/* That signal to the children of a process, 0: to none. How many live, -1 as above. */
int pt_sweep_children(pid_t parent, int sig);
/* Rounds, and reaping, until nothing is left below this process or max_ms are over. 0 or -1. */
int pt_sweep_all(int max_ms);
/* True when pid is `ancestor` or below it. */
bool pt_sweep_below(pid_t pid, pid_t ancestor);
/* Remove a folder and everything in it; follows no link. Silent. `last` (NULL: none) is the name of a file in
 * it that goes after all others: whoever is killed meanwhile leaves it there. */
void pt_sweep_folder(const char *path, const char *last);
