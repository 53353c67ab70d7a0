/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_rate FOLDER RATE N [NETWORK]: writes N reports at RATE a second (0: as fast as it goes) into a new
 * ledger in FOLDER as a run does, and prints the rate that was reached, acknowledged, and the longest time a
 * report waited to be on disk. */
#include "../unit/ledger_writer.h"

int main(int argc, char **argv)
{
    if (argc < 4)
        return 4;
    struct writer w = {.dir = argv[1],
                       .rate = atof(argv[2]),
                       .most = (uint32_t)atoi(argv[3]),
                       .network = argc > 4 ? argv[4] : NULL,
                       .acks = -1};
    struct pt_ledger *l = writer_open(&w);
    writer_begin(l, w.most);
    double seconds = writer_write(&w, l);
    pt_ledger_close(l);
    printf("%.0f %.4f\n", w.most / seconds, w.longest);
    return 0;
}
