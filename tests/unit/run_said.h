/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a run would say of its hosts, kept in order. */
#include "run_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char said[8192];

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
    size_t n = strlen(said);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(said + n, sizeof(said) - n, fmt, ap);
    va_end(ap);
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    say("%s: %s\n", h->host->name, text);
}
