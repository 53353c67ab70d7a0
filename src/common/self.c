/* SPDX-License-Identifier: Apache-2.0 */
#include "common/self.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define GONE " (deleted)" /* what the kernel puts behind the path of a file that was replaced */

int pt_self_path(char path[PT_SELF_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PT_SELF_MAX - 1);
    if (n <= 0)
        return -1;
    path[n] = '\0';
    size_t gone = strlen(GONE);
    if ((size_t)n > gone && strcmp(path + n - gone, GONE) == 0 && access(path, F_OK) < 0 && errno == ENOENT)
        path[(size_t)n - gone] = '\0';
    return 0;
}
