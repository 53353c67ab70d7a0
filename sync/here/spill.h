/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: where segments go that memory is not to hold: slots of one size in a file without a name, made when
 * the first comes. Thread-safe. */
#include <stddef.h>
#include <stdint.h>

#define PT_SPILL_NONE UINT32_MAX

struct pt_spill;

/* NULL when memory ends. */
struct pt_spill *pt_spill_create(const char *folder, size_t slot_size);
/* NULL is fine. */
void pt_spill_destroy(struct pt_spill *s);
/* The slot that keeps these bytes from now on (n at most the slot's size), or NONE with errno. */
uint32_t pt_spill_put(struct pt_spill *s, const void *data, size_t n);
/* The first n bytes of a slot. -1 with errno. */
int pt_spill_get(const struct pt_spill *s, uint32_t slot, void *out, size_t n);
/* The slot may be used again; NONE is fine. */
void pt_spill_drop(struct pt_spill *s, uint32_t slot);
