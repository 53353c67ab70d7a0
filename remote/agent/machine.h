/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What this host is. */
#include <stdint.h>

/* Cores this process may use, at least 1. */
uint32_t pt_machine_cores(void);
/* Bytes of memory. */
uint64_t pt_machine_memory(void);
/* Tells machines apart that share a home, cloned ones too; fit for a file's name. Heap, NULL: no memory. */
char *pt_machine_id(void);
