#include "broker/loop/marks.h"

/* Of another partition of ours, where it stands already: the coordinator looks at who sends it. */
static size_t any_offset(const struct mark *marks, const struct board *board,
                         struct producer_offset *out_offset) {
        for (uint32_t i = 0; i < CONSUMER_PARTITIONS_MAX; i++) {
                if (!board_current(board, i, marks[i].epoch))
                        continue;
                *out_offset = (struct producer_offset){.partition = i, .offset = marks[i].offset};
                return 1;
        }
        return 0;
}

size_t marks_collect(struct mark *marks, const struct board *board, const struct publication *items,
                     size_t count, struct producer_offset *out_offsets) {
        size_t offsets = 0, owners = 0;
        for (size_t i = 0; i < count; i++) {
                const struct publication *item = &items[i];
                if (item->kind == PUBLICATION_AUDIT)
                        continue;
                owners += item->kind == PUBLICATION_OWNER;
                struct mark *mark = &marks[item->partition];
                if (mark->touched || mark->epoch != item->epoch)
                        continue;
                mark->touched = true;
                out_offsets[offsets++] =
                        (struct producer_offset){.partition = item->partition, .offset = mark->offset};
        }
        for (size_t i = 0; i < offsets; i++)
                marks[out_offsets[i].partition].touched = false;
        return offsets == 0 && owners > 0 ? any_offset(marks, board, out_offsets) : offsets;
}
