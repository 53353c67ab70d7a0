/* SPDX-License-Identifier: Apache-2.0 */
/* What help and man page say beside the options. */
#include "options_table.h"
#include "records.h"

const char *const pt_option_usage = "[--hosts h1:8,h2:8] [options] [PATH...] [-- PYTEST-ARGS...]";

const char *const pt_option_intro =
    "Runs a pytest suite on other machines as if they were this one: collects the tests here, sends the "
    "project "
    "over SSH, starts workers on every host, deals them bundles of test files, and prints and writes one "
    "result. A "
    "host needs sshd, Open MPI and Python with pytest; the rest is brought along.";

const struct pt_option_note pt_clean_notes[] = {
    {"clean [--hosts LIST] [--hostfile FILE] [--remote-dir DIR]",
     "removes what ptremote keeps on those hosts: programs, content, workspaces, folders of runs that were "
     "killed. What a live run uses "
     "stays, and is named. Hosts and folder are those that a run would take; 6 when a host could not be "
     "reached"},
    {0},
};

static const struct pt_option_note exits[] = {
    {"0", "all tests passed"},
    {"1", "a test failed, crashed, timed out or had an error"},
    {"2", "interrupted"},
    {"3", "internal error"},
    {"4", "usage error: an option, a path or a configuration file is wrong"},
    {"5", "no tests were collected"},
    {"6", "infrastructure: a test was lost with its host, or no host could be used. Where several hold, the "
          "first of 4, 3, 2, 6, 1, 5, 0"},
    {0},
};

static const struct pt_option_note environment[] = {
    {"PTREMOTE_HOSTS", "hosts to run on when neither --hosts nor --hostfile is given"},
    {"XDG_CONFIG_HOME", "folder of the user's ptremote.conf, in place of ~/.config"},
    {"SSH_AUTH_SOCK", "the SSH agent to ask for keys"},
    {"PYTEST_ADDOPTS, LANG, LC_*, TZ", "passed on to the tests; others with --env"},
    {"PYTHONHASHSEED", "used on every host; if it is not set, one is chosen for the run"},
    {"PTREMOTE_WORKSPACE, PTREMOTE_RUN_DIR, PTREMOTE_RUN",
     "set for the tests: the path of the tree on the host, a folder of the run there, the run"},
    {"PTREMOTE_WORKER, PTREMOTE_RANK, PTREMOTE_SLOTS",
     "set for the tests: host and worker as in h0.1, the worker's number on its host, the host's slots"},
    {"PYTEST_XDIST_WORKER, PYTEST_XDIST_WORKER_COUNT, PYTEST_XDIST_TESTRUNUID",
     "set for the tests as pytest-xdist has them: gw0 and so on over the whole run"},
    {0},
};

static const struct pt_option_note files[] = {
    {"ptremote.conf",
     "in the project's folder (without git: in the working folder): lines 'option = value' with the names of "
     "the long options without dashes, "
     "such "
     "as 'timeout = 2m'; flags take yes or no; # starts a comment line; what may be repeated has a line for "
     "each. --ssh-config, --host-key, --listen and --state-dir cannot be set by a project"},
    {"~/.config/ptremote.conf",
     "the same for all projects. The command line comes first, then $PTREMOTE_HOSTS, the project's file, the "
     "user's; options that may be repeated add up"},
    {".ptremoteignore",
     "at the top of the project: what is not sent, in the syntax of .gitignore, besides what git ignores"},
    {".ptremote/",
     "in the project, or --state-dir: the record of runs, durations, caches; may be deleted. A record that "
     "is damaged is set aside as ledger.sqlite.damaged-DATE by the next run; commands that only read say so "
     "and end with 4"},
    {"~/.ssh/config, ~/.ssh/known_hosts", "as OpenSSH uses them"},
    {"~/.cache/ptremote/",
     "on a host: programs, files and workspaces, at most --cache-size of them; ptremote clean removes them"},
    {0},
};

static const struct pt_option_note examples[] = {
    {"ptremote", "run the suite of this folder on this machine, one worker a core"},
    {"ptremote --hosts big1:16,big2:16 tests/unit", "run one folder on two hosts, 16 slots each"},
    {"ptremote --hosts big1,big2 -x -k 'not slow' -- -p no:randomly --tb=short",
     "all cores of two hosts; stop at the first failure; what follows -- goes to pytest"},
    {"ptremote --hosts big1 --init 'module load openmpi' --extra-files 'build/**/*.so'",
     "with an environment module, and libraries that git ignores"},
    {"ptremote --hosts big1:8 --junitxml report.xml --json report.json", "write reports"},
    {"ptremote --hosts big1:8 --reruns 2 --timeout 5m --memory-per-slot 2g",
     "try failures again; kill what takes too much"},
    {"ptremote --hosts big1:8 --replay report.json",
     "run each test where and when that run did, to find what depends on order"},
    {"ptremote --hosts gpu1:4+gpu,big1:16", "tests marked with ptremote.mark.needs('gpu') run on gpu1"},
    {"ptremote --hosts big1:16 --detach; ptremote attach",
     "run in the background; see how it goes, from any terminal of this machine"},
    {"ptremote runs; ptremote show; ptremote history test_mesh",
     "what runs there were, the last result again, how those tests went in each; a folder named so: ./runs"},
    {"ptremote --hosts big1,big2 --sync-only", "bring programs and project there, run nothing"},
    {"ptremote --hosts big1,big2 --shared-fs /net/home/me/project",
     "run in the project where the hosts see it; send nothing"},
    {0},
};

const struct pt_option_section pt_option_sections[] = {
    {"Commands on recorded runs", pt_record_notes, 6},
    {"Command that cleans hosts", pt_clean_notes, 6},
    {"Exit codes", exits, 5},
    {"Environment", environment, 28},
    {"Files", files, 28},
    {"Examples", examples, 6},
    {0},
};
