/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where other machines may reach this one. */
#include "common/message_across.h"

/* IPv4 addresses of networks that are up, but the loopback and bridges of containers and virtual machines.
 * How many. */
uint32_t pt_addresses_get(struct pt_address list[PT_ADDRESSES_MAX]);
