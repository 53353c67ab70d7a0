/* SPDX-License-Identifier: Apache-2.0 */
#include "tools.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/smalltar.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* sum: the SHA-256 in hex, taken when this program was built */
#define EMBEDDED(name)                                                                                       \
    extern const unsigned char pt_embed_##name##_start[], pt_embed_##name##_end[], pt_embed_##name##_sum[]
EMBEDDED(agent);
EMBEDDED(worker);
EMBEDDED(python);
EMBEDDED(kit);

static struct pt_tool tools[PT_TOOLS], agent;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int nibble(unsigned char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void fill(struct pt_tool *tool, const char *name, const unsigned char *start, const unsigned char *end,
                 const unsigned char *sum)
{
    tool->name = name;
    tool->data = start;
    tool->size = (size_t)(end - start);
    memcpy(tool->hex, sum, 2 * PT_DIGEST);
    for (size_t i = 0; i < PT_DIGEST; i++)
        tool->digest[i] = (unsigned char)(nibble(sum[2 * i]) << 4 | nibble(sum[2 * i + 1]));
}
#define FILL(tool, name, of) fill(tool, name, pt_embed_##of##_start, pt_embed_##of##_end, pt_embed_##of##_sum)

static void fill_all(void)
{
    FILL(&agent, "ptremote-agent", agent);
    FILL(&tools[PT_TOOL_WORKER], "ptremote-worker", worker);
    FILL(&tools[PT_TOOL_PYTHON], "python", python);
    FILL(&tools[PT_TOOL_KIT], "kit", kit);
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
