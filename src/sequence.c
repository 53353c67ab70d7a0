/* SPDX-License-Identifier: Apache-2.0 */
#include "sequence.h"

#include "common/err.h"

int pt_sequence_next(uint64_t *last, uint64_t seq, struct pt_err *err)
{
    if (seq <= *last)
        return 0;
    if (seq != *last + 1)
        return pt_err_set(err, "message %llu came after %llu", (unsigned long long)seq,
                          (unsigned long long)*last);
    *last = seq;
    return 1;
}
