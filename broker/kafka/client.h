#pragma once
/*
 * What every client of the cluster shares: the properties of the configuration, applied and checked by
 * librdkafka itself, names of topics, headers, and errors turned into ours.
 *
 * Properties are given by name as the user wrote them; one that librdkafka does not know, or whose value it
 * refuses, is ERROR_USAGE with its name (never its value, which may be a secret). Those on which the
 * exactly-once protocol rests cannot be set (client.c has the list with the reason for each) and are refused
 * with a sentence. What the program sets by itself comes first, so that a user's value wins where it may; of
 * two items with one name the later one wins.
 *
 * librdkafka takes the properties of consumers for producers too, and the other way round, and says so in its
 * log; those lines are dropped.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct rd_kafka_conf_s;
struct rd_kafka_error_s;
struct rd_kafka_headers_s;
struct rd_kafka_s;

enum { CLIENT_PROPERTIES_MAX = 256, CLIENT_TEXT_MAX = 300 };

struct kafka_property {
        const char *name, *value;
};

struct kafka_properties {
        const struct kafka_property *items;
        size_t count;
};

/* Header of a record. Order and repeats are kept. A value of NULL data is a null header. */
struct kafka_header {
        struct bytes name, value;
};

enum client_kind {
        CLIENT_CONSUMER,      /* a member of the group: no offsets are stored or committed by itself */
        CLIENT_READER,        /* outside the group, committed records only, tells the end of a partition */
        CLIENT_PRODUCER,      /* idempotent, acks=all */
        CLIENT_TRANSACTIONAL, /* the same; the caller sets transactional.id */
        CLIENT_ADMIN,
};

/* ERROR_USAGE when a property is unknown, refused or not the user's to set; nothing is connected. */
struct error *client_check(const struct kafka_properties *properties) MUST_USE;

/* For the files of this folder. */

/* A warning of our own, where librdkafka's lines go. */
void client_log(const char *facility, const char *text);

/*
 * The configuration of a client of that kind with the recommended settings of reference kafka.md 2.7 and the
 * user's properties, of which client.id goes before `client_id` (short; NULL: "batchferry"). The caller may
 * set more with rd_kafka_conf_set*(). Log lines go where client_log_to() says.
 */
struct error *client_configure(enum client_kind kind, const struct kafka_properties *properties,
                               const char *client_id, struct rd_kafka_conf_s **out_conf) MUST_USE;
/* Makes the client, connecting in the background. Takes `conf`, also when it fails. */
struct error *client_new(enum client_kind kind, struct rd_kafka_conf_s *conf,
                         struct rd_kafka_s **out_client) MUST_USE;
/* "...: <what librdkafka says of that code>; <what to do>", its class by the code (rd_kafka_resp_err_t). */
struct error *client_error(int code, const char *fmt, ...) MUST_USE NEVER_NULL PRINTF_LIKE(2, 3);
/* The same for an error object, whose text is more exact; it is destroyed. NULL gives NULL. */
struct error *client_error_of(struct rd_kafka_error_s *from, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);
/* What somebody can do about an error of that code: a clause, or NULL. */
const char *client_advice(int code);
/* Copies; NULL when there are none. To be given to producev or destroyed. */
struct rd_kafka_headers_s *client_headers(const struct kafka_header *headers, size_t count);

/* The partition that murmur2 of the key names, as the Java client's default partitioner does. */
uint32_t client_partition_of(struct bytes key, uint32_t partitions);
/* librdkafka's log lines go there; at most one place per process. NULL: nowhere. Called from any thread. */
void client_log_to(void (*sink)(int syslog_level, const char *facility, const char *text));
