/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A list of paths that owns its strings. */
#include <stdbool.h>
#include <stddef.h>

struct pt_paths {
    char **v;
    size_t n, cap;
};

void pt_paths_fini(struct pt_paths *p);
/* A copy of `name`, below `folder` unless that is "". -1 with errno when memory ends. */
int pt_paths_add(struct pt_paths *p, const char *folder, const char *name);
/* The last one, which is the caller's from then on; NULL when there is none. */
char *pt_paths_pop(struct pt_paths *p);
/* Byte order, each path once. */
void pt_paths_sort(struct pt_paths *p);
/* In a sorted list. */
bool pt_paths_has(const struct pt_paths *p, const char *path);
/* Drop all for which keep gives false. */
void pt_paths_filter(struct pt_paths *p, bool (*keep)(const void *arg, const char *path), const void *arg);
/* The folders above each path, sorted. -1 when memory ends. */
int pt_paths_parents(const struct pt_paths *paths, struct pt_paths *out);
