/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/kit.h"

#include "common/auto.h"
#include "remote/agent/child.h"
#include "remote/agent/room.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"
#include "remote/agent/tools.h"
#include "sync/smalltar.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KIT      "kit"
#define WORKER   "ptremote-worker"
#define BUILD_MS 60000
#define LINE     300 /* bytes of a line of others that are told */

enum phase {
    IDLE,
    COMING,   /* the kit was asked for */
    BUILDING, /* mpicc lives */
};

struct pt_kit {
    struct pt_agent *agent;
    enum phase phase;
    bool tried;           /* once is enough */
    char *worker, *built; /* what was started last; where one is that is built for its mpirun */
    char *mpirun, *mpicc;
    char why[LINE + 1]; /* the loader's words */
    char *folder;       /* of the build */
    struct pt_child child;
    uint64_t timer;
};

struct pt_kit *pt_kit_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_kit *kit = calloc(1, sizeof(*kit));
    if (!kit) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    kit->agent = a;
    kit->child.output = -1;
    return kit;
}

static void forget_build(struct pt_kit *kit)
{
    pt_loop_cancel(kit->agent->loop, kit->timer);
    kit->timer = 0;
    if (kit->child.pid > 0)
        kill(-kit->child.pid, SIGKILL);
    pt_child_fini(&kit->child);
    if (kit->folder)
        pt_sweep_folder(kit->folder, NULL);
    free(pt_steal_ptr(&kit->folder));
    kit->phase = IDLE;
}

void pt_kit_destroy(struct pt_kit *kit)
{
    if (!kit)
        return;
    forget_build(kit);
    free(kit->worker);
    free(kit->built);
    free(kit->mpirun);
    free(kit->mpicc);
    free(kit);
}

bool pt_kit_busy(const struct pt_kit *kit)
{
    return kit->phase != IDLE;
}

/* --- which worker --- */

static uint64_t hash(uint64_t h, const void *data, size_t n)
{
    for (const unsigned char *p = data; n--; p++)
        h = (h ^ *p) * 1099511628211u;
    return h;
}

/* Another machine (homes are shared), another mpirun or a newer one: another worker. NULL when this master
 * offers no kit. */
static char *built_for(const struct pt_agent *a, const char *mpirun)
{
    struct stat st;
    char *path = NULL;
    const char *folder = pt_tools_folder(a->tools, KIT);
    pt_auto_free char *real = realpath(mpirun, NULL);
    if (!folder || !real || stat(real, &st) < 0)
        return NULL;
    uint64_t h = hash(14695981039346656037u, a->machine_id, strlen(a->machine_id) + 1);
    h = hash(h, real, strlen(real));
    h = hash(h, &st.st_size, sizeof(st.st_size));
    h = hash(h, &st.st_mtim, sizeof(st.st_mtim));
    return asprintf(&path, "%s-%016llx/" WORKER, folder, (unsigned long long)h) < 0 ? NULL : path;
}

static bool is_ours(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && access(path, X_OK) == 0;
}

char *pt_kit_worker(struct pt_kit *kit, const char *mpirun, struct pt_err *err)
{
    const char *sent = pt_tools_path(kit->agent->tools, WORKER);
    if (!sent) {
        pt_err_set(err, "no " WORKER " among the tools");
        return NULL;
    }
    free(kit->worker);
    free(kit->built);
    free(kit->mpirun);
    kit->mpirun = strdup(mpirun);
    kit->built = built_for(kit->agent, mpirun);
    pt_auto_free char *folder =
        kit->built ? strndup(kit->built, (size_t)(strrchr(kit->built, '/') - kit->built)) : NULL;
    pt_room_use(kit->agent->room, folder);
    kit->worker = strdup(kit->built && is_ours(kit->built) ? kit->built : sent);
    char *worker = kit->worker ? strdup(kit->worker) : NULL;
    if (!worker || !kit->mpirun)
        pt_err_set(err, "out of memory");
    else
        return worker;
    free(worker);
    return NULL;
}

/* --- when it is needed --- */

static void fail(struct pt_kit *kit, const char *words, const char *more)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set_kind(&err, PT_ERR_INFRA, "the workers cannot start: %s; %s%s", kit->why, words, more);
    pt_err_hint(&err, "install Open MPI 4.1 (libopenmpi3 on Debian), or its mpicc and a C compiler "
                      "(libopenmpi-dev and gcc), on that host");
    forget_build(kit);
    pt_agent_fail(kit->agent, PT_STAGE_LAUNCH, &err);
}

static void copy_line(char out[LINE + 1], const char *line)
{
    size_t n = strcspn(line, "\r\n");
    snprintf(out, LINE + 1, "%.*s", n > LINE ? LINE : (int)n, line);
}

/* "WORKER: words" is what the loader says before main; the rest is what mpirun says when execve fails. */
static bool cannot_load(const char *worker, const char *text, char why[LINE + 1])
{
    static const char *const loader[] = {"error while loading shared libraries", "' not found (required by",
                                         "symbol lookup error"};
    static const char *const launcher[] = {"unable to find the specified executable",
                                           "or execute an executable", "\"execve\" system call"};
    size_t n = strlen(worker);
    for (const char *at = text; (at = strstr(at, worker)); at += n) {
        if (strncmp(at + n, ": ", 2) != 0)
            continue;
        copy_line(why, at + n + 2);
        for (size_t i = 0; i < PT_COUNT(loader); i++)
            if (strstr(why, loader[i]))
                return true;
    }
    for (size_t i = 0; i < PT_COUNT(launcher); i++)
        if (strstr(text, launcher[i]) && strstr(text, worker)) {
            snprintf(why, LINE + 1, "mpirun cannot execute %.200s", worker);
            return true;
        }
    return false;
}

static bool is_mpicc(const char *path)
{
    pt_auto_free char *real = realpath(path, NULL);
    return real && access(path, X_OK) == 0 && !strstr(real, "mpich") && !strstr(real, "hydra") &&
           !strstr(real, "/intel/");
}

static char *find_beside(const char *program, const char *name)
{
    char *path = NULL;
    const char *slash = program ? strrchr(program, '/') : NULL;
    if (slash && asprintf(&path, "%.*s/%s", (int)(slash - program), program, name) > 0 && is_mpicc(path))
        return path;
    free(path);
    return NULL;
}

static char *find_mpicc(const struct pt_kit *kit)
{
    static const char *const names[] = {"mpicc.openmpi", "mpicc"};
    pt_auto_free char *real = realpath(kit->mpirun, NULL);
    for (size_t i = 0; i < 2 * PT_COUNT(names); i++) {
        char *path = find_beside(i < PT_COUNT(names) ? kit->mpirun : real, names[i % PT_COUNT(names)]);
        if (path)
            return path;
    }
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        char *path = pt_environ_which(&kit->agent->env, names[i]);
        if (path && is_mpicc(path))
            return path;
        free(path);
    }
    return NULL;
}

bool pt_kit_take(struct pt_kit *kit, int status, const struct pt_buf *output)
{
    if (!kit->worker || !kit->built || !WIFEXITED(status) || WEXITSTATUS(status) == 0)
        return false;
    pt_auto_free char *text = output->len ? strndup((const char *)output->data, output->len) : NULL;
    if (!text || !cannot_load(kit->worker, text, kit->why))
        return false;
    if (kit->tried) {
        fail(kit, "so does what was built with ", kit->mpicc);
        return false;
    }
    kit->tried = true;
    free(kit->mpicc);
    if (!(kit->mpicc = find_mpicc(kit))) {
        fail(kit, "there is no mpicc to build them with", "");
        return false;
    }
    pt_info("cannot start the worker that was sent: %s", kit->why);
    kit->phase = COMING;
    pt_tools_ask(kit->agent->tools, KIT);
    return true;
}

/* --- building --- */

static int unpack(struct pt_kit *kit, const char *path, struct pt_err *err)
{
    struct stat st;
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
        return pt_err_set(err, "%s cannot be read", path);
    if (asprintf(&kit->folder, "%s/build.XXXXXX", pt_tools_folder(kit->agent->tools, KIT)) < 0) {
        kit->folder = NULL;
        return pt_err_set(err, "out of memory");
    }
    if (!mkdtemp(kit->folder)) {
        free(pt_steal_ptr(&kit->folder));
        return pt_err_set(err, "no folder to build in: %s", strerror(errno));
    }
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return pt_err_set(err, "%s cannot be read: %s", path, strerror(errno));
    int rc = pt_unpack_tar(data, (size_t)st.st_size, kit->folder, err);
    munmap(data, (size_t)st.st_size);
    return rc;
}

static void on_late(void *arg)
{
    struct pt_kit *kit = arg;
    kit->timer = 0;
    fail(kit, kit->mpicc, " did not build them within a minute");
}

static int start(struct pt_kit *kit, struct pt_err *err)
{
    struct pt_agent *a = kit->agent;
    struct pt_environ env = {0};
    char *argv[] = {kit->mpicc,         (char *)"-fPIE",    (char *)"-pie", (char *)"-Wl,-z,relro,-z,now",
                    (char *)"-o",       (char *)WORKER,     (char *)"-I.",  (char *)"remote/worker/mpi.c",
                    (char *)"worker.o", (char *)"-pthread", (char *)"-ldl", NULL};
    pt_environ_add(&env, a->env.v);
    pt_environ_set(&env, "TMPDIR", kit->folder);
    pt_environ_set(&env, "LC_ALL", "C");
    struct pt_child_spec spec = {
        .path = kit->mpicc, .argv = argv, .env = env.v, .cwd = kit->folder, .in = -1, .out = -1};
    spec.death_signal = SIGKILL;
    int rc = env.bad ? pt_err_set(err, "out of memory") : pt_child_start(&kit->child, a->loop, &spec, err);
    pt_environ_fini(&env);
    if (rc == 0)
        kit->timer = pt_loop_after(a->loop, BUILD_MS, on_late, kit);
    return rc;
}

void pt_kit_advance(struct pt_kit *kit)
{
    struct pt_err err = PT_ERR_INIT;
    const char *path = kit && kit->phase == COMING ? pt_tools_path(kit->agent->tools, KIT) : NULL;
    if (!path)
        return;
    kit->phase = BUILDING;
    if (unpack(kit, path, &err) < 0 || start(kit, &err) < 0)
        fail(kit, "they cannot be built: ", err.msg);
}

static int keep(const struct pt_kit *kit)
{
    pt_auto_free char *made = NULL, *folder = strdup(kit->built);
    if (!folder || asprintf(&made, "%s/" WORKER, kit->folder) < 0)
        return -1;
    *strrchr(folder, '/') = '\0';
    if ((mkdir(folder, 0700) < 0 && errno != EEXIST) || chmod(made, 0700) < 0)
        return -1;
    return rename(made, kit->built);
}

/* The first line that complains, else the first. */
static void first_complaint(const struct pt_buf *output, char line[LINE + 1])
{
    static const char *const words[] = {"error", "unable", "cannot", "not found", "No such"};
    pt_auto_free char *text = output->len ? strndup((const char *)output->data, output->len) : NULL;
    copy_line(line, text ? text : "it says nothing");
    for (const char *at = text; at && *at; at += strcspn(at, "\n"), at += *at == '\n')
        for (size_t i = 0; i < PT_COUNT(words); i++) {
            const char *word = strstr(at, words[i]);
            if (word && word < at + strcspn(at, "\n")) {
                copy_line(line, at);
                return;
            }
        }
}

bool pt_kit_reaped(struct pt_kit *kit, pid_t pid, int status)
{
    char line[LINE + 1], words[2 * LINE], how[48];
    if (!kit || kit->phase != BUILDING || pid != kit->child.pid)
        return false;
    kit->child.pid = 0;
    pt_child_drain(&kit->child);
    if (status != 0) {
        first_complaint(&kit->child.tail, line);
        snprintf(words, sizeof(words), "%.200s (%s): ", kit->mpicc, pt_agent_status(status, how));
        fail(kit, words, line);
    } else if (keep(kit) < 0) {
        fail(kit, "they were built, but cannot be stored: ", strerror(errno));
    } else {
        pt_info("the worker was built there with %s", kit->mpicc);
        forget_build(kit);
    }
    return true;
}
