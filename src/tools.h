/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The programs that this one carries and brings to every host. */
#include "sync/digest.h"

#include <stddef.h>

struct pt_err;

/* The kit is what a host builds its own worker from, when it cannot load ours. */
enum pt_tool_id { PT_TOOL_WORKER, PT_TOOL_PYTHON, PT_TOOL_KIT, PT_TOOLS };

struct pt_tool {
    const char *name; /* as TOOLS names it */
    const void *data;
    size_t size;
    unsigned char digest[PT_DIGEST]; /* SHA-256 */
    char hex[2 * PT_DIGEST + 1];
};

/* What TOOLS offers, in the order of enum pt_tool_id. Any thread. */
const struct pt_tool *pt_tools(void);
/* The agent's program, which travels before there is an agent to take tools. */
const struct pt_tool *pt_tools_agent(void);
/* Unpack the Python package below `folder` (made when missing) unless it is there; gives the path that goes
 * on sys.path (heap), NULL with err. */
char *pt_tools_python(const char *folder, struct pt_err *err);
