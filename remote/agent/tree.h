/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The agent's side of the receiver: a child that stores the tree, fed with the master's frames as they are.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_tree;

/* Takes the workspace (a->workspace) and forks the receiver. */
struct pt_tree *pt_tree_create(struct pt_agent *a, struct pt_err *err);
void pt_tree_destroy(struct pt_tree *tree);
/* A whole frame for the receiver, or with `bulk` any part of the bulk stream, whose bytes are credited to the
 * master once they are taken. */
int pt_tree_send(struct pt_tree *tree, const void *bytes, size_t n, bool bulk, struct pt_err *err);
pid_t pt_tree_pid(const struct pt_tree *tree);
/* The stream is gone of which bytes are not credited yet. */
void pt_tree_cut(struct pt_tree *tree);
bool pt_tree_reaped(struct pt_tree *tree, pid_t pid, int status);
