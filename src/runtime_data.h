/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Testplan's runtime data: a JSON file of what each test file took, and its arithmetic for parts. */
#include <stdint.h>

struct pt_err;
struct pt_history;

/* Parts to cut a file into: ceil(execution / (limit - setup - teardown)), at most `count`, and at most
 * ceil(2 execution / limit); at least 1. Seconds. Source: Testplan's auto-part. */
uint32_t pt_runtime_parts(double execution, double setup, double teardown, uint32_t count, double limit);
/* What the file knows goes into h where h knows nothing. 0 too when there is no such file. */
int pt_runtime_read(const char *path, struct pt_history *h, struct pt_err *err);
/* Writes what h knows, atomically; other keys that the file has stay. */
int pt_runtime_write(const char *path, const struct pt_history *h, struct pt_err *err);
