/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/setup.h"

#include "remote/agent/collect.h"
#include "remote/agent/groups.h"
#include "remote/agent/init.h"
#include "remote/agent/kit.h"
#include "remote/agent/launch.h"
#include "remote/agent/least.h"
#include "remote/agent/linger.h"
#include "remote/agent/links.h"
#include "remote/agent/logind.h"
#include "remote/agent/machine.h"
#include "remote/agent/pulse.h"
#include "remote/agent/python.h"
#include "remote/agent/reach.h"
#include "remote/agent/relay.h"
#include "remote/agent/room.h"
#include "remote/agent/sandbox.h"
#include "remote/agent/shared.h"
#include "remote/agent/state.h"
#include "remote/agent/tools.h"
#include "remote/agent/tree.h"

#include <ctype.h>
#include <string.h>
#include <sys/utsname.h>

static bool good_key(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return false;
    return s[0] && s[0] != '.';
}

/* Below the workspace, and not out of it again. */
static bool stays_below(const char *path)
{
    if (path[0] == '/')
        return false;
    for (const char *p = path; *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return false;
        p += n;
    }
    return true;
}

static int check_setup(const struct pt_setup *setup, struct pt_err *err)
{
    if (!good_key(setup->project))
        return pt_err_set(err, "setup: bad key of the project");
    if (!stays_below(setup->cwd))
        return pt_err_set(err, "setup: the working directory leaves the project");
    if (!stays_below(setup->proof))
        return pt_err_set(err, "setup: the shared tree's proof lies elsewhere");
    for (uint32_t i = 0; i < setup->nenv; i++)
        if (!setup->env[i].name[0] || strchr(setup->env[i].name, '='))
            return pt_err_set_kind(err, PT_ERR_USAGE, "setup: '%s' cannot name an environment variable",
                                   setup->env[i].name);
    return 0;
}

static void say_ready(struct pt_agent *a)
{
    struct utsname uts = {.machine = "?"};
    struct pt_buf b = {0};
    uname(&uts);
    struct pt_ready ready = {.protocol = PT_PROTOCOL,
                             .machine = uts.machine,
                             .cores = pt_machine_cores(),
                             .memory = pt_machine_memory(),
                             .machine_id = a->machine_id,
                             .cache = (char *)a->cache,
                             .workspace = a->workspace,
                             .dir = a->dir->path};
    pt_ready_encode(&ready, &b);
    pt_agent_send(a, &b);
}

/* A workspace and who fills it, or the tree where it lies. */
static int find_tree(struct pt_agent *a, struct pt_err *err)
{
    if (!a->setup.shared[0])
        return (a->tree = pt_tree_create(a, err)) ? 0 : -1;
    a->workspace = pt_shared_find(&a->setup, err);
    a->synced = a->workspace != NULL;
    return a->workspace ? 0 : -1;
}

/* Before anything runs, as a host that does not allow it is not used. */
static int make_sandbox(struct pt_agent *a, struct pt_err *err)
{
    if (!(a->setup.flags & PT_SETUP_SANDBOX))
        return 0;
    return (a->sandbox = pt_sandbox_create(a->workspace, err)) ? 0 : -1;
}

static int make_parts(struct pt_agent *a, struct pt_err *err)
{
    if (find_tree(a, err) < 0 || make_sandbox(a, err) < 0 || !(a->room = pt_room_create(a, err)) ||
        !(a->pulse = pt_pulse_create(a, err)) || !(a->tools = pt_tools_create(a, err)) ||
        !(a->kit = pt_kit_create(a, err)) || !(a->links = pt_links_create(a, err)) ||
        !(a->groups = pt_groups_create(a, err)) || !(a->relays = pt_relays_create(a, err)) ||
        !(a->reach = pt_reach_create(a, err)) || !(a->python = pt_python_create(a, err)) ||
        !(a->launcher = pt_launcher_create(a, err)) || !(a->collector = pt_collector_create(a, err)) ||
        !(a->init = pt_init_create(a, err)))
        return -1;
    return 0;
}

/* Before anything is started, which then is where this process is. */
static void outlast_login(const struct pt_agent *a)
{
    const char *name = strrchr(a->dir->path, '/');
    if (a->setup.linger_ms && !(a->setup.flags & PT_SETUP_SYNC_ONLY) && name)
        pt_logind_outlast(name + 1);
}

int pt_agent_set_up(struct pt_agent *a, struct pt_reader *body, struct pt_err *err)
{
    char lacks[200];
    if (pt_setup_decode(body, &a->setup, err) < 0)
        return -1;
    a->set_up = true;
    if (a->no_dir) {
        *err = *a->no_dir;
        return -1;
    }
    if (a->setup.slots == 0)
        a->setup.slots = pt_machine_cores();
    if (!(a->machine_id = pt_machine_id()))
        return pt_err_set(err, "out of memory");
    if (check_setup(&a->setup, err) < 0)
        return -1;
    outlast_login(a);
    if (make_parts(a, err) < 0)
        return -1;
    say_ready(a);
    if (pt_least_lacks(lacks))
        pt_info("%s", lacks);
    pt_agent_advance(a);
    return 0;
}

void pt_agent_take_down(struct pt_agent *a)
{
    pt_linger_destroy(a->linger);
    a->linger = NULL;
    pt_collector_destroy(a->collector);
    pt_launcher_destroy(a->launcher);
    pt_reach_destroy(a->reach);
    pt_relays_destroy(a->relays);
    pt_groups_destroy(a->groups);
    pt_peers_fini(&a->peers);
    pt_python_destroy(a->python);
    pt_sandbox_destroy(a->sandbox);
    a->sandbox = NULL;
    pt_tree_destroy(a->tree);
    pt_pulse_destroy(a->pulse);
    a->pulse = NULL;
    pt_room_destroy(a->room);
    a->room = NULL;
    pt_kit_destroy(a->kit);
    pt_tools_destroy(a->tools);
    pt_init_destroy(a->init);
    pt_links_destroy(a->links);
    a->links = NULL;
}
