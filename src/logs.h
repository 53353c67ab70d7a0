/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* LOGS: what each worker wrote outside of pytest's capture: a file for each, and lines for the terminal.
 * Bytes go into the files as they are; what is shown is made safe. */
#include <stddef.h>
#include <stdint.h>

struct pt_err;
struct pt_logs;

#define PT_LOGS_RUNS  10         /* folders of so many runs are kept */
#define PT_LOGS_NODES (4u << 20) /* nodes are numbered below it */
#define PT_LOGS_LINE  (4u << 10) /* a line that is longer is shown in pieces */
#define PT_LOGS_WHO   48         /* bytes of pt_logs_who, at most */

/* Files STATE/logs/RUN/gwN.log (0600 in 0700), made when first needed. run: letters, digits, '-', '_', '.'.
 */
struct pt_logs *pt_logs_create(const char *state_dir, const char *run, struct pt_err *err);
void pt_logs_destroy(struct pt_logs *l);
/* A node for a rank of a group of that host: a number of its own, above those of other nodes. Its file is
 * HOST-groupG-rankR.log. PT_NONE when memory ends, or there are too many. */
uint32_t pt_logs_member(struct pt_logs *l, const char *host, uint32_t group, uint32_t rank);
/* "gw3", or "group 1 rank 0". */
void pt_logs_who(const struct pt_logs *l, uint32_t node, char *out, size_t size);
/* What a node wrote while that test ran (nodeid NULL: none did). Lines that begin with "===" tell the node,
 * its host, and where another test's output begins. -1 when it cannot be written: said once, after that
 * nothing is. */
int pt_logs_add(struct pt_logs *l, uint32_t node, const char *host, const char *nodeid, const void *bytes,
                size_t n, struct pt_err *err);

/* A line without its end, control characters made visible but tabs. nodeid: of the test that wrote it. */
typedef void pt_logs_line_fn(void *arg, uint32_t node, const char *nodeid, const char *line, size_t n);
/* Calls fn for each whole line of what was added; the rest waits for its end, for another test's output, or
 * for pt_logs_flush. -1 when memory ends. */
int pt_logs_lines(struct pt_logs *l, uint32_t node, const char *nodeid, const void *bytes, size_t n,
                  pt_logs_line_fn *fn, void *arg);
void pt_logs_flush(struct pt_logs *l, uint32_t node, pt_logs_line_fn *fn, void *arg);
/* The same for all members of groups of that host. */
void pt_logs_flush_members(struct pt_logs *l, const char *host, pt_logs_line_fn *fn, void *arg);
/* The folder, or NULL when nothing was written. */
const char *pt_logs_folder(const struct pt_logs *l);
