/*
 * On librdkafka's side (2.0.2 to 2.16; rdkafka_txnmgr.c, rdkafka_msg.c):
 *   - Commit and abort may be called again after a timeout; what they wait for goes on meanwhile. A commit
 *     that is still not answered at our deadline has an unknown outcome, and the client is not used again.
 *   - An abort that the coordinator acknowledged proves that nothing was committed: for a transaction that is
 *     committed it answers INVALID_TXN_STATE, which is fatal. The one way around the coordinator's answer is
 *     the bump of the epoch after an unknown producer id, so a commit that ends in that is GONE.
 *   - send_offsets may be repeated with the same arguments. One that was given up may still arrive later, in
 *     the next transaction of this epoch, so it makes the producer GONE, whose successor has a new epoch. It
 *     waits for the group's coordinator whatever its timeout says (#5456, 2.0.2 to 2.16): for as long as
 *     brokers are down, and for ever when the one it waits for was taken off (#5511, 2.10 and newer). So it
 *     runs on a thread of its own, and the client is not destroyed while it has not come back.
 *   - Failed deliveries make the transaction abortable by themselves.
 *   - Delivery reports are served on our thread, within flush() and poll(), so they end with the transaction.
 */
#include "broker/kafka/producer.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/kafka/deadline.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
        POLL_EVERY = 128, /* messages: serves delivery reports, which frees them */
        FULL_WAIT_MS = 50,
        INIT_SLICE_MS = 500,
        METADATA_MS = 5000,
        ABANDON_MS = 1000,
        TRANSACTION_TIMEOUT_MS = 30000,
};
#define END_MARGIN_NS   (2 * NS_PER_S) /* beyond transaction.timeout.ms */
#define CLOSE_ABORT_NS  (3 * NS_PER_S)
#define CLOSE_LIMIT_NS  (10 * NS_PER_S)
#define OFFERING_NS     (1 * NS_PER_S) /* beyond its own timeout */
#define PAUSE_NS_OF_TRY (20 * NS_PER_MS)

/* What an error asks for, by its flags. */
enum verdict { FINE, AGAIN, ABORT, FENCED, DEAD };

struct producer_topic {
        char *name;
        rd_kafka_topic_t *handle;
};

/* Offsets on their way into a transaction. */
struct offering {
        rd_kafka_t *client;
        rd_kafka_topic_partition_list_t *offsets;
        rd_kafka_consumer_group_metadata_t *member;
        int timeout_ms;
        rd_kafka_error_t *failure;
        atomic_bool done;
};

struct producer {
        rd_kafka_t *client;
        struct offering *hanging; /* a call that has not come back */
        struct producer_topic topics[PRODUCER_TOPICS_MAX];
        size_t topics_count;
        int64_t limit_ns; /* for one end */
        bool open, gone;
        bool begun;          /* the client has a transaction whose end nobody knows */
        enum verdict broken; /* how the open transaction has to end, if not well */
        unsigned sends;
        enum producer_fault (*fault)(void *userdata, const char *step);
        void *fault_userdata;
        bool (*valid)(void *userdata);
        void *valid_userdata;
        bool too_large; /* as `message` */
        char message[PRODUCER_MESSAGE_MAX];
        char trouble[CLIENT_TEXT_MAX];     /* last heard of connections and the like */
        char undelivered[CLIENT_TEXT_MAX]; /* the first one of this transaction */
};

/* --- callbacks; all on our thread --- */

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
        struct producer *producer = opaque;
        (void)client;
        if (producer->gone)
                return;
        bool purged = message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                      message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT; /* by the abort itself */
        producer->too_large |= message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        if (message->err && !purged && !*producer->undelivered)
                snprintf(producer->undelivered, sizeof(producer->undelivered), "%s partition %d: %s",
                         rd_kafka_topic_name(message->rkt), (int)message->partition,
                         rd_kafka_err2str(message->err));
        if (!message->err && message->_private)
                *(uint64_t *)message->_private =
                        message->offset >= 0 ? (uint64_t)message->offset : UINT64_MAX;
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque) {
        struct producer *producer = opaque;
        (void)client;
        /* The one that says why comes before. */
        if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && *producer->trouble)
                return;
        snprintf(producer->trouble, sizeof(producer->trouble), "%s", reason);
}

/* --- opening and closing --- */

static struct error *make_client(struct producer *producer, const struct producer_options *options) {
        rd_kafka_conf_t *conf;
        char text[256] = "";
        size_t size = sizeof(text);
        struct error *error =
                client_configure(CLIENT_TRANSACTIONAL, &options->properties, options->client_id, &conf);
        if (error)
                return error;
        if (rd_kafka_conf_set(conf, "transactional.id", options->transactional_id, text, sizeof(text)) !=
            RD_KAFKA_CONF_OK) {
                rd_kafka_conf_destroy(conf);
                return error_new(ERROR_USAGE, "transactional id: %s", text);
        }
        int64_t timeout_ms = TRANSACTION_TIMEOUT_MS;
        if (rd_kafka_conf_get(conf, "transaction.timeout.ms", text, &size) == RD_KAFKA_CONF_OK)
                timeout_ms = strtol(text, NULL, 10);
        producer->limit_ns = timeout_ms * NS_PER_MS + END_MARGIN_NS;
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_opaque(conf, producer);
        return client_new(CLIENT_TRANSACTIONAL, conf, &producer->client);
}

static int slice_ms(int64_t end_ns) {
        int64_t left = (end_ns - clock_now_ns()) / NS_PER_MS;
        return left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static void rest(void) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS_OF_TRY}, NULL);
}

static struct error *take_id(struct producer *producer, const struct producer_options *options) {
        int64_t end_ns = clock_now_ns() + options->start_timeout_ns;
        for (;;) {
                int left = slice_ms(end_ns);
                rd_kafka_error_t *failure = rd_kafka_init_transactions(
                        producer->client, left < INIT_SLICE_MS ? left : INIT_SLICE_MS);
                rd_kafka_poll(producer->client, 0); /* for on_error() */
                if (!failure)
                        return NULL;
                bool again = rd_kafka_error_is_retriable(failure) && !rd_kafka_error_is_fatal(failure);
                if (!again || clock_now_ns() >= end_ns)
                        return client_error_of(failure, "cannot begin transactions%s%s",
                                               *producer->trouble ? ": " : "", producer->trouble);
                if (rd_kafka_error_code(failure) != RD_KAFKA_RESP_ERR__TIMED_OUT)
                        rest();
                rd_kafka_error_destroy(failure);
        }
}

static rd_kafka_topic_t *topic_of(struct producer *producer, const char *name) {
        for (size_t i = 0; i < producer->topics_count; i++)
                if (strcmp(producer->topics[i].name, name) == 0)
                        return producer->topics[i].handle;
        if (producer->topics_count == PRODUCER_TOPICS_MAX)
                return NULL;
        struct producer_topic topic = {strdup(name), rd_kafka_topic_new(producer->client, name, NULL)};
        if (!topic.name || !topic.handle) {
                free(topic.name);
                if (topic.handle)
                        rd_kafka_topic_destroy(topic.handle);
                return NULL;
        }
        producer->topics[producer->topics_count++] = topic;
        return topic.handle;
}

/* What fails here fails again, and with better words, when it is sent to. */
static void warm_up(struct producer *producer, const struct producer_options *options) {
        for (size_t i = 0; i < options->topics_count; i++) {
                rd_kafka_topic_t *topic = topic_of(producer, options->topics[i]);
                const struct rd_kafka_metadata *metadata;
                if (topic && rd_kafka_metadata(producer->client, 0, topic, &metadata, METADATA_MS) ==
                                     RD_KAFKA_RESP_ERR_NO_ERROR)
                        rd_kafka_metadata_destroy(metadata);
        }
}

/*
 * A client that still registers partitions with a transaction when it is destroyed may abort the process: the
 * request can fail with "destroyed" before it has been counted (librdkafka 2.0.2 to 2.15,
 * rd_kafka_txn_register_partitions()). What is being aborted registers none any more. Behind a commit of
 * unknown end the call is refused, and nothing is left to register.
 */
static void abandon(struct producer *producer) {
        if (producer->begun)
                rd_kafka_error_destroy(rd_kafka_abort_transaction(producer->client, ABANDON_MS));
}

static void offering_free(struct offering *offering) {
        rd_kafka_topic_partition_list_destroy(offering->offsets);
        if (offering->member)
                rd_kafka_consumer_group_metadata_destroy(offering->member);
        if (offering->failure)
                rd_kafka_error_destroy(offering->failure);
        free(offering);
}

static void destroy(void *userdata) {
        struct producer *producer = userdata;
        if (producer->hanging) {
                while (!atomic_load(&producer->hanging->done))
                        rest();
                offering_free(producer->hanging);
        }
        abandon(producer);
        rd_kafka_purge(producer->client,
                       RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
        for (size_t i = 0; i < producer->topics_count; i++) {
                rd_kafka_topic_destroy(producer->topics[i].handle);
                free(producer->topics[i].name);
        }
        rd_kafka_destroy(producer->client);
        free(producer);
}

struct error *producer_open(const struct producer_options *options, struct producer **out_producer) {
        struct producer *producer = calloc(1, sizeof(*producer));
        if (!producer)
                return error_new(ERROR_MEMORY, "cannot open a producer");
        producer->fault = options->fault;
        producer->fault_userdata = options->fault_userdata;
        producer->valid = options->valid;
        producer->valid_userdata = options->valid_userdata;
        struct error *error = make_client(producer, options);
        if (error) {
                free(producer);
                return error;
        }
        error = take_id(producer, options);
        if (error) {
                producer->gone = true;
                producer_close(producer);
                return error;
        }
        warm_up(producer, options);
        *out_producer = producer;
        return NULL;
}

/* --- errors --- */

static bool is_fence(rd_kafka_resp_err_t code) {
        return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
               code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
#if RD_KAFKA_VERSION >= 0x02040000 /* the new group protocol's, KIP-848 */
               || code == RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH ||
               code == RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH
#endif
                ;
}

static void note(struct producer *producer, const char *doing, const char *text) {
        snprintf(producer->message, sizeof(producer->message), "%s: %s", doing, text);
}

/* Destroys it. FINE for NULL. */
static enum verdict judge(struct producer *producer, const char *doing, rd_kafka_error_t *failure) {
        if (!failure)
                return FINE;
        enum verdict verdict = DEAD;
        if (rd_kafka_error_is_fatal(failure))
                verdict = DEAD;
        else if (rd_kafka_error_txn_requires_abort(failure))
                verdict = is_fence(rd_kafka_error_code(failure)) ? FENCED : ABORT;
        else if (rd_kafka_error_is_retriable(failure))
                verdict = AGAIN;
        note(producer, doing, rd_kafka_error_string(failure));
        rd_kafka_error_destroy(failure);
        return verdict;
}

static enum verdict injected(struct producer *producer, const char *step) {
        enum producer_fault fault =
                producer->fault ? producer->fault(producer->fault_userdata, step) : PRODUCER_NO_FAULT;
        if (fault == PRODUCER_NO_FAULT)
                return FINE;
        note(producer, step, "made to fail");
        return fault == PRODUCER_FAULT_ABORT ? ABORT : fault == PRODUCER_FAULT_FENCED ? FENCED : DEAD;
}

/* --- ends --- */

/* The transaction's own error rarely says which record it was, or why. */
static void note_undelivered(struct producer *producer) {
        size_t size = strlen(producer->message);
        if (*producer->undelivered)
                snprintf(producer->message + size, sizeof(producer->message) - size,
                         "; first not delivered: %s", producer->undelivered);
        *producer->undelivered = '\0';
}

static enum producer_end end_gone(struct producer *producer) {
        producer->gone = true;
        producer->open = false;
        note_undelivered(producer);
        return PRODUCER_GONE;
}

static enum producer_end end(struct producer *producer, enum producer_end end) {
        producer->open = producer->begun = false;
        producer->broken = FINE;
        note_undelivered(producer);
        if (end == PRODUCER_COMMITTED)
                *producer->message = '\0';
        return end;
}

static enum producer_end end_aborted(struct producer *producer, enum producer_end told, int64_t limit_ns) {
        int64_t end_ns = clock_now_ns() + limit_ns;
        char why[PRODUCER_MESSAGE_MAX];
        enum verdict verdict = injected(producer, "abort");
        if (verdict != FINE)
                return end_gone(producer);
        memcpy(why, producer->message, sizeof(why));
        do {
                if (verdict == AGAIN)
                        rest();
                verdict = judge(producer, "abort",
                                rd_kafka_abort_transaction(producer->client, slice_ms(end_ns)));
        } while (verdict == AGAIN && clock_now_ns() < end_ns);
        if (verdict == FINE) {
                memcpy(producer->message, why, sizeof(why));
                return end(producer, told);
        }
        size_t size = strlen(producer->message);
        snprintf(producer->message + size, sizeof(producer->message) - size, "%s%s", *why ? " after " : "",
                 why);
        return end_gone(producer);
}

/* For everything but FINE. */
static enum producer_end end_badly(struct producer *producer, enum verdict verdict) {
        switch (verdict) {
        case ABORT:
                return end_aborted(producer, PRODUCER_ABORTED, producer->limit_ns);
        case FENCED:
                return end_aborted(producer, PRODUCER_FENCED, producer->limit_ns);
        case FINE:
        case AGAIN: /* the time is over */
        case DEAD:
                break;
        }
        return end_gone(producer);
}

struct producer *producer_close(struct producer *producer) {
        if (!producer)
                return NULL;
        if (producer->open && !producer->gone)
                end_aborted(producer, PRODUCER_ABORTED, CLOSE_ABORT_NS);
        producer->gone = true; /* reports that still come are nobody's */
        deadline_run(destroy, producer, producer->hanging ? 0 : CLOSE_LIMIT_NS, "a producer");
        return NULL;
}

const char *producer_message(const struct producer *producer) {
        return producer->message;
}

bool producer_too_large(const struct producer *producer) {
        return producer->too_large;
}

/* --- sending --- */

static const void *present(bool has, struct bytes bytes) {
        return !has ? NULL : bytes.size ? bytes.data : "";
}

int producer_enqueue(struct rd_kafka_s *client, struct rd_kafka_topic_s *topic,
                     const struct producer_message *message, void *opaque) {
        rd_kafka_headers_t *headers = client_headers(message->headers, message->headers_count);
        /* the tags as they are: RD_KAFKA_V_...() are statement expressions, which are not C */
        rd_kafka_resp_err_t code = rd_kafka_producev(
                client, RD_KAFKA_VTYPE_RKT, topic, RD_KAFKA_VTYPE_PARTITION, message->partition,
                RD_KAFKA_VTYPE_KEY, present(message->has_key, message->key), message->key.size,
                RD_KAFKA_VTYPE_VALUE, present(message->has_value, message->value), message->value.size,
                RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_OPAQUE, opaque,
                RD_KAFKA_VTYPE_HEADERS, headers, RD_KAFKA_VTYPE_END);
        if (code && headers)
                rd_kafka_headers_destroy(headers);
        return (int)code;
}

static enum verdict begin(struct producer *producer) {
        if (producer->gone)
                return DEAD;
        if (producer->open)
                return producer->broken;
        *producer->message = *producer->undelivered = '\0';
        producer->too_large = false;
        enum verdict verdict = judge(producer, "begin", rd_kafka_begin_transaction(producer->client));
        if (verdict != FINE) {
                end_gone(producer);
                return DEAD;
        }
        producer->open = producer->begun = true;
        producer->broken = injected(producer, "begin");
        return producer->broken;
}

static rd_kafka_resp_err_t enqueue(struct producer *producer, rd_kafka_topic_t *topic,
                                   const struct producer_message *message) {
        int64_t end_ns = clock_now_ns() + producer->limit_ns;
        int code;
        while ((code = producer_enqueue(producer->client, topic, message, message->out_offset)) ==
                       RD_KAFKA_RESP_ERR__QUEUE_FULL &&
               clock_now_ns() < end_ns)
                rd_kafka_poll(producer->client, FULL_WAIT_MS);
        if (++producer->sends % POLL_EVERY == 0)
                rd_kafka_poll(producer->client, 0);
        return (rd_kafka_resp_err_t)code;
}

enum producer_sent producer_send(struct producer *producer, const struct producer_message *message) {
        enum verdict verdict = begin(producer);
        if (verdict != FINE)
                return PRODUCER_BROKEN;
        producer->broken = injected(producer, "send");
        if (producer->broken != FINE)
                return PRODUCER_BROKEN;
        rd_kafka_topic_t *topic = topic_of(producer, message->topic);
        rd_kafka_resp_err_t code = topic ? enqueue(producer, topic, message) : RD_KAFKA_RESP_ERR__INVALID_ARG;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
                return PRODUCER_SENT;
        if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
                return PRODUCER_TOO_LARGE;
        /* Whatever the reason, the abort finds out whether the client is still good for something. */
        note(producer, message->topic, rd_kafka_err2str(code));
        producer->broken = ABORT;
        return PRODUCER_BROKEN;
}

/* --- committing --- */

static void offer(void *userdata) {
        struct offering *offering = userdata;
        offering->failure = rd_kafka_send_offsets_to_transaction(offering->client, offering->offsets,
                                                                 offering->member, offering->timeout_ms);
        atomic_store(&offering->done, true);
}

/* Takes the offering over. */
static enum verdict send_offsets(struct producer *producer, struct offering *offering, int64_t end_ns) {
        enum verdict verdict = AGAIN;
        for (bool again = false; verdict == AGAIN && (!again || clock_now_ns() < end_ns); again = true) {
                if (again)
                        rest();
                offering->timeout_ms = slice_ms(end_ns);
                atomic_store(&offering->done, false);
                if (!deadline_run(offer, offering, offering->timeout_ms * NS_PER_MS + OFFERING_NS,
                                  "a call for the offsets of a transaction")) {
                        producer->hanging = offering;
                        note(producer, "offsets", "the group's coordinator cannot be reached");
                        return DEAD;
                }
                verdict = judge(producer, "offsets", offering->failure);
                offering->failure = NULL;
        }
        offering_free(offering);
        return verdict;
}

static enum verdict add_offsets(struct producer *producer, struct consumer *consumer, const char *topic,
                                const struct producer_offset *offsets, size_t count, int64_t end_ns) {
        struct offering *offering = calloc(1, sizeof(*offering));
        if (!offering) {
                note(producer, "offsets", "no memory");
                return ABORT;
        }
        offering->client = producer->client;
        offering->member = consumer_membership(consumer);
        offering->offsets = rd_kafka_topic_partition_list_new((int)count);
        bool owned = offering->member && (!producer->valid || producer->valid(producer->valid_userdata));
        for (size_t i = 0; i < count; i++) {
                owned &= consumer_owns(consumer, offsets[i].partition);
                rd_kafka_topic_partition_list_add(offering->offsets, topic, (int32_t)offsets[i].partition)
                        ->offset = (int64_t)offsets[i].offset;
        }
        if (owned)
                return send_offsets(producer, offering, end_ns);
        note(producer, "offsets", "this member does not own the partitions any more");
        offering_free(offering);
        return FENCED;
}

static enum verdict commit(struct producer *producer, int64_t end_ns) {
        enum verdict verdict = FINE;
        do {
                if (verdict == AGAIN)
                        rest();
                rd_kafka_error_t *failure = rd_kafka_commit_transaction(producer->client, slice_ms(end_ns));
                rd_kafka_resp_err_t code = rd_kafka_error_code(failure);
                verdict = judge(producer, "commit", failure);
                if (code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING ||
                    code == RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID)
                        verdict = DEAD;
        } while (verdict == AGAIN && clock_now_ns() < end_ns);
        return verdict;
}

enum producer_end producer_commit(struct producer *producer, struct consumer *consumer, const char *topic,
                                  const struct producer_offset *offsets, size_t count) {
        int64_t end_ns = clock_now_ns() + producer->limit_ns;
        CHECK(count == 0 || consumer);
        if (!producer->gone && !producer->open && count == 0)
                return end(producer, PRODUCER_COMMITTED);
        enum verdict verdict = begin(producer);
        if (verdict == FINE && count > 0)
                verdict = injected(producer, "offsets");
        if (verdict == FINE && count > 0)
                verdict = add_offsets(producer, consumer, topic, offsets, count, end_ns);
        if (verdict == FINE)
                verdict = injected(producer, "commit");
        if (verdict == FINE)
                verdict = commit(producer, end_ns);
        if (verdict == FINE && injected(producer, "committed") != FINE)
                verdict = DEAD;
        return verdict == FINE ? end(producer, PRODUCER_COMMITTED) : end_badly(producer, verdict);
}

enum producer_end producer_abort(struct producer *producer) {
        if (producer->gone)
                return PRODUCER_GONE;
        if (!producer->open)
                return end(producer, PRODUCER_ABORTED);
        return end_aborted(producer, PRODUCER_ABORTED, producer->limit_ns);
}
