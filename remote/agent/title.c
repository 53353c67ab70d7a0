/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/title.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static char *area;
static size_t room;

void pt_title_init(int argc, char **argv)
{
    if (argc < 1)
        return;
    area = argv[0];
    char *end = area;
    for (int i = 0; i < argc && argv[i] == end; i++)
        end += strlen(argv[i]) + 1;
    room = (size_t)(end - area);
}

void pt_title_set(const char *role)
{
    char name[16];
    snprintf(name, sizeof(name), "ptremote-%s", role);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    if (room < 2)
        return;
    memset(area, 0, room);
    snprintf(area, room, "ptremote-agent %s", role);
}
