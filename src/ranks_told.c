/* SPDX-License-Identifier: Apache-2.0 */
#include "common/message.h"
#include "ranks_inside.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SPANS 16 /* of ranks in a heading */

void pt_buf_words(struct pt_buf *out, const char *text)
{
    pt_buf_append(out, text, strlen(text));
}

void pt_buf_format(struct pt_buf *out, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pt_buf_words(out, text);
}

/* --- the list --- */

void pt_told_fini(struct pt_told_list *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        free(l->items[i].own);
        free(l->items[i].key);
    }
    free(l->items);
    *l = (struct pt_told_list){0};
}

static struct pt_told *add(struct pt_told_list *l)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? 2 * l->cap : 16;
        struct pt_told *items = cap > l->cap ? realloc(l->items, cap * sizeof(*items)) : NULL;
        if (!items) {
            l->bad = true;
            return NULL;
        }
        l->items = items;
        l->cap = cap;
    }
    struct pt_told *s = &l->items[l->n];
    *s = (struct pt_told){.order = l->n};
    l->n++;
    return s;
}

void pt_told_add(struct pt_told_list *l, uint32_t topic, uint32_t rank, const char *text, const void *what)
{
    struct pt_told *s = text && *text ? add(l) : NULL;
    if (!s)
        return;
    s->topic = topic;
    s->rank = rank;
    s->text = text;
    s->what = what;
}

void pt_told_add_own(struct pt_told_list *l, uint32_t topic, uint32_t rank, char *text, const void *what)
{
    uint32_t before = l->n;
    if (text)
        pt_told_add(l, topic, rank, text, what);
    else
        l->bad = true;
    if (l->n > before)
        l->items[before].own = text;
    else
        free(text);
}

/* Length of what differs between two processes at the same place: an address, or a number after PID, TID or
 * LWP. 0: nothing does here. */
static size_t own_number(const char *start, const char *p)
{
    if (p[0] == '0' && p[1] == 'x' && isxdigit((unsigned char)p[2]))
        return 2 + strspn(p + 2, "0123456789abcdefABCDEF");
    if (p - start >= 4 && isdigit((unsigned char)*p) && p[-1] == ' ' &&
        (strncmp(p - 4, "PID", 3) == 0 || strncmp(p - 4, "TID", 3) == 0 || strncmp(p - 4, "LWP", 3) == 0))
        return strspn(p, "0123456789");
    return 0;
}

void pt_told_loosely(struct pt_told_list *l)
{
    struct pt_told *s = l->n ? &l->items[l->n - 1] : NULL;
    if (!s || s->key || !(s->key = malloc(strlen(s->text) + 1))) {
        l->bad = l->bad || (s && !s->key);
        return;
    }
    char *out = s->key;
    for (const char *p = s->text; *p;) {
        size_t n = own_number(s->text, p);
        *out++ = n ? '#' : *p;
        p += n ? n : 1;
    }
    *out = '\0';
}

static const char *key_of(const struct pt_told *s)
{
    return s->key ? s->key : s->text;
}

static int order(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_text(const void *left, const void *right)
{
    const struct pt_told *a = left;
    const struct pt_told *b = right;
    int rc = order(a->topic, b->topic);
    rc = rc ? rc : strcmp(key_of(a), key_of(b));
    return rc ? rc : order(a->order, b->order);
}

static int by_lead(const void *left, const void *right)
{
    const struct pt_told *a = left;
    const struct pt_told *b = right;
    int rc = order(a->topic, b->topic);
    rc = rc ? rc : order(a->lead, b->lead);
    return rc ? rc : order(a->order, b->order);
}

void pt_told_sort(struct pt_told_list *l)
{
    if (l->n == 0)
        return;
    qsort(l->items, l->n, sizeof(*l->items), by_text);
    for (uint32_t i = 0; i < l->n; i++) {
        struct pt_told *s = &l->items[i];
        bool same = i && s[-1].topic == s->topic && strcmp(key_of(s), key_of(s - 1)) == 0;
        s->lead = same ? s[-1].lead : s->order;
    }
    qsort(l->items, l->n, sizeof(*l->items), by_lead);
}

uint32_t pt_told_group(const struct pt_told_list *l, uint32_t from)
{
    uint32_t end = from;
    while (end < l->n && l->items[end].topic == l->items[from].topic &&
           l->items[end].lead == l->items[from].lead)
        end++;
    return end;
}

/* --- who --- */

uint32_t pt_told_who(const struct pt_told *items, uint32_t n, uint32_t of, struct pt_buf *out)
{
    struct pt_buf spans = {0};
    uint32_t ranks = 0;
    uint32_t shown = 0;
    for (uint32_t i = 0; i < n;) {
        uint32_t first = items[i].rank;
        uint32_t last = first;
        for (i++; i < n && items[i].rank <= last + 1; i++)
            last = items[i].rank > last ? items[i].rank : last;
        ranks += last - first + 1;
        if (shown++ >= MAX_SPANS)
            continue;
        pt_buf_format(&spans, shown > 1 ? ", %u" : "%u", first);
        if (last > first)
            pt_buf_format(&spans, last == first + 1 ? ", %u" : "-%u", last);
    }
    if (shown > MAX_SPANS)
        pt_buf_words(&spans, " ...");
    pt_buf_words(out, ranks == 1 ? "rank " : "ranks ");
    pt_buf_append(out, spans.data, spans.len);
    pt_buf_format(out, " of %u", of);
    out->bad = out->bad || spans.bad;
    pt_buf_fini(&spans);
    return ranks;
}

void pt_told_heading(const struct pt_told *items, uint32_t n, uint32_t of, struct pt_buf *out)
{
    pt_buf_words(out, "-------------------------------- On ");
    pt_told_who(items, n, of, out);
    pt_buf_words(out, " --------------------------------\n");
}

void pt_told_put(const struct pt_told_list *l, uint32_t of, struct pt_buf *out)
{
    for (uint32_t i = 0, end; i < l->n; i = end) {
        end = pt_told_group(l, i);
        if (out->len && out->data[out->len - 1] != '\n')
            pt_buf_words(out, "\n");
        pt_told_heading(&l->items[i], end - i, of, out);
        pt_buf_words(out, l->items[i].text);
    }
    out->bad = out->bad || l->bad;
}

/* --- into JSON --- */

/* The length of s[0..n) cut down to `most`, not inside a character. */
static size_t whole(const unsigned char *s, size_t most)
{
    size_t n = most;
    while (n > 0 && most - n < 4 && (s[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void pt_ranks_put_text(struct pt_json_out *o, const char *key, struct pt_buf *text)
{
    o->bad = o->bad || text->bad;
    if (text->len > PT_MAX_TEXT) {
        struct pt_buf cut = {0};
        size_t head = whole(text->data, PT_MAX_TEXT / 2 - 64);
        size_t tail = whole(text->data, text->len - (PT_MAX_TEXT / 2 - 64));
        pt_buf_append(&cut, text->data, head);
        pt_buf_format(&cut, "\n[... %zu bytes left out by ptremote ...]\n", tail - head);
        pt_buf_append(&cut, text->data + tail, text->len - tail);
        o->bad = o->bad || cut.bad;
        pt_json_put_strn(o, key, (char *)cut.data, cut.len);
        pt_buf_fini(&cut);
    } else if (text->len || !key) {
        pt_json_put_strn(o, key, text->len ? (char *)text->data : "", text->len);
    }
    pt_buf_fini(text);
}

void pt_ranks_section(struct pt_ranks_sections *s, uint32_t rank, const char *title, const char *text)
{
    uint32_t i = 0;
    while (i < s->n && strcmp(s->titles[i], title) != 0)
        i++;
    if (i == PT_RANKS_TITLES)
        return;
    if (i == s->n)
        s->titles[s->n++] = title;
    pt_told_add(&s->said, i, rank, text, NULL);
}

void pt_ranks_captured(struct pt_ranks_sections *s, uint32_t rank, const struct pt_report *r,
                       const char *show)
{
    const char *const kinds[] = {"stdout", "stderr", "log"};
    const char *const titles[] = {"Captured stdout", "Captured stderr", "Captured log"};
    const char *const texts[] = {r->captured_out, r->captured_err, r->log};
    for (size_t i = 0; i < 3; i++)
        if (!show || strcmp(show, "all") == 0 || strcmp(show, kinds[i]) == 0)
            pt_ranks_section(s, rank, titles[i], texts[i]);
}

void pt_ranks_put_sections(struct pt_json_out *o, struct pt_ranks_sections *s, uint32_t of)
{
    struct pt_told_list *l = &s->said;
    pt_told_sort(l);
    o->bad = o->bad || l->bad;
    if (l->n == 0)
        return;
    pt_json_open_array(o, "sections");
    for (uint32_t i = 0, end; i < l->n; i = end) {
        struct pt_buf title = {0};
        struct pt_buf text = {0};
        end = pt_told_group(l, i);
        pt_buf_words(&title, s->titles[l->items[i].topic]);
        pt_buf_words(&title, " on ");
        pt_told_who(&l->items[i], end - i, of, &title);
        pt_buf_words(&text, l->items[i].text);
        pt_json_open_array(o, NULL);
        pt_ranks_put_text(o, NULL, &title);
        pt_ranks_put_text(o, NULL, &text);
        pt_json_close(o);
    }
    pt_json_close(o);
}
