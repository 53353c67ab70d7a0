/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What tls.c and tls_cert.c share; for nobody else. */
#include <stdbool.h>

struct pt_err;

#define PT_TLS_NAME_MAX 512

/* "TLS: WHAT: OpenSSL's reason"; empties the queue; returns -1. */
int pt_tls_reason(struct pt_err *err, const char *what);
/* True for 1 to 128 letters, digits, '.', '_', '-', and those in `more`. */
bool pt_tls_is_name(const char *s, const char *more);
void pt_tls_uri(char out[PT_TLS_NAME_MAX], const char *run, const char *role);
