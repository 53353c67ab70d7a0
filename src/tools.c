/* SPDX-License-Identifier: Apache-2.0 */
#include "tools.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/unpack.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

extern const unsigned char pt_embed_agent_start[], pt_embed_agent_end[];
extern const unsigned char pt_embed_worker_start[], pt_embed_worker_end[];
extern const unsigned char pt_embed_python_start[], pt_embed_python_end[];

static struct pt_tool tools[PT_TOOLS], agent;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(struct pt_tool *tool, const char *name, const unsigned char *start, const unsigned char *end)
{
    struct pt_err err = PT_ERR_INIT;
    tool->name = name;
    tool->data = start;
    tool->size = (size_t)(end - start);
    if (pt_digest_buffer(PT_DIGEST_SHA256, start, tool->size, tool->digest, &err) < 0)
        abort(); /* without SHA-256 nothing can be sent or checked */
    pt_digest_hex(tool->digest, tool->hex);
}

static void fill_all(void)
{
    fill(&agent, "ptremote-agent", pt_embed_agent_start, pt_embed_agent_end);
    fill(&tools[PT_TOOL_WORKER], "ptremote-worker", pt_embed_worker_start, pt_embed_worker_end);
    fill(&tools[PT_TOOL_PYTHON], "python", pt_embed_python_start, pt_embed_python_end);
}

const struct pt_tool *pt_tools(void)
{
    pthread_once(&once, fill_all);
    return tools;
}

const struct pt_tool *pt_tools_agent(void)
{
    pthread_once(&once, fill_all);
    return &agent;
}

static int make_folder(const char *path, struct pt_err *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return pt_err_set_kind(err, PT_ERR_USAGE, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

char *pt_tools_python(const char *folder, struct pt_err *err)
{
    const struct pt_tool *tool = &pt_tools()[PT_TOOL_PYTHON];
    pt_auto_free char *base = NULL, *part = NULL;
    char *path = NULL;
    if (asprintf(&base, "%s/python", folder) < 0 || asprintf(&path, "%s/%.16s", base, tool->hex) < 0 ||
        asprintf(&part, "%s.%ld", path, (long)getpid()) < 0) {
        pt_err_set(err, "out of memory");
        free(path);
        return NULL;
    }
    if (access(path, R_OK | X_OK) == 0)
        return path;
    if (make_folder(base, err) == 0 && make_folder(part, err) == 0 &&
        pt_unpack_tar(tool->data, tool->size, part, err) == 0) {
        if (rename(part, path) == 0 || access(path, R_OK | X_OK) == 0)
            return path;
        pt_err_set(err, "cannot make %s: %s", path, strerror(errno));
    }
    free(path);
    return NULL;
}
