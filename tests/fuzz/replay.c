/* SPDX-License-Identifier: Apache-2.0 */
/* NAME FOLDER [ROUNDS]: every file of the folder through the target, with each of its first ROUNDS
 * allocations failing in turn, and ROUNDS changed copies of each, always the same ones; for builds without
 * libFuzzer. */
#include "fuzz.h"

#include <dirent.h>
#include <err.h>
#include <sys/time.h>

#define ROOM (1u << 20)

static uint64_t state;

static size_t below(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (size_t)(state >> 33) % n : 0;
}

static size_t change(unsigned char *p, size_t n)
{
    size_t at = below(n), len = 1 + below(n - at < 16 ? n - at : 16);
    if (n == 0)
        return 0;
    switch (below(6)) {
    case 0:
        p[at] ^= (unsigned char)(1u << below(8));
        return n;
    case 1:
        p[at] = (unsigned char)below(256);
        return n;
    case 2:
        return at;
    case 3: /* something goes */
        len = len < n - at ? len : n - at;
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    case 4: /* something comes twice */
        len = len < n - at ? len : n - at;
        memmove(p + at + len, p + at, n - at);
        return n + len;
    default: /* the first byte: memory ends */
        p[0] = (unsigned char)below(80);
        return n;
    }
}

/* In memory of exactly that size. */
static void run(const unsigned char *data, size_t n)
{
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

/* Each allocation in turn fails, `most` at most; the first byte tells which. */
static void run_starved(unsigned char *data, size_t n, unsigned long most)
{
    unsigned char first = data[0];
    bool starved = n > 0;
    for (unsigned long at = 1; starved && at <= UINT8_MAX && at <= most; at++) {
        data[0] = (unsigned char)at;
        run(data, n);
        starved = fuzz_starved();
    }
    data[0] = first;
}

static void run_file(const char *path, unsigned long rounds)
{
    static unsigned char whole[ROOM], work[2 * ROOM];
    FILE *f = fopen(path, "re");
    if (!f)
        err(1, "%s", path);
    size_t n = fread(whole, 1, sizeof(whole), f);
    fclose(f);
    fprintf(stderr, "%s: %zu bytes\n", path, n); /* the last one named is the one that failed */
    run(whole, n);
    run_starved(whole, n, rounds);
    state = n;
    for (unsigned long i = 0; i < rounds; i++) {
        size_t size = n;
        memcpy(work, whole, n);
        for (size_t k = 1 + below(3); k > 0; k--)
            size = change(work, size);
        run(work, size);
    }
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    char path[4096];
    int files = 0;
    if (argc != 3)
        errx(2, "usage: %s FOLDER ROUNDS", argv[0]);
    int n = scandir(argv[1], &entries, NULL, alphasort);
    if (n < 0)
        err(1, "%s", argv[1]);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name);
            run_file(path, strtoul(argv[2], NULL, 10));
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    if (files == 0)
        errx(1, "%s: no input", argv[1]);
    printf("%d inputs\n", files);
    return 0;
}
