/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What an earlier run left behind: which of its tests have an outcome, and the tree that it had. Nothing is
 * left to it of a test that did not run, was lost with its host, or that a changed file could touch. */
#include "ledger.h"

struct pt_err;
struct pt_manifest;
struct pt_resume;

/* All of that run (pt_ledger_find_run) is read; the ledger may be closed after. */
struct pt_resume *pt_resume_load(struct pt_ledger *ledger, int64_t run, struct pt_err *err);
void pt_resume_destroy(struct pt_resume *r);
int64_t pt_resume_run(const struct pt_resume *r);
const char *pt_resume_name(const struct pt_resume *r);
const char *pt_resume_hash_seed(const struct pt_resume *r);
/* The seed of its --shuffle; "" when it had none. */
const char *pt_resume_seed(const struct pt_resume *r);
/* Its host of that number; NULL when it had none. */
const char *pt_resume_host(const struct pt_resume *r, uint32_t host);

/* The tree as it is now. One that changed is a usage error that names what did; with `changed`, its files
 * decide which tests are given by pt_resume_take. Call before that. */
int pt_resume_tree(struct pt_resume *r, const struct pt_manifest *now, bool changed, struct pt_err *err);
/* Where paths of test files begin: pytest's rootdir, below the tree's top, "" for its top. */
int pt_resume_below(struct pt_resume *r, const char *below);
/* The number that run gave a test which need not run again; PT_NONE: run it. Each is given once. */
uint32_t pt_resume_take(struct pt_resume *r, const char *path, const char *nodeid, uint32_t occurrence);
/* Was a test of that id taken? */
bool pt_resume_took(const struct pt_resume *r, const char *nodeid);
/* How many tests that run had; how many of them were taken. */
uint32_t pt_resume_tests(const struct pt_resume *r);
uint32_t pt_resume_taken(const struct pt_resume *r);
