/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the targets share. A target is one decoder behind fuzz_one; libFuzzer finds its inputs
 * (tests/fuzz/run), and replay.c runs those of the corpus in ordinary builds. The first byte of an input is
 * not the decoder's: n > 0 has the n-th allocation from there on fail. */
#include "common/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The target: takes any bytes, and leaves nothing behind. */
void fuzz_one(const uint8_t *data, size_t size);
/* True once an allocation was made to fail: then only crashes and leaks are findings. */
bool fuzz_starved(void);
/* No more allocation fails in this input: what checks a result begins here. */
void fuzz_feed(void);
/* None fails until the release, which is given what hold gave. */
unsigned fuzz_hold(void);
void fuzz_release(unsigned held);

/* A finding. */
#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* Parts of an input: each takes its own from the front; a text's bytes up to the first zero byte. */
struct fuzz_parts {
    const uint8_t *p;
    size_t left;
};
uint8_t fuzz_byte(struct fuzz_parts *in);
/* Heap, without the failing; NUL-terminated. */
char *fuzz_text(struct fuzz_parts *in);
/* As many bytes as the next two say, or all that are left. */
struct fuzz_parts fuzz_part(struct fuzz_parts *in);

/* A folder of this process, for files; removed at its end. */
const char *fuzz_folder(void);
/* Writes a file there (name may have folders that are there) and gives its path, good until the next call. */
const char *fuzz_file(const char *name, const void *data, size_t n);
/* The path of that name there, good until the next call. */
const char *fuzz_path(const char *name);
/* Removes what is there of that name, with all below it; "" empties the folder. */
void fuzz_remove(const char *name);
/* A descriptor from which these bytes can be read, from the first on. */
int fuzz_fd(const void *data, size_t n);
