#pragma once
/* What of a publication goes into the publisher's open transaction: one record or more, or a mark. */
#include "broker/kafka/producer.h"
#include "broker/loop/audit_topic.h"
#include "broker/loop/marks.h"
#include "broker/loop/publication.h"
#include "broker/loop/publisher.h"

struct sending {
        const struct publisher_options *options;
        struct producer *producer;
        struct audit_topic *audit; /* NULL: none */
        struct mark *marks;        /* by partition; those of what was sent */
        bool refused;              /* memory, for something that belongs into this transaction */
        struct buffer key, value, texts;
};

void sending_init(struct sending *sending, const struct publisher_options *options);
void sending_deinit(struct sending *sending);
/*
 * The offset that its state record gets is written into the publication, which must stay where it is until
 * the transaction has ended. PRODUCER_TOO_LARGE and `refused`: the transaction must not commit.
 */
enum producer_sent sending_send(struct sending *sending, struct publication *item);
