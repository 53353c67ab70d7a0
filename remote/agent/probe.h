/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which of many addresses answer as the hosts they are said to be. */
#include "common/message_across.h"

struct pt_loop;
struct pt_probes;

/* Once all have answered or refused, or 3 s are over: reached lists those that answered and is borrowed. From
 * the loop, never from pt_probes_start; the probes may be destroyed there. */
typedef void pt_probed_fn(void *arg, const struct pt_reached *reached);

/* probe is not kept. NULL with err. */
struct pt_probes *pt_probes_start(struct pt_loop *loop, const struct pt_probe *probe, pt_probed_fn *done,
                                  void *arg, struct pt_err *err);
/* Call done now. */
void pt_probes_finish(struct pt_probes *probes);
void pt_probes_destroy(struct pt_probes *probes);
