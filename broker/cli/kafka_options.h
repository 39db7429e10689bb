#pragma once
/*
 * What the commands that talk to a cluster share: the properties for its clients, made from the
 * configuration, and the last complaint of librdkafka, which says more than the error that follows from it.
 */
#include "broker/kafka/client.h"
#include "broker/ops/config.h"

/* The cluster when none is named. */
#define KAFKA_BOOTSTRAP_DEFAULT "localhost:9092"

struct kafka_options {
        struct kafka_property items[CLIENT_PROPERTIES_MAX];
        size_t count;
        char message_bytes[24];
};

/* The configuration says where the cluster is. */
bool kafka_options_named(const struct config *config);
/*
 * ERROR_USAGE when no cluster is named or a property is unknown or refused. Records of up to `record_bytes`
 * can be sent, unless message.max.bytes says otherwise. From here on librdkafka's log lines are shown (with
 * -v) or kept for kafka_options_fail().
 */
struct error *kafka_options_init(struct kafka_options *options, const struct config *config,
                                 int64_t record_bytes) MUST_USE;
/* Points into `options`. */
struct kafka_properties kafka_options_properties(const struct kafka_options *options);
/* librdkafka's log lines from here on; kafka_options_init() does it by itself. */
void kafka_options_listen(void);
enum { KAFKA_COMPLAINT_MAX = 400 };
/* What librdkafka complained of last; "" for nothing. */
void kafka_options_complaint(char *out_text, size_t size);
/* As options_fail(), with what librdkafka complained of last where the cluster could not be reached. */
int kafka_options_fail(struct error *error);
