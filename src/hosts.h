/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the user wrote for hosts: "u@h1:8,h2,local:2" and Open MPI's host files. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_err;

#define PT_SLOTS_MAX  4096
#define PT_HOSTS_MAX  1024
#define PT_LABELS_MAX 62

struct pt_host {
    char *name;      /* [user@]host as written, without slots */
    char *user;      /* NULL: not given */
    char *host;      /* without brackets */
    unsigned slots;  /* 0: as many as the host has cores */
    uint64_t labels; /* what it is good for: bits, see pt_hosts_label */
    bool local;
};

/* Zero-initialise; pt_hosts_fini frees. */
struct pt_hosts {
    struct pt_host *items;
    size_t n;
    char *labels[PT_LABELS_MAX]; /* names of the bits */
    unsigned nlabels;
};

/* [user@]host[:[slots][+label...]], comma separated; adds to hosts. -1 with PT_ERR_USAGE; a host given twice
 * (also by an earlier call) is refused. */
int pt_hosts_parse(const char *list, struct pt_hosts *hosts, struct pt_err *err);
/* Lines of `[user@]host [slots=N] [max_slots=M] [labels=A,B]`, # starts a comment. */
int pt_hosts_parse_file(const char *path, struct pt_hosts *hosts, struct pt_err *err);
/* The same as pt_hosts_parse into `more`, which is empty, with the bits of the labels that `hosts` has. A
 * host of `hosts` may come again. */
int pt_hosts_parse_more(const char *list, const struct pt_hosts *hosts, struct pt_hosts *more,
                        struct pt_err *err);
/* Puts all of `more` behind them and leaves it empty; on failure both stay. `items` may move. */
int pt_hosts_append(struct pt_hosts *hosts, struct pt_hosts *more, struct pt_err *err);
/* The bit of a label that a host has; 0 when none has it. */
uint64_t pt_hosts_label(const struct pt_hosts *hosts, const char *label);
void pt_hosts_fini(struct pt_hosts *hosts);
