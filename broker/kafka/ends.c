#include "broker/kafka/ends.h"

#include "broker/base/time.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <time.h>

enum { ASK_MS_MAX = 5000, PAUSE_MS = 50 };

/* What may be otherwise in a moment. */
static bool passes(rd_kafka_resp_err_t code) {
        switch ((int)code) {
        case RD_KAFKA_RESP_ERR__TRANSPORT:
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        case RD_KAFKA_RESP_ERR__TIMED_OUT:
        case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
        case RD_KAFKA_RESP_ERR__RESOLVE:
        case RD_KAFKA_RESP_ERR__WAIT_COORD:
        case RD_KAFKA_RESP_ERR__FAIL:
        case RD_KAFKA_RESP_ERR__IN_PROGRESS:
        case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
        case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
        case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
        case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
                return true;
        default:
                return false;
        }
}

static struct error *stopped(void) {
        struct error *error = error_new(ERROR_BUSY, "stopped");
        error->code = ECANCELED;
        return error;
}

/* How long the next question may take; 0: the time is over. Short ones, so that `stop` is seen. */
static int ask_ms(int64_t end_ns) {
        int64_t left_ms = (end_ns - clock_now_ns()) / NS_PER_MS;
        if (left_ms <= 0)
                return 0;
        return left_ms < ASK_MS_MAX ? (int)left_ms : ASK_MS_MAX;
}

static void pause_a_moment(void) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * NS_PER_MS}, NULL);
}

static rd_kafka_resp_err_t ask_partitions(rd_kafka_t *client, const char *topic, int ms,
                                          uint32_t *out_count) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
        if (!handle)
                return rd_kafka_last_error();
        rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, ms);
        if (!code && metadata->topic_cnt != 1)
                code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        if (!code)
                code = metadata->topics[0].err;
        if (!code && metadata->topics[0].partition_cnt <= 0)
                code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        if (!code)
                *out_count = (uint32_t)metadata->topics[0].partition_cnt;
        if (metadata)
                rd_kafka_metadata_destroy(metadata);
        rd_kafka_topic_destroy(handle);
        return code;
}

struct error *ends_partitions(rd_kafka_t *client, const char *topic, int64_t timeout_ns,
                              const atomic_bool *stop, uint32_t *out_count) {
        int64_t end_ns = clock_now_ns() + timeout_ns;
        for (;;) {
                int ms = ask_ms(end_ns);
                rd_kafka_resp_err_t code = ask_partitions(client, topic, ms ? ms : 1, out_count);
                if (!code)
                        return NULL;
                if (stop && atomic_load(stop))
                        return stopped();
                if (!passes(code) || ms == 0)
                        return client_error((int)code, "topic %s", topic);
                pause_a_moment();
        }
}

static rd_kafka_resp_err_t ask_all(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list, int64_t unix_ms,
                                   int ms, int32_t *out_partition) {
        for (int i = 0; i < list->cnt; i++)
                list->elems[i].offset = unix_ms;
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(client, list, ms);
        for (int i = 0; i < list->cnt && !code; i++) {
                *out_partition = list->elems[i].partition;
                code = list->elems[i].err;
        }
        return code;
}

struct error *ends_of_all(rd_kafka_t *client, const char *topic, uint32_t count, int64_t unix_ms,
                          int64_t timeout_ns, const atomic_bool *stop, int64_t *out_offsets) {
        int64_t end_ns = clock_now_ns() + timeout_ns;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
        for (uint32_t i = 0; i < count; i++)
                rd_kafka_topic_partition_list_add(list, topic, (int32_t)i);
        struct error *error = NULL;
        for (;;) {
                int32_t partition = 0;
                int ms = ask_ms(end_ns);
                rd_kafka_resp_err_t code = ask_all(client, list, unix_ms, ms ? ms : 1, &partition);
                if (!code)
                        break;
                if (stop && atomic_load(stop))
                        error = stopped();
                else if (!passes(code) || ms == 0)
                        error = client_error((int)code, "topic %s, partition %d", topic, (int)partition);
                if (error)
                        break;
                pause_a_moment();
        }
        /* "No such record" is -1 on the wire, which is also librdkafka's name for the end. */
        for (int i = 0; i < list->cnt && !error; i++)
                out_offsets[list->elems[i].partition] =
                        list->elems[i].offset < 0 ? -1 : list->elems[i].offset;
        rd_kafka_topic_partition_list_destroy(list);
        return error;
}

struct error *ends_of_one(rd_kafka_t *client, const char *topic, uint32_t partition, int64_t timeout_ns,
                          const atomic_bool *stop, uint64_t *out_first, uint64_t *out_end) {
        int64_t deadline_ns = clock_now_ns() + timeout_ns, first = 0, end = 0;
        for (;;) {
                int ms = ask_ms(deadline_ns);
                rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(client, topic, (int32_t)partition,
                                                                            &first, &end, ms ? ms : 1);
                if (!code && first >= 0 && end >= first)
                        break;
                if (stop && atomic_load(stop))
                        return stopped();
                if ((code && !passes(code)) || ms == 0)
                        return client_error((int)code, "topic %s, partition %u", topic, partition);
                pause_a_moment();
        }
        *out_first = (uint64_t)first;
        *out_end = (uint64_t)end;
        return NULL;
}
