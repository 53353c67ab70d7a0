/* SPDX-License-Identifier: Apache-2.0 */
/* A tree that the host sees where it lies, and runs that only bring the tree. */
#include "agent_master.h"

#define SECRET "0123456789abcdef0123456789abcdef"

TestSuite(agent_shared, .init = set_up, .fini = tear_down, .timeout = 100);

static char tree[128], proof[192];

static struct pt_setup shared_setup(void)
{
    struct pt_setup setup = default_setup();
    snprintf(tree, sizeof(tree), "%s/shared", w.dir);
    snprintf(proof, sizeof(proof), "%s/.ptremote", tree);
    cr_assert(mkdir(tree, 0755) == 0 && mkdir(proof, 0700) == 0);
    snprintf(proof, sizeof(proof), "%s/.ptremote/shared-1", tree);
    write_file(proof, SECRET, 0600);
    setup.shared = tree;
    setup.proof = (char *)".ptremote/shared-1";
    setup.secret = (char *)SECRET;
    return setup;
}

static void expect_workspace(const char *path)
{
    struct pt_ready ready;
    expect_ready(&ready);
    cr_expect_str_eq(ready.workspace, path);
    pt_ready_fini(&ready);
}

Test(agent_shared, is_used_as_it_is)
{
    static const char json[] = "{\"out_fd\":-1}";
    char left[192], folder[160];
    struct pt_setup setup = shared_setup();
    struct pt_buf b = {0}, env = {0};
    snprintf(left, sizeof(left), "%s/left behind", tree);
    write_file(left, "x", 0644);
    run_with(&setup);
    size_t mark = pt_frame_begin(&b, PT_C_COLLECT);
    pt_put_str(&b, json);
    pt_frame_end(&b, mark);
    send_frame(&b);
    expect_workspace(tree);
    expect(PT_C_PYTHON);
    cr_expect_eq(WEXITSTATUS((int)expect_exited(PT_PROGRAM_COLLECTOR, NULL)), 5);
    stop();
    snprintf(folder, sizeof(folder), "%s/python.env", w.dir);
    read_file(folder, &env);
    pt_buf_append(&env, "", 1);
    snprintf(folder, sizeof(folder), "PYTHONPYCACHEPREFIX=%s/pycache/", w.cache);
    cr_expect(strstr((char *)env.data, folder) != NULL, "%s", (char *)env.data);
    snprintf(folder, sizeof(folder), "PTREMOTE_WORKSPACE=%s\n", tree);
    cr_expect(strstr((char *)env.data, folder) != NULL, "%s", (char *)env.data);
    snprintf(folder, sizeof(folder), "%s/ws", w.cache);
    cr_expect(access(folder, F_OK) < 0, "a workspace was made");
    cr_expect(access(proof, F_OK) == 0 && access(left, F_OK) == 0, "the tree was cleaned");
    cr_expect_eq(count_entries(tree), 2, "something was put into the tree");
    pt_buf_fini(&env);
}

Test(agent_shared, through_a_link)
{
    char link[160];
    struct pt_setup setup = shared_setup();
    snprintf(link, sizeof(link), "%s/link", w.dir);
    cr_assert(symlink("shared", link) == 0);
    setup.shared = link;
    start_agent();
    send_setup(&setup);
    expect_workspace(tree);
    stop();
}

/* FAIL with these words and a hint, and the end. */
static void expect_refused(const struct pt_setup *setup, const char *why)
{
    start_agent();
    send_setup(setup);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, why) != NULL, "'%s' lacks '%s'", text, why);
    cr_expect(strstr(text, "setup: ") || (strstr(text, setup->shared) && strstr(text, "--shared-fs")), "%s",
              text);
    turn_until(is_ended, "the end of the channel");
}

Test(agent_shared, path_that_is_not_there)
{
    char other[160];
    struct pt_setup setup = shared_setup();
    snprintf(other, sizeof(other), "%s/nothing", w.dir);
    setup.shared = other;
    expect_refused(&setup, "No such file or directory");
}

Test(agent_shared, path_that_is_a_file)
{
    struct pt_setup setup = shared_setup();
    setup.shared = proof;
    expect_refused(&setup, "Not a directory");
}

Test(agent_shared, another_tree)
{
    struct pt_setup setup = shared_setup();
    cr_assert(unlink(proof) == 0);
    expect_refused(&setup, "another tree: it lacks the file");
}

Test(agent_shared, an_older_copy)
{
    struct pt_setup setup = shared_setup();
    write_file(proof, SECRET "0", 0600);
    expect_refused(&setup, "not the one there");
}

Test(agent_shared, a_link_proves_nothing)
{
    char file[160];
    struct pt_setup setup = shared_setup();
    snprintf(file, sizeof(file), "%s/secret", w.dir);
    write_file(file, SECRET, 0600);
    cr_assert(unlink(proof) == 0 && symlink(file, proof) == 0);
    expect_refused(&setup, "shared tree");
}

Test(agent_shared, a_fifo_proves_nothing)
{
    struct pt_setup setup = shared_setup();
    cr_assert(unlink(proof) == 0 && mkfifo(proof, 0600) == 0);
    expect_refused(&setup, "not the one there");
}

Test(agent_shared, relative_path)
{
    struct pt_setup setup = shared_setup();
    setup.shared = (char *)"shared";
    expect_refused(&setup, "the shared tree is named badly");
}

Test(agent_shared, proof_outside)
{
    struct pt_setup setup = shared_setup();
    setup.proof = (char *)"../shared/.ptremote/shared-1";
    expect_refused(&setup, "proof lies elsewhere");
}

Test(agent_shared, secret_that_is_none)
{
    struct pt_setup setup = shared_setup();
    setup.secret = (char *)"";
    expect_refused(&setup, "the shared tree is named badly");
}

Test(agent_shared, a_tree_that_is_sent_all_the_same)
{
    struct pt_setup setup = shared_setup();
    struct pt_buf b = {0};
    start_agent();
    send_setup(&setup);
    expect_workspace(tree);
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_MANIFEST));
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "a tree was sent that is shared") != NULL, "%s", text);
    stop();
}

Test(agent_shared, an_archive_that_is_sent_all_the_same)
{
    struct pt_setup setup = shared_setup();
    struct pt_buf b = {0};
    start_agent();
    send_setup(&setup);
    expect_workspace(tree);
    pt_frame_end(&b, pt_frame_begin(&b, PT_B_ARCHIVE));
    pt_mux_send(m.mux, PT_MUX_BULK, b.data, b.len);
    pt_buf_fini(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "a tree was sent that is shared") != NULL, "%s", text);
    stop();
}

/* --- only the tree --- */

Test(agent_shared, sync_only_starts_nothing)
{
    char init[200], path[128];
    struct pt_setup setup = default_setup();
    struct pt_ready ready;
    pid_t pid = 0;
    setup.flags = PT_SETUP_SYNC_ONLY;
    snprintf(init, sizeof(init), "touch %s/init", w.dir);
    setup.init = init;
    setup.python = (char *)"no-such-python";
    run_with(&setup);
    expect_ready(&ready);
    pt_ready_fini(&ready);
    ping();
    cr_expect_eq(count_marked(w.mark, "python", &pid), 0);
    stop();
    snprintf(path, sizeof(path), "%s/init", w.dir);
    cr_expect(access(path, F_OK) < 0, "--init was run");
}

Test(agent_shared, sync_only_launches_nothing)
{
    struct pt_setup setup = default_setup();
    struct pt_launch l = {.launch = 1, .slots = 1};
    struct pt_buf b = {0};
    setup.flags = PT_SETUP_SYNC_ONLY;
    run_with(&setup);
    pt_launch_encode(&l, PT_C_LAUNCH, &b);
    send_frame(&b);
    pt_auto_free char *text = fail_text();
    cr_expect(strstr(text, "only brings the tree") != NULL, "%s", text);
    stop();
}
