/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* COLLECT: runs the Python collector in a child here, or listens to one on a host, and yields what it says,
 * a JSON object at a time (docs/protocol.md 7.1). A file that ends the collector while it is imported is told
 * by `crashed`, and a new collector goes on without it. */
#include "options.h"

struct pt_collect;
struct pt_err;
struct pt_json;
struct pt_loop;

struct pt_collect_callbacks {
    /* One line; what is its "t". No `file` comes twice for one path after a restart. */
    void (*line)(void *arg, const char *what, const struct pt_json *object);
    /* Importing path (may be "") ended the collector; status as of wait(2), output its last words. */
    void (*crashed)(void *arg, const char *path, uint32_t status, const char *output);
    /* No more lines. err.msg is "" after a proper end. Last call; destroy may be called from it. */
    void (*ended)(void *arg, const struct pt_err *err);
};

struct pt_collect_spec {
    const struct pt_options *opts; /* must live until destroy */
    const char *project;           /* top folder of the tree */
    const char *package;           /* folder to put on sys.path */
    const char *hash_seed;
    const struct pt_json *failed; /* of pt_run_failures, or NULL; must live until destroy */
};
/* Start a child in the current working directory. */
struct pt_collect *pt_collect_create(struct pt_loop *loop, const struct pt_collect_spec *spec,
                                     const struct pt_collect_callbacks *cb, void *arg, struct pt_err *err);
/* Listen to a collector on a host, on fd, which is taken over. What its end means shows by
 * pt_collect_exited. After `crashed` it waits for pt_collect_attach. */
struct pt_collect *pt_collect_create_remote(struct pt_loop *loop, const struct pt_collect_spec *spec, int fd,
                                            const struct pt_collect_callbacks *cb, void *arg,
                                            struct pt_err *err);
/* The host started another collector after a crash, with the orders that pt_collect_again gives. */
void pt_collect_attach(struct pt_collect *c, int fd);
/* The host told how its collector ended (status as of wait(2)) and its last words (may be NULL). */
void pt_collect_exited(struct pt_collect *c, uint32_t status, const char *output);
/* The connection to the host is gone, by no fault of a file: another collector says all again, once attached.
 */
void pt_collect_lost(struct pt_collect *c);
/* Orders for another try without the files that crashed (heap). */
char *pt_collect_again(const struct pt_collect *c, size_t *n);
/* Ask a collector here that plugins need as their controller (`nodes` in its session line): one line of JSON
 * without its end (docs/protocol.md 7.5). Its answers come by `line`, also after `final`; `ended` then comes
 * after its line "ended". -1 when memory ends. */
int pt_collect_ask(struct pt_collect *c, const void *line, size_t n);
/* Kills the child's process group. NULL is fine. */
void pt_collect_destroy(struct pt_collect *c);
