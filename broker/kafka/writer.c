/*
 * Facts from outside: a producer that asks for metadata may make brokers create the topic, with a number of
 * partitions that nobody wished for; this one does not. Without RD_KAFKA_EVENT_DR rd_kafka_flush() and
 * rd_kafka_commit_transaction() serve delivery reports themselves. What an error of a transaction means is
 * told by its flags alone (reference kafka.md 2.1); here every one that is not to be tried again ends the
 * writer.
 */
#include "broker/kafka/writer.h"

#include "broker/base/time.h"
#include "broker/kafka/ends.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_MS = 60000, ABORT_MS = 5000, FULL_MS = 100, NAME_MAX_BYTES = 249 };

struct writer {
        rd_kafka_t *client;
        bool transactional, open, dead;
        uint64_t acknowledged;
        rd_kafka_resp_err_t refused; /* the first record that was */
        char refused_topic[NAME_MAX_BYTES + 1];
        int32_t refused_partition;
        struct error *error;
        bool (*wait)(void *userdata);
        void *wait_userdata;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
        struct writer *writer = opaque;
        (void)client;
        if (!message->err) {
                writer->acknowledged++;
        } else if (!writer->refused) {
                writer->refused = message->err;
                writer->refused_partition = message->partition;
                snprintf(writer->refused_topic, sizeof(writer->refused_topic), "%s",
                         message->rkt ? rd_kafka_topic_name(message->rkt) : "");
        }
}

static struct error *begin_with_id(struct writer *writer) {
        int64_t end_ns = clock_now_ns() + START_MS * NS_PER_MS;
        for (;;) {
                rd_kafka_error_t *failure = rd_kafka_init_transactions(writer->client, START_MS);
                if (!failure)
                        return NULL;
                if (!rd_kafka_error_is_retriable(failure) || clock_now_ns() >= end_ns)
                        return client_error_of(failure, "cannot begin to write");
                rd_kafka_error_destroy(failure);
        }
}

struct error *writer_open(const struct writer_options *options, struct writer **out_writer) {
        enum client_kind kind = options->transactional_id ? CLIENT_TRANSACTIONAL : CLIENT_PRODUCER;
        rd_kafka_conf_t *conf;
        char text[256];
        struct error *error = client_configure(kind, &options->properties, options->client_id, &conf);
        if (error)
                return error;
        struct writer *writer = calloc(1, sizeof(*writer));
        if (writer) {
                writer->wait = options->wait;
                writer->wait_userdata = options->wait_userdata;
        }
        rd_kafka_conf_set(conf, "allow.auto.create.topics", "false", NULL, 0);
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_conf_set_opaque(conf, writer);
        if (!writer)
                error = error_new(ERROR_MEMORY, "no memory to write");
        else if (options->transactional_id &&
                 rd_kafka_conf_set(conf, "transactional.id", options->transactional_id, text, sizeof(text)) !=
                         RD_KAFKA_CONF_OK)
                error = error_new(ERROR_USAGE, "kafka: %s", text);
        if (error)
                rd_kafka_conf_destroy(conf);
        else
                error = client_new(kind, conf, &writer->client);
        if (!error && writer && options->transactional_id) {
                writer->transactional = true;
                error = begin_with_id(writer);
        }
        if (error)
                writer_close(writer);
        else
                *out_writer = writer;
        return error;
}

static void give_up(struct writer *writer, struct error *error) {
        writer->dead = true;
        if (writer->error)
                error_free(error);
        else
                writer->error = error;
}

static void take_back(struct writer *writer) {
        if (!writer->open)
                return;
        rd_kafka_error_t *failure = rd_kafka_abort_transaction(writer->client, ABORT_MS);
        if (failure)
                rd_kafka_error_destroy(failure); /* the next one with this id, or its timeout, ends it */
        writer->open = false;
}

struct writer *writer_close(struct writer *writer) {
        if (!writer)
                return NULL;
        if (writer->client) {
                take_back(writer);
                rd_kafka_purge(writer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
                rd_kafka_poll(writer->client, 0);
                rd_kafka_destroy(writer->client);
        }
        error_free(writer->error);
        free(writer);
        return NULL;
}

static bool open_transaction(struct writer *writer) {
        if (!writer->transactional || writer->open)
                return true;
        rd_kafka_error_t *failure = rd_kafka_begin_transaction(writer->client);
        if (failure)
                give_up(writer, client_error_of(failure, "cannot begin a transaction"));
        writer->open = !failure;
        return !failure;
}

static rd_kafka_resp_err_t put(struct writer *writer, const struct producer_message *message) {
        rd_kafka_headers_t *headers = client_headers(message->headers, message->headers_count);
        /* No bytes, but there: not the same as none. */
        const char *key = message->key.size ? message->key.data : "";
        const char *value = message->value.size ? message->value.data : "";
        /* The macros RD_KAFKA_V_*() are no ISO C; these are what they expand to. */
        rd_kafka_resp_err_t code = rd_kafka_producev(
                writer->client, RD_KAFKA_VTYPE_TOPIC, message->topic, RD_KAFKA_VTYPE_PARTITION,
                message->partition < 0 ? (int32_t)RD_KAFKA_PARTITION_UA : message->partition,
                RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY,
                message->has_key ? key : NULL, message->has_key ? message->key.size : (size_t)0,
                RD_KAFKA_VTYPE_VALUE, message->has_value ? value : NULL,
                message->has_value ? message->value.size : (size_t)0, RD_KAFKA_VTYPE_HEADERS, headers,
                RD_KAFKA_VTYPE_END);
        if (code && headers)
                rd_kafka_headers_destroy(headers);
        return code;
}

enum producer_sent writer_send(struct writer *writer, const struct producer_message *message) {
        if (writer->dead || !open_transaction(writer))
                return PRODUCER_BROKEN;
        for (;;) {
                rd_kafka_resp_err_t code = put(writer, message);
                rd_kafka_poll(writer->client, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? FULL_MS : 0);
                if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
                        return PRODUCER_TOO_LARGE;
                if (code && code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                        give_up(writer, client_error((int)code, "cannot write to topic %s", message->topic));
                if (writer->dead || writer->refused)
                        return PRODUCER_BROKEN;
                if (!code)
                        return PRODUCER_SENT;
                if (writer->wait && !writer->wait(writer->wait_userdata))
                        return PRODUCER_BROKEN;
        }
}

static struct error *refusal(const struct writer *writer) {
        return client_error((int)writer->refused, "topic %s, partition %d refused a record",
                            writer->refused_topic, (int)writer->refused_partition);
}

/* The writer's own error is given out once; after that only that it is dead is known. */
static struct error *of_death(struct writer *writer) {
        struct error *error = writer->error;
        writer->error = NULL;
        if (!error && writer->refused)
                error = refusal(writer);
        return error ? error : error_new(ERROR_NETWORK, "nothing more can be written by this client");
}

static struct error *commit(struct writer *writer) {
        if (!writer->open)
                return NULL;
        for (;;) {
                rd_kafka_error_t *failure = rd_kafka_commit_transaction(writer->client, -1);
                if (!failure) {
                        writer->open = false;
                        return NULL;
                }
                if (rd_kafka_error_is_retriable(failure)) {
                        rd_kafka_error_destroy(failure);
                        continue;
                }
                if (rd_kafka_error_txn_requires_abort(failure))
                        take_back(writer);
                writer->open = false;
                writer->dead = true;
                return client_error_of(failure, "the transaction was not committed");
        }
}

struct error *writer_flush(struct writer *writer, int64_t timeout_ns) {
        if (writer->dead)
                return of_death(writer);
        if (writer->transactional)
                return commit(writer);
        rd_kafka_resp_err_t code = rd_kafka_flush(writer->client, (int)(timeout_ns / NS_PER_MS));
        if (writer->refused) {
                writer->dead = true;
                return of_death(writer);
        }
        if (code != RD_KAFKA_RESP_ERR__TIMED_OUT)
                return code ? client_error((int)code, "cannot write") : NULL;
        struct error *error = client_error((int)code, "%d records are not acknowledged yet",
                                           rd_kafka_outq_len(writer->client));
        error->code = ETIMEDOUT;
        return error;
}

uint64_t writer_acknowledged(const struct writer *writer) {
        return writer->acknowledged;
}

struct error *writer_error(struct writer *writer) {
        char text[256];
        if (writer->error || writer->refused)
                return of_death(writer);
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(writer->client, text, sizeof(text));
        return fatal ? client_error((int)fatal, "cannot write: %s", text) : NULL;
}

struct error *writer_partitions(struct writer *writer, const char *topic, int64_t timeout_ns,
                                uint32_t *out_count) {
        return ends_partitions(writer->client, topic, timeout_ns, NULL, out_count);
}
