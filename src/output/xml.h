/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* XML as Python's ElementTree writes it, from text that may hold anything; a carriage return comes through,
 * too. */
#include <stdbool.h>
#include <stdio.h>

/* Characters that XML does not allow (and bytes that are no UTF-8) as pytest shows them: #x1B. `attribute`:
 * quotes and line breaks are escaped too. */
void pt_xml_text(FILE *f, const char *s, bool attribute);
/* ' name="value"'; characters that no name may have become '_'. */
void pt_xml_attribute(FILE *f, const char *name, const char *value);
/* The tag or attribute name with '_' for what no name may have. */
void pt_xml_put_name(FILE *f, const char *name);
/* Whether two names are one when written: a tag may have each attribute once. */
bool pt_xml_same_name(const char *a, const char *b);
