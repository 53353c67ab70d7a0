/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What stat(2) says of a file, as far as it changes whenever the content does. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct pt_stamp {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
};

#define PT_SECOND_NS 1000000000

int64_t pt_timespec_ns(struct timespec t);
struct timespec pt_ns_timespec(int64_t ns);
struct pt_stamp pt_stamp_of(const struct stat *st);
/* All but the device, which may change its number between boots. */
bool pt_stamp_equal(const struct pt_stamp *a, const struct pt_stamp *b);
/* True when a file that was stat'ed at `clock_ns` or later could change afterwards and keep this stamp: its
 * times lie within the granularity of the clock, as git's racy entries do. */
bool pt_stamp_racy(const struct pt_stamp *stamp, int64_t clock_ns);
/* What time it is on the file system of `folder`, by a file made and removed there; the system's clock when
 * none can be made. */
int64_t pt_stamp_clock(const char *folder);
