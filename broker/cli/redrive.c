#include "broker/cli/redrive.h"

#include "broker/base/time.h"
#include "broker/cli/ctrl_c.h"
#include "broker/cli/say.h"
#include "broker/kafka/writer.h"
#include "broker/wire/job_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        BATCH_LETTERS = 500,
        BATCH_BYTES = 8 << 20,
        NAME_MAX_BYTES = 249,
        HEADERS_MAX = CONSUMER_HEADERS_MAX + 1
};
#define ASK_NS (30 * NS_PER_S)

struct drive {
        const struct redrive_options *options;
        struct writer *writer;
        struct job_decoder *decoder;
        uint32_t partitions;
        struct redrive_counts counts;
        uint64_t open_letters, open_bytes; /* in the transaction */
};

static bool parse_partition(struct bytes text, uint32_t partitions, uint32_t *out_partition) {
        struct letter_place place;
        char both[32];
        if (text.size == 0 || text.size > 10)
                return false;
        snprintf(both, sizeof(both), "%.*s-0", (int)text.size, text.data);
        if (!letter_place_parse(bytes_of(both), &place) || place.partition >= partitions)
                return false;
        *out_partition = place.partition;
        return true;
}

static struct error *choose_partition(struct drive *drive, const struct consumer_record *letter,
                                      const struct kafka_header *headers, size_t count,
                                      uint32_t *out_partition) {
        struct job_header job_headers[HEADERS_MAX];
        for (size_t i = 0; i < count; i++)
                job_headers[i] = (struct job_header){headers[i].name, headers[i].value};
        struct job_record record = {.key = letter->key,
                                    .value = letter->value,
                                    .has_key = letter->has_key,
                                    .has_value = letter->has_value,
                                    .headers = job_headers,
                                    .headers_count = count};
        struct job_spec *spec = job_decode_record(drive->decoder, &record);
        if (!spec)
                return error_new(ERROR_MEMORY, "no memory to read a dead letter");
        uint32_t partition = letter->partition % drive->partitions;
        struct bytes topic = letter_header(letter, LETTER_TOPIC);
        if (spec->failure == FAILURE_NONE)
                partition = client_partition_of(spec->idempotency, drive->partitions);
        else if (bytes_equal_string(topic, drive->options->jobs_topic) &&
                 parse_partition(letter_header(letter, LETTER_PARTITION), drive->partitions, &partition))
                ; /* as it came */
        else if (letter->has_key)
                partition = client_partition_of(letter->key, drive->partitions);
        job_spec_free(spec);
        *out_partition = partition;
        return NULL;
}

static struct error *commit(struct drive *drive) {
        if (drive->open_letters == 0)
                return NULL;
        struct error *error = writer_flush(drive->writer, ASK_NS);
        if (!error)
                drive->counts.sent += drive->open_letters;
        drive->open_letters = drive->open_bytes = 0;
        return error;
}

static struct error *broken(struct drive *drive) {
        struct error *error = writer_error(drive->writer);
        return error ? error : error_new(ERROR_NETWORK, "the cluster takes no more records");
}

/* The record and its mark, into the open transaction. */
static struct error *send_back(struct drive *drive, const struct consumer_record *letter) {
        const char *topic = drive->options->letters.topic;
        struct kafka_header headers[HEADERS_MAX];
        char place[NAME_MAX_BYTES + 40];
        size_t count = 0;
        uint32_t partition = 0;
        for (size_t i = 0; i < letter->headers_count; i++)
                if (!letter_is_ours(letter->headers[i].name))
                        headers[count++] = letter->headers[i];
        struct error *error = choose_partition(drive, letter, headers, count, &partition);
        if (error)
                return error;
        snprintf(place, sizeof(place), "%s/%u-%llu", topic, letter->partition,
                 (unsigned long long)letter->offset);
        headers[count++] = (struct kafka_header){BYTES(LETTER_REDRIVEN), bytes_of(place)};
        struct producer_message job = {.topic = drive->options->jobs_topic,
                                       .partition = (int32_t)partition,
                                       .has_key = letter->has_key,
                                       .has_value = letter->has_value,
                                       .key = letter->key,
                                       .value = letter->value,
                                       .headers = headers,
                                       .headers_count = count};
        struct producer_message mark = {.topic = topic,
                                        .partition = (int32_t)letter->partition,
                                        .has_key = letter->has_key,
                                        .key = letter->key,
                                        .headers = &headers[count - 1],
                                        .headers_count = 1};
        switch (writer_send(drive->writer, &job)) {
        case PRODUCER_SENT:
                break;
        case PRODUCER_TOO_LARGE:
                say(LOG_LEVEL_ERROR, "%u-%llu is larger than kafka.message.max.bytes allows",
                    letter->partition, (unsigned long long)letter->offset);
                drive->counts.left++;
                return NULL;
        case PRODUCER_BROKEN:
                return broken(drive);
        }
        if (writer_send(drive->writer, &mark) != PRODUCER_SENT)
                return broken(drive);
        drive->open_letters++;
        drive->open_bytes += letter->value.size + letter->key.size;
        return NULL;
}

static struct error *take(void *userdata, const struct consumer_record *letter, bool redriven, bool *stop) {
        struct drive *drive = userdata;
        (void)stop;
        if (redriven) {
                drive->counts.before++;
                return NULL;
        }
        if (letter->headers_cut) {
                say(LOG_LEVEL_ERROR, "%u-%llu has more than %d headers and cannot be sent back as it came",
                    letter->partition, (unsigned long long)letter->offset, CONSUMER_HEADERS_MAX);
                drive->counts.left++;
                return NULL;
        }
        if (drive->options->dry_run) {
                printf("%u-%llu\n", letter->partition, (unsigned long long)letter->offset);
                drive->counts.sent++;
                return NULL;
        }
        struct error *error = send_back(drive, letter);
        if (!error && (drive->open_letters >= BATCH_LETTERS || drive->open_bytes >= BATCH_BYTES))
                error = commit(drive);
        return error;
}

static struct error *open_writer(struct drive *drive) {
        const struct redrive_options *options = drive->options;
        char id[NAME_MAX_BYTES + 20];
        snprintf(id, sizeof(id), "%s.redrive", options->letters.topic);
        struct writer_options writer = {.properties = options->letters.properties,
                                        .client_id = options->letters.client_id,
                                        .transactional_id = id};
        struct error *error = writer_open(&writer, &drive->writer);
        if (!error)
                error = writer_partitions(drive->writer, options->jobs_topic, ASK_NS, &drive->partitions);
        return error;
}

struct error *redrive(const struct redrive_options *options, struct redrive_counts *out_counts) {
        struct drive drive = {.options = options};
        struct job_decoder_options decoder = {.job_bytes_max = options->job_bytes_max};
        struct error *error = job_decoder_new(&decoder, &drive.decoder);
        if (!error && !options->dry_run)
                error = open_writer(&drive);
        if (!error)
                error = letters_read(&options->letters, take, &drive);
        /* What is whole may as well be committed, when somebody stops it. */
        if (!error && !options->dry_run)
                error = commit(&drive);
        writer_close(drive.writer);
        job_decoder_free(drive.decoder);
        *out_counts = drive.counts;
        return error;
}
