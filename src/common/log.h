/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Diagnostics to stderr, one line a call, safe from any thread. Results never go through here. */

enum pt_log_level { PT_LOG_ERROR, PT_LOG_WARN, PT_LOG_INFO, PT_LOG_DEBUG };

/* Lines above `level` are dropped. Default PT_LOG_WARN. `prefix` (static string) starts every line. */
void pt_log_setup(enum pt_log_level level, const char *prefix);
/* Take lines over from stderr: fn gets each whole line without newline; NULL gives stderr back. */
void pt_log_redirect(void (*fn)(void *arg, enum pt_log_level level, const char *line), void *arg);
int pt_log_enabled(enum pt_log_level level);
void pt_log_at(enum pt_log_level level, const char *func, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define pt_error(...) pt_log_at(PT_LOG_ERROR, __func__, __VA_ARGS__)
#define pt_warn(...)  pt_log_at(PT_LOG_WARN, __func__, __VA_ARGS__)
#define pt_info(...)  pt_log_at(PT_LOG_INFO, __func__, __VA_ARGS__)
#define pt_debug(...)                                                                                        \
    do {                                                                                                     \
        if (pt_log_enabled(PT_LOG_DEBUG))                                                                    \
            pt_log_at(PT_LOG_DEBUG, __func__, __VA_ARGS__);                                                  \
    } while (0)
