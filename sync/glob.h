/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Globs over paths, on bytes: `*` and `?` stay within a name, `**` as a whole part takes any number of parts
 * (also none), [a-z] and [!a-z] are sets, a backslash takes the next byte as it is. A leading "./" or "/" and
 * a trailing "/" of the glob do not count. */
#include <stdbool.h>

/* True when the glob matches the whole of path. */
bool pt_glob_match(const char *glob, const char *path);
/* True when it matches path or a folder above it. */
bool pt_glob_covers(const char *glob, const char *path);
/* True when it matches or covers something that could lie below the folder. */
bool pt_glob_enters(const char *glob, const char *folder);
