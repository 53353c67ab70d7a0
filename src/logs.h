/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* LOGS: what each worker wrote outside of pytest's capture: a file for each, and lines for the terminal. */
#include <stddef.h>
#include <stdint.h>

struct pt_err;
struct pt_logs;

/* Files STATE/logs/RUN/gwN.log, made when first needed; the folders of the last 10 runs are kept. */
struct pt_logs *pt_logs_create(const char *state_dir, const char *run, struct pt_err *err);
void pt_logs_destroy(struct pt_logs *l);
/* A line that a test begins on that node (NULL: none), so that what follows can be told apart. */
int pt_logs_test(struct pt_logs *l, uint32_t node, const char *host, const char *nodeid);
int pt_logs_add(struct pt_logs *l, uint32_t node, const char *host, const void *bytes, size_t n,
                struct pt_err *err);
/* Whole lines of what was added last, to show: calls each with the line (no line end, control characters made
 * visible but tabs); the rest of a line waits for its end, at most 4 KiB, or for pt_logs_flush. */
typedef void pt_logs_line_fn(void *arg, uint32_t node, const char *line, size_t n);
void pt_logs_lines(struct pt_logs *l, uint32_t node, const void *bytes, size_t n, pt_logs_line_fn *fn,
                   void *arg);
void pt_logs_flush(struct pt_logs *l, uint32_t node, pt_logs_line_fn *fn, void *arg);
/* The folder, or NULL when nothing was written. */
const char *pt_logs_folder(const struct pt_logs *l);
