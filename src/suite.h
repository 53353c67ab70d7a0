/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What was collected: files and their chosen tests, numbered as they came. */
#include "common/message.h"

struct pt_err;
struct pt_suite;

struct pt_suite_test {
    char *nodeid;
    uint32_t file;       /* number of its file */
    uint32_t occurrence; /* 0 for the first of that id in the file */
};

struct pt_suite *pt_suite_create(struct pt_err *err);
void pt_suite_destroy(struct pt_suite *s);
/* The number of the file with that path, added when new; PT_NONE when memory ends. */
uint32_t pt_suite_file(struct pt_suite *s, const char *path);
/* The number of the new test, or PT_NONE when memory ends or there are too many. */
uint32_t pt_suite_add(struct pt_suite *s, uint32_t file, const char *nodeid, uint32_t occurrence);
uint32_t pt_suite_tests(const struct pt_suite *s);
uint32_t pt_suite_files(const struct pt_suite *s);
/* The first test of that id and occurrence, or PT_NONE. The first call after additions looks at all tests. */
uint32_t pt_suite_find(struct pt_suite *s, const char *nodeid, uint32_t occurrence);
/* NULL when there is no such test or file. */
const struct pt_suite_test *pt_suite_get(const struct pt_suite *s, uint32_t test);
const char *pt_suite_path(const struct pt_suite *s, uint32_t file);
