/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Slots as pytest-xdist names them (gw0 ...), and the plugins here that want to know of them. */
#include "run_parts.h"

/* The host's base (first node number) is given, and its SESSION frame made in `out`: 1; 0: the controller was
 * asked and `pt_run_host_begin` will be called again when it answered; -1 error. */
int pt_run_nodes_session(struct pt_run_host *h, struct pt_buf *out, struct pt_err *err);
/* A NOTE of kind workeroutput. */
void pt_run_nodes_output(struct pt_run_host *h, uint32_t rank, const void *json, size_t n);
/* A node's session ended (or died). */
void pt_run_nodes_down(struct pt_run_host *h, uint32_t rank, const char *why);
/* All sessions ended: let the controller end its own (plugins print their summaries); true when there is
 * nothing (more) to wait for. */
bool pt_run_nodes_end(struct pt_run *run);
