/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The first words on a fresh exec channel: find the agent in the host's cache or put it there, through
 * whatever login shell and rc-file noise there is. Pure: bytes in, bytes out. */
#include "common/wire.h"

struct pt_err;
struct pt_boot;

#define PT_BOOT_NOISE (64u << 10) /* bytes before the marker that are skipped */

/* The one command line of a host: no $, ! or newline outside its quotes, so any login shell takes it. */
const char *pt_boot_command(void);

struct pt_boot_agent {
    const void *data; /* the agent's program; borrowed until destroy */
    size_t size;
    const char *digest;  /* its SHA-256, 64 hex digits */
    const char *machine; /* what it runs on, as uname -m says */
};

/* remote_dir is --remote-dir, or "" for the default. Appends the first bytes for the command's stdin. */
struct pt_boot *pt_boot_create(const struct pt_boot_agent *agent, const char *remote_dir, struct pt_buf *out,
                               struct pt_err *err);
void pt_boot_destroy(struct pt_boot *boot);
/* Bytes of the command's stdout. Appends to `out` what must go to its stdin (the agent, when it is not
 * there). 1: the agent speaks, the first bytes of its stream are appended to `rest`; 0: go on; -1: it cannot
 * be used (err names the reason, hint the next step). */
int pt_boot_feed(struct pt_boot *boot, const void *data, size_t n, struct pt_buf *out, struct pt_buf *rest,
                 struct pt_err *err);
/* True once the agent's program is or was being sent. */
bool pt_boot_pushed(const struct pt_boot *boot);
