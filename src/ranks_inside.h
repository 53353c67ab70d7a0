/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What ranks.c (a test that all ranks ran), ranks_problems.c (what is printed of it), ranks_junit.c (its
 * elements), ranks_fall.c (a group that came to its end) and ranks_told.c (who said what) share. */
#include "ranks.h"
#include "report.h"

/* --- ranks_told.c: texts of ranks by topic, each with all who said it --- */

struct pt_told {
    uint32_t topic, rank;
    const char *text; /* never "" */
    char *own, *key;  /* owned or NULL: the text; what it is compared by */
    const void *what; /* the caller's */
    uint32_t order, lead;
};
/* Zero-initialise. bad: memory ended. */
struct pt_told_list {
    struct pt_told *items;
    uint32_t n, cap;
    bool bad;
};
void pt_told_fini(struct pt_told_list *l);
/* text is borrowed; NULL and "" are not added. */
void pt_told_add(struct pt_told_list *l, uint32_t topic, uint32_t rank, const char *text, const void *what);
/* The same for text[0..len), which becomes the list's. NULL: memory ended. */
void pt_told_add_own(struct pt_told_list *l, uint32_t topic, uint32_t rank, char *text, const void *what);
/* The last one that was added is the same as another when only addresses and process numbers differ. */
void pt_told_loosely(struct pt_told_list *l);
/* Topics in their order; in each, what is the same stands together, in the order of who came first. */
void pt_told_sort(struct pt_told_list *l);
/* Sorted: the end of the group that begins at `from`. */
uint32_t pt_told_group(const struct pt_told_list *l, uint32_t from);
/* "rank 1 of 3", "ranks 0-2, 5 of 8": who said items[0..n), a group. Says how many they are. */
uint32_t pt_told_who(const struct pt_told *items, uint32_t n, uint32_t of, struct pt_buf *out);
/* Append a line "--- On rank 1 of 3 ---". */
void pt_told_heading(const struct pt_told *items, uint32_t n, uint32_t of, struct pt_buf *out);
/* Sorted: append all texts, each below its heading. */
void pt_told_put(const struct pt_told_list *l, uint32_t of, struct pt_buf *out);

void pt_buf_words(struct pt_buf *out, const char *text);
/* Append a formatted text of at most 511 bytes. */
void pt_buf_format(struct pt_buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The member, unless the text is empty: at most PT_MAX_TEXT bytes, cut in the middle. Frees the text. */
void pt_ranks_put_text(struct pt_json_out *o, const char *key, struct pt_buf *text);

/* Captured output, by its title: the sections of a problem. Zero-initialise. */
#define PT_RANKS_TITLES 256
struct pt_ranks_sections {
    const char *titles[PT_RANKS_TITLES];
    uint32_t n;
    struct pt_told_list said;
};
/* Borrowed. Titles above the bound are dropped. */
void pt_ranks_section(struct pt_ranks_sections *s, uint32_t rank, const char *title, const char *text);
/* What a report has of captured output, as far as `show` (--show-capture, NULL: all) lets it through. */
void pt_ranks_captured(struct pt_ranks_sections *s, uint32_t rank, const struct pt_report *r,
                       const char *show);
/* The member "sections"; nothing when there are none. Sorts. */
void pt_ranks_put_sections(struct pt_json_out *o, struct pt_ranks_sections *s, uint32_t of);

/* --- ranks.c --- */

/* What one rank gave. */
struct pt_ranks_voice {
    bool has; /* a report */
    struct pt_report r;
};
/* of voices, in an array that is freed with them. NULL with err when a word is malformed, or at the end of
 * memory. Deaths are passed over. */
struct pt_ranks_voice *pt_ranks_voices(const struct pt_rank_word *words, uint32_t of, struct pt_err *err);
void pt_ranks_voices_free(struct pt_ranks_voice *voices, uint32_t of);
/* A test on its way to one report. */
struct pt_ranks_merge {
    const struct pt_ranks_of *of_test;
    uint32_t of;
    struct pt_ranks_voice *voices;
    uint32_t gravest, longest;
    unsigned outcome, phase;
    bool some_skipped; /* and others not */
    bool others_ran;   /* the call, then */
    struct pt_ranks_problem *problems;
    size_t nproblems;
    struct pt_problem made; /* where no rank has one */
    struct pt_buf headline; /* of it */
    bool bad;
};
/* Its own, or what stands for one that was left out. */
const struct pt_report *pt_ranks_report_of(const struct pt_ranks_merge *m, uint32_t rank);
/* Only says what it did not do, because of another rank. */
bool pt_ranks_is_bystander(const struct pt_report *r);
bool pt_ranks_went_wrong(const struct pt_report *r);
/* The text of a report that went wrong: its traceback, or its message. */
const char *pt_ranks_words(const struct pt_report *r);
/* "skipped: why", of a test that others did not skip. */
void pt_ranks_tell_skip(struct pt_told_list *l, uint32_t rank, const struct pt_report *r);
/* As pytest heads the problem of a test. */
void pt_ranks_headline(struct pt_buf *out, unsigned outcome, unsigned phase, const char *nodeid);
/* Both NULL, or the same text. */
bool pt_ranks_same(const char *a, const char *b);
/* The members "ranks", "hosts" and "shares". */
void pt_ranks_put_place(struct pt_json_out *o, const struct pt_ranks_of *of, uint32_t ranks);
/* stdout, stderr and log of all. */
void pt_ranks_put_captured(struct pt_json_out *o, const struct pt_ranks_voice *voices, uint32_t of);
/* The finished document goes to the end of out. */
int pt_ranks_hand_over(struct pt_json_out *o, struct pt_buf *out, struct pt_err *err);

/* --- ranks_problems.c --- */

/* All are joined once, before they are put, and freed. */
void pt_ranks_join_problems(struct pt_ranks_merge *m);
/* The member "problems"; nothing when there are none. */
void pt_ranks_put_problems(struct pt_json_out *o, struct pt_ranks_merge *m);
void pt_ranks_free_problems(struct pt_ranks_merge *m);

/* --- ranks_stack.c --- */

/* A copy of a stack (NULL: "") without the native frames of the interpreter: the Python stack above has them
 * better. Heap; NULL: memory ended. */
char *pt_ranks_stack(const char *stack);

/* --- ranks_junit.c --- */

/* The members "junit" and "junit_counts" of a report of that outcome; nothing when no rank has any. gravest
 * and longest: ranks whose words and times are the test's. */
void pt_ranks_put_junit(struct pt_json_out *o, const struct pt_ranks_voice *voices, uint32_t of,
                        uint32_t gravest, uint32_t longest, unsigned outcome);
