/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --sandbox: namespaces of a user, of mounts and of a network, made once a host, in which what runs tests
 * (the fork server, the mpirun of a group) is started. Users are who they are, the tree is read-only, and the
 * network is a loopback of its own. All of ours stays outside; the sockets of the run's folder lead out, as
 * they are files. Tests that mean harm are not held by it: see docs/architecture.md. */
#include "remote/agent/child.h"

struct pt_err;
struct pt_sandbox;

/* `tree` is what becomes read-only. Blocking, for some milliseconds. NULL where the host does not allow it:
 * err names the cause and the next step. */
struct pt_sandbox *pt_sandbox_create(const char *tree, struct pt_err *err);
void pt_sandbox_destroy(struct pt_sandbox *s);

/* Give the child what it needs to enter; it must have no other fds. */
void pt_sandbox_give(const struct pt_sandbox *s, struct pt_child_spec *spec);
/* In that child, just before it becomes the program: with what was given, and to `cwd` as it is inside. -1
 * with errno. */
int pt_sandbox_enter(const char *cwd);
