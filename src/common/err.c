/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"

#include "common/quote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static void fill(char out[PT_ERR_MAX], const char *fmt, va_list ap)
{
    char text[PT_ERR_MAX];
    int saved = errno;
    vsnprintf(text, sizeof(text), fmt, ap);
    pt_quote_fit(out, PT_ERR_MAX, text);
    errno = saved;
}

int pt_err_set(struct pt_err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    fill(err->msg, fmt, ap);
    va_end(ap);
    err->hint[0] = '\0';
    return -1;
}

int pt_err_set_kind(struct pt_err *err, enum pt_err_kind kind, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    fill(err->msg, fmt, ap);
    va_end(ap);
    err->kind = kind;
    err->hint[0] = '\0';
    return -1;
}

int pt_err_wrap(struct pt_err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char prefix[PT_ERR_MAX];
    char old[PT_ERR_MAX];
    va_list ap;
    va_start(ap, fmt);
    fill(prefix, fmt, ap);
    va_end(ap);
    memcpy(old, err->msg, sizeof(old));
    memcpy(err->msg, prefix, sizeof(prefix));
    if (prefix[0])
        strncat(err->msg, ": ", sizeof(err->msg) - strlen(err->msg) - 1);
    size_t used = strlen(err->msg);
    pt_quote_fit(err->msg + used, sizeof(err->msg) - used, old);
    return -1;
}

int pt_err_hint(struct pt_err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    fill(err->hint, fmt, ap);
    va_end(ap);
    return -1;
}
