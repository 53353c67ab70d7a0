/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Slots as pytest-xdist names them (gw0 ...), and the plugins here that want to know of them. */
#include "run_parts.h"

struct pt_nodes;

/* The collector's session line came; it is looked at, and what runners need of it is kept. */
int pt_run_nodes_begin(struct pt_run *run, const struct pt_json *line, struct pt_err *err);
/* --show-capture as that line has it; NULL: it did not say. */
const char *pt_run_nodes_show(const struct pt_run *run);
void pt_run_nodes_fini(struct pt_run *run);
/* A line of the collector: true when it was an answer of the plugins' controller, which may come as long as
 * there is a collector. May call pt_run_host_begin, pt_run_fail. */
bool pt_run_nodes_line(struct pt_run *run, const char *what, const struct pt_json *line);

/* The host's base (first node number) is given, and its SESSION frame made in `out`: 1; 0: the controller was
 * asked and `pt_run_host_begin` will be called again when it answered; -1 error. */
int pt_run_nodes_session(struct pt_run_host *h, struct pt_buf *out, struct pt_err *err);
/* A node's session is up: anything it told says so. Cheap to repeat. */
void pt_run_nodes_ready(struct pt_run_host *h, uint32_t rank);
/* A NOTE of kind workeroutput, of a rank or of a member of a group. */
void pt_run_nodes_output(struct pt_run_host *h, uint32_t rank, const void *json, size_t n);
/* A node's session ended (or died). why NULL or "": as it should; nothing is told then if its output was.
 * NULL for a slot that was not needed: it had none. */
void pt_run_nodes_down(struct pt_run_host *h, uint32_t rank, const char *why);
/* All sessions ended: let the controller end its own (plugins print their summaries); true when there is
 * nothing (more) to wait for. */
bool pt_run_nodes_end(struct pt_run *run);
/* The exit code that plugins want instead of `code`, else `code`: after pt_run_nodes_end. */
int pt_run_nodes_exit(const struct pt_run *run, int code);
