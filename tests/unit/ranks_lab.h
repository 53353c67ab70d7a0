/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What tests of merged reports share. */
#include "common/err.h"
#include "group_words.h"
#include "ranks.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

static const struct pt_ranks_of here = {
    .nodeid = "t/a.py::TestA::test_x[3]", .path = "t/a.py", .host = "h1", .grace = 3};

#define BAR "--------------------------------"

#define PASSED                                                                                               \
    "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"phase\":\"call\",\"counts\":{\"passed\":1},"                 \
    "\"started\":1700000000.5,\"duration\":0.5,\"setup\":0.125,\"call\":0.25,\"teardown\":0.125"

#define FAILED_BY(why, duration)                                                                             \
    "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"phase\":\"call\",\"counts\":{\"failed\":1},\"message\":"     \
    "\"" why "\",\"duration\":" duration ",\"longrepr\":\"def x\\nE  " why "\",\"stdout\":\"out " why        \
    "\",\"problems\":[{\"phase\":\"call\",\"category\":\"failed\",\"headline\":\"TestA.test_x[3]\","         \
    "\"longrepr\":\"def x\\nE  " why "\",\"sections\":[[\"Captured stdout call\",\"out " why "\"]]}]}"

__attribute__((unused)) static const char *text_at(const struct pt_json *list, unsigned pair, unsigned part)
{
    const struct pt_json *e = pt_json_first(list);
    while (pair--)
        e = pt_json_next(e);
    e = pt_json_first(e);
    return pt_json_text(part ? pt_json_next(e) : e);
}

__attribute__((unused)) static uint32_t count_of(const struct pt_report *r, const char *name)
{
    for (size_t i = 0; i < r->ncounts; i++)
        if (strcmp(r->counts[i].name, name) == 0)
            return r->counts[i].n;
    return 0;
}

__attribute__((unused)) static struct pt_fall fall_of(struct words *w, uint8_t cause, uint8_t phase,
                                                      uint32_t culprit)
{
    return (struct pt_fall){.bundle = 3,
                            .attempt = 1,
                            .of = w->n,
                            .test = 7,
                            .path = (char *)"",
                            .text = (char *)"",
                            .phase = phase,
                            .cause = cause,
                            .culprit = culprit,
                            .words = w->words};
}
