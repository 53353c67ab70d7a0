/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "options_table.h"
#include "project.h"
#include "records_inside.h"

#include <string.h>

const struct pt_record_command pt_record_commands[] = {
    {"runs", NULL, false, false, pt_record_runs, NULL},
    {"show", "RUN", false, false, pt_record_show, NULL},
    {"report", "RUN", true, false, pt_record_report, NULL},
    {"history", "NODEID-PART", false, false, pt_record_history, NULL},
    {"attach", "RUN", false, true, pt_record_attach, NULL},
    {"stop", "RUN", false, true, pt_record_stop, NULL},
    {"add-host", "RUN", false, true, pt_record_add_host, "HOSTS"},
    {"drain-host", "RUN", false, true, pt_record_drain_host, "HOST"},
    {0},
};

static const struct pt_record_command *find(const char *word)
{
    for (const struct pt_record_command *c = pt_record_commands; c->name; c++)
        if (strcmp(c->name, word) == 0)
            return c;
    return NULL;
}

bool pt_records_is(const char *word)
{
    return find(word) != NULL;
}

/* The user's file may say where the state is, as it does for runs. */
static char *state_folder(const struct pt_record_options *o, struct pt_err *err)
{
    struct pt_options user;
    pt_option_defaults(&user);
    char *path = NULL;
    if (o->state_dir || pt_options_load_user(&user, err) == 0)
        path = pt_project_state_here(o->project, o->state_dir ? o->state_dir : user.state_dir, err);
    pt_options_fini(&user);
    return path;
}

int pt_records(int argc, char *const *argv, struct pt_err *err)
{
    const struct pt_record_command *command = find(argv[0]);
    struct pt_record_options o;
    pt_log_setup(PT_LOG_WARN, "ptremote");
    int rc = pt_record_parse(command, argc, argv, &o, err);
    if (rc)
        return rc < 0 ? -1 : 0;
    pt_auto_free char *state = state_folder(&o, err);
    struct pt_ledger *l = state ? pt_ledger_look(state, err) : NULL;
    if (!l)
        return -1;
    o.state = state;
    rc = !command->live && pt_ledger_hold(l, err) < 0 ? -1 : command->run(l, &o, err);
    pt_ledger_close(l);
    return rc;
}
