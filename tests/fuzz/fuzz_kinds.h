/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The byte before a message, for fuzz_message.c. */
enum fuzz_kind {
    KIND_SETUP,
    KIND_READY,
    KIND_ATTACH,
    KIND_LAUNCH,
    KIND_WAITS,
    KIND_LIMITS,
    KIND_STEAL,
    KIND_BUNDLE,
    KIND_DEATH,
    KIND_OFFER,
    KIND_SYNCED,
    KIND_LISTENING,
    KIND_PROBE,
    KIND_REACHED,
    KIND_PEERS,
    KIND_RELAY,
    KIND_SIZES,
    KIND_RANKS,
    KIND_FALL,
    KINDS,
};
