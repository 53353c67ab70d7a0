/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The way from folder `top` to `path`, both there, as the system knows them (heap); NULL when it is not
 * below. */
char *pt_below(const char *top, const char *path);
