/* SPDX-License-Identifier: Apache-2.0 */
/* A small tar into a folder: nothing comes to lie outside of it. */
#include "common/err.h"
#include "fuzz.h"
#include "sync/smalltar.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_odd(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "in") != 0 &&
           strcmp(e->d_name, "out") != 0;
}

static void none_outside(void)
{
    struct dirent **found;
    int n = scandir(fuzz_folder(), &found, is_odd, alphasort);
    FUZZ_CHECK(n == 0);
    free(found);
    FUZZ_CHECK(rmdir(fuzz_path("out")) == 0); /* was and is empty */
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    char folder[300];
    uint8_t how = fuzz_byte(&in);
    snprintf(folder, sizeof(folder), "%s", fuzz_path("in"));
    mkdir(fuzz_path("out"), 0700);
    if (how & 1)
        mkdir(folder, 0700);
    if ((how & 3) == 3)
        FUZZ_CHECK(symlink("../out", fuzz_path("in/link")) == 0);
    if (how & 4) /* no folder */
        fuzz_file(how & 1 ? "in/a" : "in", "", 0);
    int rc = pt_unpack_tar(in.p, in.left, folder, &err);
    FUZZ_CHECK(rc == 0 || err.msg[0]);
    fuzz_feed();
    none_outside();
    fuzz_remove("in");
}
