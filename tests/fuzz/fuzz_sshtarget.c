/* SPDX-License-Identifier: Apache-2.0 */
/* One hop of ProxyJump ([ssh://][user@]host[:port]), and the words of a line as ssh parts them. */
#include "fuzz.h"
#include "remote/sshconfig.h"

#include <strings.h>

static void check_hop(const char *text, size_t n)
{
    struct pt_sshhop hop, again;
    char line[700];
    if (pt_sshhop_parse(text, n, &hop) < 0)
        return;
    FUZZ_CHECK(hop.host && hop.host[0] && (!hop.user || hop.user[0]) && hop.port >= 0 && hop.port < 65536);
    FUZZ_CHECK(hop.host >= hop.store && hop.host < hop.store + sizeof(hop.store));
    bool brackets = strchr(hop.host, ':') != NULL;
    if (strpbrk(hop.host, "@[]") || (!hop.user && strncasecmp(hop.host, "ssh://", 6) == 0) ||
        hop.host[strlen(hop.host) - 1] == '/')
        return; /* cannot be written down as it was meant */
    snprintf(line, sizeof(line), "ssh://%s%s%s%s%s", hop.user ? hop.user : "", hop.user ? "@" : "",
             brackets ? "[" : "", hop.host, brackets ? "]" : "");
    if (hop.port)
        snprintf(line + strlen(line), 16, ":%d", hop.port);
    FUZZ_CHECK(strlen(line) >= sizeof(hop.store) || pt_sshhop_parse(line, strlen(line), &again) == 0);
    FUZZ_CHECK(strlen(line) >= sizeof(hop.store) ||
               (strcmp(again.host, hop.host) == 0 && again.port == hop.port &&
                (hop.user ? again.user && strcmp(hop.user, again.user) == 0 : !again.user)));
}

static void check_words(const char *text)
{
    struct pt_strings words = {0};
    if (pt_sshwords(text, &words) == 0)
        for (size_t i = 0; i < words.n; i++)
            FUZZ_CHECK(strlen(words.items[i]) <= strlen(text));
    pt_strings_fini(&words);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    char *text = fuzz_text(&in);
    check_words(text);
    check_hop((const char *)data, size);
    free(text);
}
