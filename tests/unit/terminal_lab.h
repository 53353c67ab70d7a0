/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A terminal that writes to memory, with a ledger and a verdict behind it. */
#include "ledger_lab.h"
#include "output/terminal.h"

struct lab {
    struct pt_terminal_options o;
    struct pt_terminal *t;
    struct pt_ledger *l;
    struct pt_verdict *v;
    char *text;
    size_t len;
};

/* As lab->o says; without durations where it does not say. */
static void terminal_open(struct lab *lab)
{
    lab->o.out = open_memstream(&lab->text, &lab->len);
    lab->o.durations = lab->o.durations ? lab->o.durations : -1;
    lab->t = pt_terminal_create(&lab->o, NULL);
    lab->v = pt_verdict_create(NULL);
    lab->l = lab_open();
    cr_assert(lab->t && lab->v);
}

/* `want`: all that was written; NULL: whatever it was. */
static void stop(struct lab *lab, const char *want)
{
    pt_terminal_destroy(lab->t);
    fclose(lab->o.out);
    if (want)
        cr_assert_str_eq(lab->text, want, "GOT\n%s\nWANTED\n%s", lab->text, want);
    pt_verdict_destroy(lab->v);
    pt_ledger_close(lab->l);
    free(lab->text);
}
