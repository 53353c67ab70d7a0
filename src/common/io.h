/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* All of a buffer to a file that blocks. */
#include <stddef.h>
#include <stdint.h>

/* 0, or -1 with errno when not all was written. */
int pt_write_all(int fd, const void *data, size_t n);
/* The same at a place of the file, whose own position stays. */
int pt_write_at(int fd, const void *data, size_t n, uint64_t offset);
