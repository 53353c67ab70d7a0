/* SPDX-License-Identifier: Apache-2.0 */
/* What the host has or lacks: environment, Python, mpirun, room. */
#include "agent_master.h"

#include <sys/mount.h>

TestSuite(agent_host, .init = set_up, .fini = tear_down, .timeout = 100);

/* --- environment --- */

static void python_env(struct pt_buf *out)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/python.env", w.dir);
    read_file(path, out);
    pt_buf_append(out, "", 1);
}

Test(agent_host, environment)
{
    struct pt_setup setup = default_setup();
    struct pt_env env[] = {{(char *)"DATA", (char *)"{workspace}/data:{workspace}"},
                           {(char *)"LANG", (char *)"C"}};
    setup.env = env;
    setup.nenv = 2;
    setup.preload = (char *)"numpy,yaml";
    setup.init = (char *)"export FROM_INIT='a b'; export OMPI_COMM_WORLD_RANK=3 PMIX_RANK=3";
    run_with(&setup);
    expect(PT_C_PYTHON);
    struct pt_ready ready;
    expect_ready(&ready);
    struct pt_buf got = {0};
    char line[512];
    stop();
    python_env(&got);
    const char *text = (const char *)got.data;
    snprintf(line, sizeof(line), "\nDATA=%s/data:%s\n", ready.workspace, ready.workspace);
    cr_expect(strstr(text, line) != NULL, "%s", text);
    cr_expect(strstr(text, "FROM_INIT=a b\n") && strstr(text, "LANG=C\n") &&
              strstr(text, "PYTHONHASHSEED=7\n"));
    cr_expect(strstr(text, "PYTHONPYCACHEPREFIX=") && strstr(text, "PTREMOTE_RUN=run1\n"));
    cr_expect(!strstr(text, "OMPI_COMM") && !strstr(text, "PMIX_"));
    cr_expect(strstr(text, "SigBlk:\t0000000000000000\n") && strstr(text, "SigIgn:\t0000000000000000\n"),
              "%s", text);
    cr_expect(strstr(text, "FDS 0 1 2 3\n") != NULL, "more than its own descriptors: %s", text);
    cr_expect(strstr(text, "\nPRELOAD numpy,yaml\n") != NULL, "%s", text);
    pt_buf_fini(&got);
    pt_ready_fini(&ready);
}

/* --init is words of the login shell, whatever that is; it sees what a login sets up. */
static void init_in(const char *shell, const char *init, const char *want)
{
    struct pt_setup setup = default_setup();
    struct pt_buf got = {0};
    if (access(shell, X_OK) != 0)
        cr_skip_test("%s is not here", shell);
    snprintf(w.shell, sizeof(w.shell), "SHELL=%s", shell);
    setup.init = (char *)init;
    run_with(&setup);
    expect(PT_C_PYTHON);
    stop();
    python_env(&got);
    cr_expect(strstr((char *)got.data, want) != NULL, "%s", (char *)got.data);
    pt_buf_fini(&got);
}

Test(agent_host, init_in_csh)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/.login", w.dir);
    write_file(path, "setenv LOGIN seen\n", 0600);
    init_in("/bin/csh", "echo noise; setenv A \"$LOGIN twice\"", "A=seen twice\n");
}

Test(agent_host, init_in_bash)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/.profile", w.dir);
    write_file(path, "export LOGIN=seen\n", 0600);
    init_in("/bin/bash", "echo noise; f() { export A=\"$1 twice\"; }; f $LOGIN # done", "A=seen twice\n");
}

Test(agent_host, init_in_sh)
{
    init_in("/bin/sh", "A='two\nlines'; export A", "A=two\nlines\n");
}

Test(agent_host, init_fails_in_csh)
{
    struct pt_setup setup = default_setup();
    strcpy(w.shell, "SHELL=/bin/csh");
    if (access("/bin/csh", X_OK) != 0)
        cr_skip_test("csh is not here");
    setup.init = (char *)"echo no such module; false";
    start_agent();
    send_setup(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "no such module") != NULL, "%s", text);
    stop();
}

Test(agent_host, init_fails)
{
    struct pt_setup setup = default_setup();
    setup.init = (char *)"echo no such module; false";
    start_agent();
    send_setup(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "--init failed (exit status 1): no such module") != NULL, "%s", text);
    stop();
}

Test(agent_host, stopped_while_init_hangs)
{
    struct pt_setup setup = default_setup();
    setup.init = (char *)"sleep 1000";
    run_with(&setup);
    stop();
}

/* A folder for sockets that others can enter, or that is too long, is passed over. */
Test(agent_host, runtime_dir_that_is_no_good)
{
    cr_assert(chmod(w.runtime, 0755) == 0);
    whole_start();
    cr_expect_eq(count_entries(w.runtime), 0);
    stop();
}

Test(agent_host, no_room_for_tools)
{
    if (geteuid() != 0 || mount("none", w.cache, "tmpfs", 0, "size=64k,mode=0700") < 0)
        cr_skip_test("needs root");
    struct pt_setup setup = default_setup();
    struct pt_buf big = {0};
    size_t size = 300000;
    memset(pt_buf_reserve(&big, size), 'x', size);
    big.len = size;
    pt_buf_fini(&tools[0].bytes);
    tools[0].bytes = big;
    pt_digest_buffer(PT_DIGEST_SHA256, big.data, big.len, tools[0].digest, NULL);
    start_agent();
    send_setup(&setup);
    offer_tools();
    expect_missing();
    send_tool(0);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "No space left on device (make room there") && strstr(text, w.cache), "%s", text);
    stop();
    hang_up();
    umount(w.cache);
}

Test(agent_host, no_python)
{
    struct pt_setup setup = default_setup();
    setup.python = (char *)"/no/python3";
    run_with(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "--python /no/python3") != NULL, "%s", text);
    stop();
}

Test(agent_host, no_mpirun)
{
    struct pt_setup setup = default_setup();
    setup.init = (char *)"mkdir -p ~/bin; export PATH=$HOME/bin";
    setup.mpirun = (char *)"mpirun";
    run_with(&setup);
    struct pt_launch l = {.launch = 1, .slots = 1, .cert = (char *)"", .key = (char *)"", .ca = (char *)""};
    struct pt_buf b = {0};
    pt_launch_encode(&l, PT_C_LAUNCH, &b);
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "no mpirun") != NULL, "%s", text);
    stop();
}

Test(agent_host, no_pytest)
{
    char python[128];
    snprintf(python, sizeof(python), "%s/python", w.dir);
    write_file(python, "#!/bin/sh\necho MISSING no module named pytest\n", 0700);
    struct pt_setup setup = default_setup();
    run_with(&setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "no module named pytest (apt-get install python3-pytest") != NULL, "%s", text);
    stop();
}

/* A process of the user that is no worker gets no keys. */
Test(agent_host, stranger_at_the_link)
{
    whole_start();
    char command[400];
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c \"import socket,glob; s=socket.socket(socket.AF_UNIX); "
             "s.connect(glob.glob('%s/*/link.sock')[0]); assert s.recv(100) == b''\"",
             w.runtime);
    cr_expect_eq(system(command), 0, "a stranger was served");
    expect(PT_C_LOG);
    stop();
}
