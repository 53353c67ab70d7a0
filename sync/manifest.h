/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a tree is: every path with type, mode, size, digest, and one digest over all of it (the root). Equal
 * trees have equal roots; mtimes travel beside and are not part of the root. */
#include "common/wire.h"
#include "sync/digest.h"

struct pt_err;
struct pt_manifest;

#define PT_PATH_LIMIT 4096 /* bytes of a path or link target with its NUL: what Linux takes */

enum pt_entry_type { PT_ENTRY_FILE = 1, PT_ENTRY_DIR = 2, PT_ENTRY_LINK = 3 };

/* A piece of a large file: those between two cuts of chunk.h. */
struct pt_chunk {
    uint32_t size;
    unsigned char digest[PT_DIGEST];
};

struct pt_entry {
    const char *path; /* relative, '/' between parts, never "..", never empty; any bytes but NUL */
    const char *link; /* target of a symlink, else NULL */
    enum pt_entry_type type;
    unsigned mode; /* permission bits, 0 for links */
    uint64_t size; /* of a file, else 0 */
    int64_t mtime_ns;
    unsigned char digest[PT_DIGEST]; /* of a file's content, or pt_chunks_digest of its chunks; else zeros */
    const struct pt_chunk *chunks;   /* of a large file, in order, else NULL */
    uint32_t nchunks;
};

/* What travels and is stored as one: a whole file, or a chunk of one. An empty file has none. */
struct pt_blob {
    uint32_t entry;  /* of the manifest */
    uint32_t chunk;  /* of the entry, 0 when it has none */
    uint64_t offset; /* in the file */
    uint32_t size;
    const unsigned char *digest; /* lives as long as the manifest */
};

void pt_manifest_destroy(struct pt_manifest *m);

/* Building one by hand: entries in any order (strings are copied), then seal, which sorts, checks as decode
 * does, and computes the root. folder may be NULL. */
struct pt_manifest *pt_manifest_create(enum pt_digest_algorithm algorithm, const char *folder,
                                       struct pt_err *err);
int pt_manifest_add(struct pt_manifest *m, const struct pt_entry *entry, struct pt_err *err);
int pt_manifest_seal(struct pt_manifest *m, struct pt_err *err);

/* Sorted by path in byte order. The pointers live as long as the manifest. */
size_t pt_manifest_count(const struct pt_manifest *m);
const struct pt_entry *pt_manifest_get(const struct pt_manifest *m, size_t i);
/* NULL when there is no such path. */
const struct pt_entry *pt_manifest_find(const struct pt_manifest *m, const char *path);
const unsigned char *pt_manifest_root(const struct pt_manifest *m);
enum pt_digest_algorithm pt_manifest_algorithm(const struct pt_manifest *m);
/* The folder that was scanned; NULL for a decoded manifest. */
const char *pt_manifest_folder(const struct pt_manifest *m);
/* Blobs are numbered from 0 in the order of entries and chunks. */
uint32_t pt_manifest_blobs(const struct pt_manifest *m);
struct pt_blob pt_manifest_blob(const struct pt_manifest *m, uint32_t number);
/* Number of the first blob of entry i; that of the next entry tells where they end (i may be the count). */
uint32_t pt_manifest_first_blob(const struct pt_manifest *m, size_t i);
/* The digest of a large file: over size and digest of each of its chunks. -1 when the library fails. */
int pt_chunks_digest(enum pt_digest_algorithm algorithm, const struct pt_chunk *chunks, size_t n,
                     unsigned char out[PT_DIGEST]);
/* Sum of the sizes of all files. */
uint64_t pt_manifest_bytes(const struct pt_manifest *m);

void pt_manifest_encode(const struct pt_manifest *m, struct pt_buf *out);
/* Refuses everything a manifest must not have: absolute or "..", unsorted or double paths, a file below a
 * file or a link, a folder that is not listed, links that leave the tree, wrong root. */
struct pt_manifest *pt_manifest_decode(const void *data, size_t len, struct pt_err *err);

/* True for a relative path whose parts are all names: none is empty, "." or "..". */
bool pt_path_valid(const char *path);
