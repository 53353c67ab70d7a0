/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Globs over paths, on bytes: `*` and `?` stay within a name, `**` as a whole part takes any number of parts
 * (also none), [a-z] and [!a-z] are sets, with [:alpha:] and its like inside, a backslash takes the next byte
 * as it is. A leading "./" or "/" and a trailing "/" of the glob do not count. */
#include <stdbool.h>
#include <stddef.h>

/* True when the glob matches the whole of path. */
bool pt_glob_match(const char *glob, const char *path);
/* True when it matches path or a folder above it. */
bool pt_glob_covers(const char *glob, const char *path);
/* True when it matches or covers something that could lie below the folder. */
bool pt_glob_enters(const char *glob, const char *folder);

/* Length of the set that begins at s ("["), n bytes at most; 0 when it has no end or an unknown class. */
size_t pt_glob_set(const char *s, size_t n);
