/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One error value: filled once where it happens, wrapped on the way up, printed once at the top. */

#define PT_ERR_MAX 1024

/* kind decides the exit code when the error ends the program (see verdict.h). */
enum pt_err_kind {
    PT_ERR_INTERNAL = 0, /* exit 3 */
    PT_ERR_USAGE,        /* exit 4: the user's input is wrong */
    PT_ERR_INFRA,        /* exit 6: a host, the network, a disk */
    PT_ERR_INTERRUPTED,  /* exit 2 */
};

struct pt_err {
    enum pt_err_kind kind;
    char msg[PT_ERR_MAX];  /* one line, no trailing newline; "" when nothing happened */
    char hint[PT_ERR_MAX]; /* the next step for the user, or "" */
};

#define PT_ERR_INIT ((struct pt_err){.kind = PT_ERR_INTERNAL, .msg = "", .hint = ""})

/* Fill err (may be NULL) with a formatted message; always returns -1. It is
 * made safe to print (quote.h). */
int pt_err_set(struct pt_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with a kind. */
int pt_err_set_kind(struct pt_err *err, enum pt_err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Put "prefix: " before the message; returns -1. */
int pt_err_wrap(struct pt_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Say what the user can do next; returns -1. */
int pt_err_hint(struct pt_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
