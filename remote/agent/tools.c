/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/tools.h"

#include "common/auto.h"
#include "remote/agent/room.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"
#include "sync/digest.h"
#include "sync/smalltar.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TOOLS_MAX   16u
#define NAME_MAX_   64u
#define PROGRAM_MAX (256ull << 20)
#define PACKAGE     "python"
#define PACKAGE_MAX (64ull << 20)
#define OPTIONAL    "kit"

struct tool {
    char *name, *folder, *path; /* folder: CACHE/bin/DIGEST or CACHE/python */
    unsigned char digest[PT_DIGEST];
    uint64_t size;
    bool package, optional, there;
};

struct pt_tools {
    struct pt_agent *agent;
    struct tool list[TOOLS_MAX];
    uint32_t n;
    bool offered;
    struct tool *now; /* what is being received */
    struct pt_digest *digest;
    uint64_t got;
    char *part; /* its temporary name */
    int fd;
    struct pt_buf bytes; /* of a package, which is unpacked from memory */
};

struct pt_tools *pt_tools_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_tools *tools = calloc(1, sizeof(*tools));
    if (!tools) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    tools->agent = a;
    tools->fd = -1;
    return tools;
}

static void drop_part(struct pt_tools *tools)
{
    if (tools->fd >= 0)
        close(tools->fd);
    tools->fd = -1;
    if (tools->part)
        pt_sweep_folder(tools->part, NULL);
    if (tools->part)
        unlink(tools->part);
    free(tools->part);
    tools->part = NULL;
    tools->now = NULL;
    pt_buf_fini(&tools->bytes);
}

void pt_tools_destroy(struct pt_tools *tools)
{
    if (!tools)
        return;
    drop_part(tools);
    for (uint32_t i = 0; i < tools->n; i++) {
        free(tools->list[i].name);
        free(tools->list[i].folder);
        free(tools->list[i].path);
    }
    pt_digest_destroy(tools->digest);
    free(tools);
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return false;
    return n > 0 && n <= NAME_MAX_ && name[0] != '.';
}

static bool is_there(const struct tool *tool)
{
    struct stat st;
    if (lstat(tool->path, &st) < 0 || st.st_uid != geteuid())
        return false;
    if (tool->package)
        return S_ISDIR(st.st_mode);
    return S_ISREG(st.st_mode) && (uint64_t)st.st_size == tool->size && access(tool->path, X_OK) == 0;
}

static int get_tool(struct pt_tools *tools, struct pt_reader *r, struct tool *tool, struct pt_err *err)
{
    char hex[PT_DIGEST_HEX];
    tool->name = pt_get_str(r, NAME_MAX_);
    const void *digest = pt_get_raw(r, PT_DIGEST);
    tool->size = pt_get_u64(r);
    if (r->bad)
        return pt_err_set(err, "tools: malformed message");
    memcpy(tool->digest, digest, PT_DIGEST);
    tool->package = strcmp(tool->name, PACKAGE) == 0;
    tool->optional = strcmp(tool->name, OPTIONAL) == 0;
    if (!good_name(tool->name) || tool->size > (tool->package ? PACKAGE_MAX : PROGRAM_MAX))
        return pt_err_set(err, "tools: bad name or size");
    pt_digest_hex(tool->digest, hex);
    const char *cache = tools->agent->cache;
    int rc = tool->package ? asprintf(&tool->folder, "%s/" PACKAGE, cache)
                           : asprintf(&tool->folder, "%s/bin/%s", cache, hex);
    if (rc > 0)
        rc = asprintf(&tool->path, "%s/%s", tool->folder, tool->package ? hex : tool->name);
    if (rc < 0)
        return pt_err_set(err, "tools: out of memory");
    pt_room_use(tools->agent->room, tool->package ? tool->path : tool->folder);
    tool->there = is_there(tool);
    return 0;
}

/* The answer to TOOLS names all that miss; after that only "none misses" is said, once. */
static void say_missing(struct pt_tools *tools, bool answer)
{
    struct pt_buf b = {0};
    uint32_t missing = 0;
    size_t mark = pt_frame_begin(&b, PT_C_MISSING);
    size_t count = b.len;
    pt_put_u32(&b, 0);
    for (uint32_t i = 0; i < tools->n; i++)
        if (!tools->list[i].there && !tools->list[i].optional) {
            pt_put_u32(&b, i);
            missing++;
        }
    pt_set_u32(&b, count, missing);
    pt_frame_end(&b, mark);
    tools->agent->tooled = missing == 0;
    if (answer || missing == 0)
        pt_agent_send(tools->agent, &b);
    else
        pt_buf_fini(&b);
    pt_agent_advance(tools->agent);
}

int pt_tools_offer(struct pt_tools *tools, struct pt_reader *body, struct pt_err *err)
{
    uint32_t n = pt_get_u32(body);
    if (tools->offered || n > TOOLS_MAX)
        return pt_err_set(err, "tools: offered twice, or too many");
    tools->offered = true;
    for (uint32_t i = 0; i < n; i++) {
        tools->n = i + 1;
        if (get_tool(tools, body, &tools->list[i], err) < 0)
            return -1;
    }
    if (!pt_get_end(body))
        return pt_err_set(err, "tools: malformed message");
    say_missing(tools, true);
    return 0;
}

/* The error of a write below the cache, with what to do. */
static int cannot_store(const struct pt_tools *tools, const char *what, int why, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_INFRA, "cannot store %s in %s: %s", what, tools->agent->cache, strerror(why));
    if (why == ENOSPC || why == EDQUOT)
        return pt_err_hint(err, "make room there, or name another folder with --remote-dir");
    return pt_err_hint(err, "name a folder of yours that can be written with --remote-dir");
}

static int make_folder(const struct pt_tools *tools, const char *path, struct pt_err *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return cannot_store(tools, path, errno, err);
}

int pt_tools_begin(struct pt_tools *tools, struct pt_reader *body, struct pt_err *err)
{
    uint32_t index = pt_get_u32(body);
    if (!pt_get_end(body) || index >= tools->n || tools->now || tools->list[index].there)
        return pt_err_set(err, "tools: number %u is not asked for", index);
    if (!tools->digest && !(tools->digest = pt_digest_create(PT_DIGEST_SHA256, err)))
        return -1; /* made now: most runs bring no program */
    tools->now = &tools->list[index];
    tools->got = 0;
    pt_auto_free char *bin = NULL;
    if (asprintf(&bin, "%s/bin", tools->agent->cache) < 0 ||
        asprintf(&tools->part, "%s/new.XXXXXX", tools->now->folder) < 0)
        return pt_err_set(err, "tools: out of memory");
    if (make_folder(tools, bin, err) < 0 || make_folder(tools, tools->now->folder, err) < 0)
        return -1;
    if (tools->now->package)
        return mkdtemp(tools->part) ? 0 : cannot_store(tools, tools->now->name, errno, err);
    tools->fd = mkostemp(tools->part, O_CLOEXEC);
    return tools->fd < 0 ? cannot_store(tools, tools->now->name, errno, err) : 0;
}

int pt_tools_data(struct pt_tools *tools, const void *data, size_t n, struct pt_err *err)
{
    if (!tools->now || n > tools->now->size - tools->got)
        return pt_err_set(err, "tools: more bytes than were offered");
    tools->got += n;
    pt_digest_add(tools->digest, data, n);
    if (tools->now->package) {
        pt_buf_append(&tools->bytes, data, n);
        return tools->bytes.bad ? pt_err_set(err, "tools: out of memory") : 0;
    }
    for (const char *p = data; n;) {
        ssize_t done = write(tools->fd, p, n);
        if (done < 0 && errno != EINTR)
            return cannot_store(tools, tools->now->name, errno, err);
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return 0;
}

/* Another run may have put the same program there meanwhile, and on a home of several hosts may run it: that
 * one stays. */
static int store_program(struct pt_tools *tools, struct pt_err *err)
{
    const char *path = tools->now->path;
    if (fchmod(tools->fd, 0700) < 0 || fsync(tools->fd) < 0)
        return cannot_store(tools, tools->now->name, errno, err);
    if (link(tools->part, path) < 0 && !is_there(tools->now) && rename(tools->part, path) < 0)
        return cannot_store(tools, tools->now->name, errno, err);
    return 0;
}

/* Another run may have put the same package there meanwhile: then theirs is as good. */
static int store_package(struct pt_tools *tools, struct pt_err *err)
{
    if (pt_unpack_tar(tools->bytes.data, tools->bytes.len, tools->part, err) < 0)
        return pt_err_wrap(err, "cannot unpack the Python package in %s", tools->agent->cache);
    if (rename(tools->part, tools->now->path) < 0 && !is_there(tools->now))
        return cannot_store(tools, tools->now->name, errno, err);
    return 0;
}

int pt_tools_end(struct pt_tools *tools, struct pt_err *err)
{
    unsigned char digest[PT_DIGEST];
    struct tool *tool = tools->now;
    if (!tool)
        return pt_err_set(err, "tools: END without a tool");
    if (pt_digest_end(tools->digest, digest) < 0)
        return pt_err_set(err, "tools: SHA-256 does not work here");
    if (tools->got != tool->size || memcmp(digest, tool->digest, PT_DIGEST) != 0)
        return pt_err_set(err, "tools: %s came damaged", tool->name);
    if ((tool->package ? store_package(tools, err) : store_program(tools, err)) < 0)
        return -1;
    tool->there = true;
    drop_part(tools);
    if (tool->optional)
        pt_agent_advance(tools->agent);
    else
        say_missing(tools, false);
    return 0;
}

static const struct tool *find(const struct pt_tools *tools, const char *name)
{
    for (uint32_t i = 0; tools && i < tools->n; i++)
        if (strcmp(tools->list[i].name, name) == 0)
            return &tools->list[i];
    return NULL;
}

void pt_tools_ask(struct pt_tools *tools, const char *name)
{
    const struct tool *tool = find(tools, name);
    if (!tool || tool->there)
        return;
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_MISSING);
    pt_put_u32(&b, 1);
    pt_put_u32(&b, (uint32_t)(tool - tools->list));
    pt_frame_end(&b, mark);
    pt_agent_send(tools->agent, &b);
}

const char *pt_tools_folder(const struct pt_tools *tools, const char *name)
{
    const struct tool *tool = find(tools, name);
    return tool ? tool->folder : NULL;
}

const char *pt_tools_path(const struct pt_tools *tools, const char *name)
{
    const struct tool *tool = find(tools, name);
    return tool && tool->there ? tool->path : NULL;
}
