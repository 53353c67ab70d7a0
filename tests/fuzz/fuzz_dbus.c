/* SPDX-License-Identifier: Apache-2.0 */
/* What a user's manager answers: decided as soon as that can be, and the same however it comes in pieces. */
#include "common/err.h"
#include "remote/agent/dbus.c"

#include "fuzz.h"

void fuzz_one(const uint8_t *data, size_t size)
{
    struct pt_err err = PT_ERR_INIT, why = PT_ERR_INIT;
    struct pt_buf whole = {0}, asked = {0};
    const uint32_t pids[] = {1, 2};
    pt_dbus_hello(&asked, 1000);
    pt_dbus_start_scope(&asked, "run.scope", pids, 2);
    FUZZ_CHECK(asked.bad ? fuzz_starved() : asked.len > 100);
    pt_buf_fini(&asked);
    fuzz_feed();
    pt_buf_append(&whole, data, size);
    int rc = pt_dbus_answer(&whole, &err);
    FUZZ_CHECK(rc >= -1 && rc <= 1 && (rc == -1) == (err.msg[0] != 0));
    for (size_t n = 0; n < size; n += 1 + n / 8) {
        struct pt_buf part = {0};
        pt_buf_append(&part, data, n);
        int now = pt_dbus_answer(&part, &why);
        FUZZ_CHECK(now == 0 || now == rc);
        pt_buf_fini(&part);
    }
    pt_buf_fini(&whole);
}
