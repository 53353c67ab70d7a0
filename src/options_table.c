/* SPDX-License-Identifier: Apache-2.0 */
#include "options_table.h"

#include "common/auto.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <string.h>

#define AT(field)    .offset = offsetof(struct pt_options, field)
#define WEEK_SECONDS (7 * 24 * 3600)

/* A longer one cannot be given to a program. */
static bool fits_env(const char *s)
{
    size_t n = strcspn(s, "=");
    if (n == 0 || isdigit((unsigned char)s[0]) || strlen(s) >= 128u << 10)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_')
            return false;
    return true;
}

static bool fits_address(const char *s)
{
    const char *colon = strrchr(s, ':');
    if (!colon || colon == s)
        return false;
    bool bracketed = s[0] == '[' && colon[-1] == ']' && colon - s > 2;
    if (!bracketed && (memchr(s, ':', (size_t)(colon - s)) || s[0] == '['))
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits > 0 && digits <= 5 && colon[1 + digits] == '\0' && atol(colon + 1) <= 65535;
}

static bool fits_absolute(const char *s)
{
    return s[0] == '/';
}

static bool fits_seed(const char *s)
{
    errno = 0;
    strtoull(s, NULL, 10);
    return !errno && strspn(s, "0123456789") == strlen(s);
}

static bool fits_regex(const char *s)
{
    regex_t re;
    if (!*s || regcomp(&re, s, REG_EXTENDED | REG_NOSUB))
        return false;
    regfree(&re);
    return true;
}

/* As ptremote names runs: 20261121-181530-0a1b2c. */
static bool like_run(const char *s)
{
    return strspn(s, "0123456789") == 8 && s[8] == '-' && s[strspn(s, "0123456789abcdef-")] == '\0';
}

static bool fits_resume(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef-");
    return strcmp(s, "changed") == 0 ||
           (isdigit((unsigned char)s[0]) && (!s[n] || strcmp(s + n, ",changed") == 0)) || !*s;
}

static const char *const host_keys[] = {"strict", "accept-new", NULL};
static const char *const collects[] = {"here", "remote", NULL};
static const char *const schedules[] = {"dynamic", "static", "sequential", NULL};
static const char *const dists[] = {"file", "scope", "group", "test", "each", NULL};
static const char *const splits[] = {"auto", "never", NULL};
static const char *const isolates[] = {"session", "bundle", "test", NULL};
static const char *const shares[] = {"slots", "none", NULL};
static const char *const digests[] = {"blake2b", "sha256", NULL};
static const char *const colors[] = {"auto", "yes", "no", NULL};

const char *const pt_option_groups[PT_GROUPS] = {"Hosts", "What to send", "What to run", "Results", "Other"};

/* clang-format off */
const struct pt_option_row pt_option_rows[] = {
    /* Hosts */
    {"hosts", 0, PT_OPTION_STRING, PT_GROUP_HOSTS, PT_FILES_ANY, AT(hosts), .value = "LIST",
     .help = "Hosts to run on: [user@]host[:slots], comma separated. local[:slots] is this machine without SSH. "
             "Slots default to the host's cores; an IPv6 address stands in brackets. Labels follow the slots, as in h1:8+gpu+big or "
             "h1:+gpu, for tests marked with ptremote.mark.needs. Default: $PTREMOTE_HOSTS, else local."},
    {"hostfile", 0, PT_OPTION_FILE, PT_GROUP_HOSTS, PT_FILES_ANY, AT(hostfile), .value = "FILE",
     .help = "Read hosts from FILE, in Open MPI's format: lines such as 'h1 slots=8', and labels as labels=gpu,big."},
    {"ssh-config", 0, PT_OPTION_FILE, PT_GROUP_HOSTS, PT_FILES_USER, AT(ssh_config), .value = "FILE",
     .help = "OpenSSH client configuration to use in place of ~/.ssh/config: ports, users, keys, jump hosts."},
    {"host-key", 0, PT_OPTION_CHOICE, PT_GROUP_HOSTS, PT_FILES_USER, AT(host_key), .choices = host_keys,
     .help = "What to do with a host that known_hosts does not have: refuse it (strict, the default), or write its "
             "key down and go on (accept-new). A key that changed is always refused."},
    {"require-all-hosts", 0, PT_OPTION_FLAG, PT_GROUP_HOSTS, PT_FILES_ANY, AT(require_all_hosts),
     .help = "End with exit code 6 when any host cannot be used. Otherwise the run goes on with the others."},
    {"mpirun", 0, PT_OPTION_STRING, PT_GROUP_HOSTS, PT_FILES_ANY, AT(mpirun), .value = "CMD",
     .help = "The mpirun to start on the hosts. Default: the one in PATH there, else the distribution's folders."},
    {"init", 0, PT_OPTION_STRING, PT_GROUP_HOSTS, PT_FILES_ANY, AT(init), .value = "CMD",
     .help = "Run CMD once in the host's login shell, and give the environment that it leaves behind to everything "
             "started there, as in --init 'module load openmpi'."},
    {"remote-dir", 0, PT_OPTION_STRING, PT_GROUP_HOSTS, PT_FILES_ANY, AT(remote_dir), .value = "DIR",
     .help = "Folder on the hosts for programs, files and workspaces. Default: $XDG_CACHE_HOME/ptremote there, "
             "else ~/.cache/ptremote."},
    {"cache-size", 0, PT_OPTION_SIZE, PT_GROUP_HOSTS, PT_FILES_ANY, AT(cache_size), .value = "SIZE",
     .help = "How much that folder may take: 500m, 10g; 0: no limit. Default 20g. Beyond it, what was used last longest ago goes while a run is "
             "under way: whole workspaces, content, old programs; never what a run uses."},
    {"listen", 0, PT_OPTION_STRING, PT_GROUP_HOSTS, PT_FILES_USER, AT(listen), .value = "ADDR:PORT",
     .fits = fits_address, .want = "ADDR:PORT, as 10.0.0.5:7000 or [fd00::1]:7000",
     .help = "Let workers connect to this address of this machine instead of through SSH. TLS either way."},

    /* What to send */
    {"project", 0, PT_OPTION_FOLDER, PT_GROUP_SEND, PT_FILES_NONE, AT(project), .value = "DIR",
     .help = "The tree to send. Default: the top of the git work tree, else pytest's rootdir."},
    {"extra-files", 0, PT_OPTION_WORDS, PT_GROUP_SEND, PT_FILES_ANY, AT(extra_files), .value = "GLOB",
     .help = "Send these files too, even if git ignores them, such as built libraries: --extra-files 'build/**/*.so'. "
             "Relative to the project. May be repeated."},
    {"exclude", 0, PT_OPTION_WORDS, PT_GROUP_SEND, PT_FILES_ANY, AT(exclude), .value = "GLOB",
     .help = "Do not send these files. Relative to the project; without a slash: anywhere in it. May be repeated."},
    {"keep", 0, PT_OPTION_WORDS, PT_GROUP_SEND, PT_FILES_ANY, AT(keep), .value = "GLOB",
     .help = "Let what tests or builds made in the workspace stay there for the next run, such as compiled files: --keep build. "
             "Everything else that is not in the tree is removed. Relative to the project; without a slash: anywhere in it. "
             "May be repeated."},
    {"copy-links", 0, PT_OPTION_FLAG, PT_GROUP_SEND, PT_FILES_ANY, AT(copy_links),
     .help = "Send what a symbolic link that leaves the project points to, in place of the link. Otherwise such a link is "
             "refused; links within the project are always sent as links."},
    {"digest", 0, PT_OPTION_CHOICE, PT_GROUP_SEND, PT_FILES_ANY, AT(digest), .choices = digests,
     .help = "How contents are named: blake2b, the default, or sha256, which is quicker on some processors, and the "
             "one of the two that hosts in FIPS mode have."},
    {"shared-fs", 0, PT_OPTION_STRING, PT_GROUP_SEND, PT_FILES_ANY, AT(shared_fs), .value = "PATH",
     .fits = fits_absolute, .want = "an absolute path on the hosts",
     .help = "Send nothing: every host sees the project at PATH, as over NFS, and runs there. What tests write stays where "
             "they wrote it. A host that does not see this very tree there is not used."},
    {"env", 0, PT_OPTION_WORDS, PT_GROUP_SEND, PT_FILES_ANY, AT(env), .value = "NAME[=VALUE]",
     .fits = fits_env, .want = "NAME or NAME=VALUE of less than 128 KiB",
     .help = "Set an environment variable for the tests, or pass on the one that is set here. {workspace} in VALUE "
             "becomes the path of the tree on the host. May be repeated."},

    /* What to run */
    {NULL, 'k', PT_OPTION_STRING, PT_GROUP_RUN, PT_FILES_NONE, AT(keyword), .value = "EXPR",
     .help = "Only tests whose names match the expression, as in pytest."},
    {NULL, 'm', PT_OPTION_STRING, PT_GROUP_RUN, PT_FILES_NONE, AT(markers), .value = "EXPR",
     .help = "Only tests whose marks match the expression, as in pytest."},
    {"exitfirst", 'x', PT_OPTION_ALIAS, PT_GROUP_RUN, PT_FILES_ANY, .means = "maxfail", .min = 1,
     .help = "Stop everywhere at the first failure or error."},
    {"maxfail", 0, PT_OPTION_NUMBER, PT_GROUP_RUN, PT_FILES_ANY, AT(maxfail), .max = 1000000, .value = "N",
     .help = "Stop everywhere after N failures or errors; 0: never."},
    {"last-failed", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(last_failed),
     .help = "Only tests that failed when they last ran, by the record of runs: of one that was cut off or resumed counts what it came to. "
             "All when none is known to have failed, as with pytest's --lf, whose --last-failed-no-failures may follow --."},
    {"lf", 0, PT_OPTION_ALIAS, PT_GROUP_RUN, PT_FILES_ANY, .means = "last-failed",
     .help = "As --last-failed. After --, it is pytest's own, which goes by pytest's cache."},
    {"failed-first", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(failed_first),
     .help = "All tests, but files with one that failed when it last ran, by the record of runs, come first, and such tests first in their file."},
    {"ff", 0, PT_OPTION_ALIAS, PT_GROUP_RUN, PT_FILES_ANY, .means = "failed-first", .help = "As --failed-first."},
    {"timeout", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(timeout_ms), .max = WEEK_SECONDS, .value = "SECONDS",
     .help = "Kill a test that takes longer, wall time, and go on with the next: 30, 1.5, 2m, 1h; 0, the default: no limit."},
    {"schedule", 0, PT_OPTION_CHOICE, PT_GROUP_RUN, PT_FILES_ANY, AT(schedule), .choices = schedules,
     .help = "dynamic, the default: on demand, what takes longest first. static: packed onto the slots before the run, the same way "
             "each time; --dry-run prints it. sequential: one test at a time over the whole run, in order, to find out which "
             "test breaks another."},
    {"dist", 0, PT_OPTION_CHOICE, PT_GROUP_RUN, PT_FILES_ANY, AT(dist), .choices = dists,
     .help = "What is dealt as one: test files (the default); scope: classes, and what a module has outside of them; group: tests "
             "with one xdist_group mark; single tests; each: every test on every host."},
    {"split", 0, PT_OPTION_CHOICE, PT_GROUP_RUN, PT_FILES_ANY, AT(split), .choices = splits,
     .help = "With --dist file, a file that would end the run late is cut into parts, and slots that idle take what another has not "
             "begun (auto, the default), at the price of one more import and module set-up each. never: a file stays whole."},
    {"speculate", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(speculate),
     .help = "Near the end, run what is slow a second time on a slot that idles; the first result counts. For tests that "
             "bear being run twice at once."},
    {"shuffle", 0, PT_OPTION_MAYBE, PT_GROUP_RUN, PT_FILES_NONE, AT(shuffle), .value = "SEED", .fits = fits_seed,
     .want = "a number up to 18446744073709551615",
     .help = "Run in a random order: files, classes within them, tests within those. The seed is printed; giving it "
             "again gives the same order."},
    {"replay", 0, PT_OPTION_FILE, PT_GROUP_RUN, PT_FILES_NONE, AT(replay), .value = "FILE",
     .help = "Run each test on the host and slot, in the bundle and in the order, that a file written by --json tells of."},
    {"resume", 0, PT_OPTION_MAYBE, PT_GROUP_RUN, PT_FILES_NONE, AT(resume), .value = "RUN|changed", .fits = fits_resume,
     .next = like_run, .want = "a run's name, changed, or both with a comma",
     .help = "Go on with a run that was cut off or ended early, the last one or RUN: its command again, with what is given besides, but "
             "what has an outcome keeps it and only the rest runs. Refused when the tree has changed; with =changed the tests that a changed "
             "file could touch run again: a test file's own, those below a conftest.py or __init__.py, all for any other file."},
    {"isolate", 0, PT_OPTION_CHOICE, PT_GROUP_RUN, PT_FILES_ANY, AT(isolate), .choices = isolates,
     .help = "What has a process of its own: the session of a slot (the default: session fixtures are set up once a slot), each bundle, "
             "or each test. The latter two are forked from a session that has loaded everything but ran no fixture."},
    {"preload", 0, PT_OPTION_STRING, PT_GROUP_RUN, PT_FILES_ANY, AT(preload), .value = "auto|none|MODULES",
     .help = "Modules that a host imports once for all its slots: those that most files import, learnt from earlier runs (auto, the "
             "default); none; or names with commas. Never the project's own."},
    {"target", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(target_ms), .max = WEEK_SECONDS, .value = "TIME",
     .help = "Use no more slots than end the run in about that time, going by earlier runs: 10m."},
    {"runtime-data", 0, PT_OPTION_FILE, PT_GROUP_RUN, PT_FILES_ANY, AT(runtime_data), .value = "FILE",
     .help = "Read what files take from FILE, in Testplan's format, and write it there at the end. What was learnt here "
             "(in .ptremote) comes first."},
    {"reruns", 0, PT_OPTION_NUMBER, PT_GROUP_RUN, PT_FILES_ANY, AT(reruns), .max = 100, .value = "N",
     .help = "Run a test that failed, crashed, timed out or had an error up to N times more. Every try is reported; one that passes in the "
             "end counts as passed and as flaky."},
    {"only-rerun", 0, PT_OPTION_WORDS, PT_GROUP_RUN, PT_FILES_ANY, AT(only_rerun), .value = "REGEX", .fits = fits_regex,
     .want = "a POSIX extended regular expression",
     .help = "Rerun only what failed with words that match. May be repeated."},
    {"run-timeout", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(run_timeout_ms), .max = WEEK_SECONDS, .value = "TIME",
     .help = "End the whole run after that time; what did not run is told as notrun, and the exit code is 2."},
    {"grace", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(grace_ms), .max = WEEK_SECONDS, .value = "SECONDS",
     .help = "How long tear-downs may take when sessions end, before they are killed. Default 10."},
    {"share", 0, PT_OPTION_CHOICE, PT_GROUP_RUN, PT_FILES_ANY, AT(share), .choices = shares,
     .help = "What runs of one user do that meet on a host. slots, the default: they share its slots, all together never run more than "
             "the larger number of them at once, and each is told whom it waits for. none: this run heeds no other, and none heeds it."},
    {"heartbeat", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(heartbeat_ms), .min = 1, .max = 3600, .value = "SECONDS",
     .help = "A host, or the master seen from a host, that was not heard of for two and a half times that long is lost: what it ran goes "
             "to others. Default 5."},
    {"linger", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(linger_ms), .max = WEEK_SECONDS, .value = "TIME",
     .help = "When the connection to a host breaks (lid closed, network changed), it goes on with what it was dealt for up to that long, "
             "keeps the reports, and is connected to again: 30m. Without: it cleans up, and others run what it had. A host whose login manager ends "
             "what a login leaves running has to keep your own manager instead (there, once: loginctl enable-linger); it says so."},
    {"leave-with-hosts", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(leave_ms), .max = WEEK_SECONDS, .value = "TIME",
     .help = "With --linger: deal so much work ahead that each slot has something to do for that long when the connection breaks, as far as earlier "
             "runs tell what tests take: 20m."},
    {"mpi-grace", 0, PT_OPTION_SECONDS, PT_GROUP_RUN, PT_FILES_ANY, AT(mpi_grace_ms), .min = 1, .max = WEEK_SECONDS, .value = "SECONDS",
     .help = "How long the other ranks of an MPI test may go on in a set-up, call or tear-down that failed on one of them, before they count "
             "as hung: the Python stacks of all are shown, the test fails and its ranks are ended. Default 3."},
    {"mpi-across", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(mpi_across),
     .help = "Spread every MPI test over two or more hosts, also where one host has slots enough. A test of more ranks than any host has "
             "slots is spread in any case. The hosts must reach each other by TCP, and have one Open MPI."},
    {"sandbox", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(sandbox),
     .help = "Run tests without a network but for a loopback of their own, and with a read-only tree; temporary folders are as ever. No MPI test is "
             "spread over hosts. A host that does not allow it (user namespaces, Linux 5.12) is not used. To find what tests need, "
             "not to hold tests that mean harm."},
    {"memory-per-slot", 0, PT_OPTION_SIZE, PT_GROUP_RUN, PT_FILES_ANY, AT(memory_per_slot), .min = 16u << 20, .value = "SIZE",
     .help = "Kill a test whose process, with all that it started, takes more memory: 512m, 2g. It is told as crashed, with "
             "what it took. Slots that a host's memory cannot carry are warned of."},
    {"python", 0, PT_OPTION_STRING, PT_GROUP_RUN, PT_FILES_ANY, AT(python), .value = "CMD",
     .help = "The Python that runs the suite, here to collect it and on the hosts. Default: python3 in PATH, on a host after --init; /usr/bin/python3 where that one has no pytest."},
    {"bundles-per-worker", 0, PT_OPTION_NUMBER, PT_GROUP_RUN, PT_FILES_ANY, AT(bundles_per_worker),
     .min = 1, .max = 1000, .initial = 10, .value = "N",
     .help = "Deal the test files in about N portions for each slot. More: the slots end closer together; fewer: "
             "less is said over the network. From 1 to 1000, default 10."},
    {"collect", 0, PT_OPTION_CHOICE, PT_GROUP_RUN, PT_FILES_ANY, AT(collect), .choices = collects,
     .help = "Where to collect the tests: here (default), or remote, on a host, for a suite that cannot be imported here."},
    {"stream-collection", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(stream_collection),
     .help = "Deal files while others are still being collected, although a hook of the suite may change the "
             "selection: for hooks that only add marks."},
    {"strict-collection", 0, PT_OPTION_FLAG, PT_GROUP_RUN, PT_FILES_ANY, AT(strict_collection),
     .help = "Run nothing when a file cannot be collected, as pytest does. Otherwise it is one error and the rest runs."},

    /* Results */
    {"junitxml", 0, PT_OPTION_FILE, PT_GROUP_RESULTS, PT_FILES_ANY, AT(junitxml), .value = "FILE",
     .help = "Write a JUnit XML report, the one that pytest would write, plus the host of each test."},
    {"json", 0, PT_OPTION_FILE, PT_GROUP_RESULTS, PT_FILES_ANY, AT(json), .value = "FILE",
     .help = "Write a JSON report."},
    {"live", 0, PT_OPTION_FLAG, PT_GROUP_RESULTS, PT_FILES_ANY, AT(live),
     .help = "Show what tests write outside of pytest's capture as it comes, with host, worker and test: for -- -s and live logging. The whole "
             "of it is in .ptremote/logs in any case."},
    {"verbose", 'v', PT_OPTION_COUNT, PT_GROUP_RESULTS, PT_FILES_ANY, AT(verbose), .max = 10,
     .help = "Say more; a line for each test. May be repeated."},
    {"quiet", 'q', PT_OPTION_COUNT, PT_GROUP_RESULTS, PT_FILES_ANY, AT(quiet), .max = 10,
     .help = "Say less. May be repeated."},
    {"color", 0, PT_OPTION_CHOICE, PT_GROUP_RESULTS, PT_FILES_ANY, AT(color), .choices = colors,
     .help = "Colours: on a terminal (auto, the default), always or never."},
    {"state-dir", 0, PT_OPTION_FOLDER, PT_GROUP_RESULTS, PT_FILES_USER, AT(state_dir), .value = "DIR",
     .help = "Folder here for the record of runs, durations and caches. Default: .ptremote in the project. It may be on a network file "
             "system, where the record is slower; it is never sent. --resume and the commands that read the record take it too."},

    /* Other */
    {"detach", 0, PT_OPTION_FLAG, PT_GROUP_OTHER, PT_FILES_NONE, AT(detach),
     .help = "Run in the background: return once the run is under way, with its name; ptremote attach shows it, ptremote stop ends it. It outlives "
             "the terminal, and the login too unless this machine kills what a user leaves behind (then: loginctl enable-linger, and systemd-run --user --scope ptremote ...). Nobody can be asked for a password or "
             "passphrase: use ssh-agent. A run that fails or ends before it is under way is told at once."},
    {"dry-run", 0, PT_OPTION_FLAG, PT_GROUP_OTHER, PT_FILES_NONE, AT(dry_run),
     .help = "Collect, and print which bundle would go where and how much would be sent. Runs no test."},
    {"sync-only", 0, PT_OPTION_FLAG, PT_GROUP_OTHER, PT_FILES_NONE, AT(sync_only),
     .help = "Bring programs and tree to all hosts, print what was sent to each, and run nothing. Ends with 6 when one "
             "of them could not be brought up to date."},
    {"debug", 0, PT_OPTION_FLAG, PT_GROUP_OTHER, PT_FILES_ANY, AT(debug),
     .help = "Write what happens inside to stderr."},
    {"version", 0, PT_OPTION_VERSION, PT_GROUP_OTHER, PT_FILES_NONE,
     .help = "Print the version and exit."},
    {"help", 'h', PT_OPTION_HELP, PT_GROUP_OTHER, PT_FILES_NONE, .value = "man|bash",
     .help = "Print this help and exit; with =man as a man page, with =bash as completion for bash."},
};
/* clang-format on */

const size_t pt_option_count = PT_COUNT(pt_option_rows);
_Static_assert(PT_COUNT(pt_option_rows) <= PT_OPTIONS_ROWS, "given[] is too small for the table");

const struct pt_option_row *pt_option_find(const char *name, size_t n)
{
    for (size_t i = 0; i < pt_option_count; i++) {
        const char *row = pt_option_rows[i].name;
        if (row && strlen(row) == n && !memcmp(row, name, n))
            return &pt_option_rows[i];
    }
    return NULL;
}

const struct pt_option_row *pt_option_find_letter(char letter)
{
    for (size_t i = 0; letter && i < pt_option_count; i++)
        if (pt_option_rows[i].letter == letter)
            return &pt_option_rows[i];
    return NULL;
}

#define NEAR_MAX 32

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Letters to insert, drop, change or swap to make one word of the other. Both shorter than NEAR_MAX. */
static size_t distance(const char *a, size_t n, const char *b)
{
    size_t d[NEAR_MAX + 1][NEAR_MAX + 1];
    size_t m = strlen(b);
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[n][m];
}

const struct pt_option_row *pt_option_near(const char *name, size_t n)
{
    const struct pt_option_row *best = NULL;
    size_t nearest = 3;
    if (n < 2 || n > NEAR_MAX)
        return NULL;
    for (size_t i = 0; i < pt_option_count; i++) {
        const char *row = pt_option_rows[i].name;
        if (!row || strlen(row) > NEAR_MAX)
            continue;
        size_t far = distance(name, n, row);
        if (n >= 3 && !strncmp(row, name, n))
            far = 1;
        if (far < nearest && far * 2 < n) {
            nearest = far;
            best = &pt_option_rows[i];
        }
    }
    return best;
}
