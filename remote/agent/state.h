/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the agent's parts share. Each part is opaque to the others and made at SETUP; whatever becomes ready
 * says so here and calls pt_agent_advance, and each part then looks whether its turn has come. */
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/message_across.h"
#include "common/mux.h"
#include "remote/agent/bulk.h"
#include "remote/agent/environ.h"
#include "remote/agent/rundir.h"

#include <sys/types.h>

struct pt_agent {
    struct pt_loop *loop;
    struct pt_mux *mux;
    const char *cache;
    const struct pt_rundir *dir;
    const struct pt_err *no_dir; /* why there is none, else NULL */
    struct pt_setup setup;
    char *machine_id;
    char *workspace; /* the tree's path; the tree itself when setup.shared says so */
    int workspace_lock;

    bool set_up;    /* SETUP was taken */
    bool env_ready; /* env is the suite's environment */
    bool tooled;    /* every tool is in the cache */
    bool synced;    /* the workspace is the tree */
    bool failed;    /* FAIL was said */
    struct pt_environ env;
    struct pt_bulk bulk;

    struct pt_pulse *pulse;
    struct pt_room *room; /* NULL before anything is set up */
    struct pt_init *init;
    struct pt_tools *tools;
    struct pt_kit *kit;
    struct pt_tree *tree;       /* NULL with a shared tree */
    struct pt_sandbox *sandbox; /* NULL: tests run as anything does */
    struct pt_links *links;
    struct pt_groups *groups;
    struct pt_reach *reach;
    struct pt_relays *relays;
    struct pt_peers peers; /* hosts with which groups may be started */
    struct pt_python *python;
    struct pt_launcher *launcher;
    struct pt_collector *collector;
    struct pt_linger *linger; /* NULL: the run does not */
};

/* Send a frame on the control stream, or keep it where there is none; clears it. */
void pt_agent_send(struct pt_agent *a, struct pt_buf *frame);
/* This host cannot be used. Only the first is sent. */
void pt_agent_fail(struct pt_agent *a, enum pt_stage stage, const struct pt_err *err);
void pt_agent_exited(struct pt_agent *a, enum pt_program program, int status, const struct pt_buf *output);
/* Something became ready: every part takes the steps that are possible now. */
void pt_agent_advance(struct pt_agent *a);

/* "as wait(2) gives it" in words: "exit status 1", "signal 9". */
const char *pt_agent_status(int status, char text[48]);
