/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The programs the master carries, in the cache by digest: CACHE/bin/DIGEST/NAME, and the Python package
 * unpacked in CACHE/python/DIGEST. What is there already is not sent, and the tool "kit" only when asked for.
 */
#include "common/wire.h"

struct pt_agent;
struct pt_err;
struct pt_tools;

struct pt_tools *pt_tools_create(struct pt_agent *a, struct pt_err *err);
void pt_tools_destroy(struct pt_tools *tools);

/* TOOLS: says MISSING. -1 when it is malformed, or the second. */
int pt_tools_offer(struct pt_tools *tools, struct pt_reader *body, struct pt_err *err);
/* One object of the bulk stream, as it comes. -1 when it is out of turn or cannot be stored. */
int pt_tools_begin(struct pt_tools *tools, struct pt_reader *body, struct pt_err *err);
int pt_tools_data(struct pt_tools *tools, const void *data, size_t n, struct pt_err *err);
int pt_tools_end(struct pt_tools *tools, struct pt_err *err);

/* Have a tool sent that was offered and is not there. */
void pt_tools_ask(struct pt_tools *tools, const char *name);

/* CACHE/bin/DIGEST of a program that was offered, there or not; else NULL. */
const char *pt_tools_folder(const struct pt_tools *tools, const char *name);
/* Where a tool is, once it is there: the program, or the folder of "python"; else NULL. */
const char *pt_tools_path(const struct pt_tools *tools, const char *name);
