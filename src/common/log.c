/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include "common/quote.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static struct {
    pthread_mutex_t lock;
    enum pt_log_level level;
    const char *prefix;
    void (*sink)(void *arg, enum pt_log_level level, const char *line);
    void *arg;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = PT_LOG_WARN, .prefix = "ptremote"};

void pt_log_setup(enum pt_log_level level, const char *prefix)
{
    pthread_mutex_lock(&state.lock);
    state.level = level;
    if (prefix)
        state.prefix = prefix;
    pthread_mutex_unlock(&state.lock);
}

void pt_log_redirect(void (*fn)(void *arg, enum pt_log_level level, const char *line), void *arg)
{
    pthread_mutex_lock(&state.lock);
    state.sink = fn;
    state.arg = arg;
    pthread_mutex_unlock(&state.lock);
}

int pt_log_enabled(enum pt_log_level level)
{
    return level <= __atomic_load_n(&state.level, __ATOMIC_RELAXED);
}

void pt_log_at(enum pt_log_level level, const char *func, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (!pt_log_enabled(level))
        return;
    int saved = errno;
    char text[2048], safe[2048], line[2304];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pt_quote_fit(safe, sizeof(safe), text);
    pthread_mutex_lock(&state.lock);
    if (level == PT_LOG_DEBUG)
        snprintf(line, sizeof(line), "%s: debug: %s: %s", state.prefix, func, safe);
    else
        snprintf(line, sizeof(line), "%s: %s: %s", state.prefix, names[level], safe);
    if (state.sink)
        state.sink(state.arg, level, line);
    else
        fprintf(stderr, "%s\n", line);
    pthread_mutex_unlock(&state.lock);
    errno = saved;
}
