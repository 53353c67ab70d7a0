/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/machine.h"

#include "common/auto.h"

#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

uint32_t pt_machine_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;
    if (n < 1)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (uint32_t)n;
}

uint64_t pt_machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

char *pt_machine_id(void)
{
    char id[9] = "";
    struct utsname uts;
    pt_auto_fd int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, id, sizeof(id) - 1);
    id[n > 0 ? n : 0] = '\0';
    if (uname(&uts) < 0)
        uts.nodename[0] = '\0';
    char *name = NULL;
    if (asprintf(&name, "%.100s-%s", uts.nodename, id) < 0)
        return NULL;
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '.')
            *p = '_';
    if (name[0] == '.')
        name[0] = '_';
    return name;
}
