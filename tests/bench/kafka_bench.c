/*
 * The other side of a worker for scripts/bench: a producer of jobs, a reader of results, and a state topic
 * made without having done the work.
 *
 *   kafka-bench jobs BOOTSTRAP TOPIC COUNT FIRST
 *      jobs number FIRST and up, as fast as they are taken
 *   kafka-bench settled BOOTSTRAP TOPIC COUNT PARTITION
 *      so many records of finished jobs, as a worker writes them
 *   kafka-bench results BOOTSTRAP TOPIC COUNT FIRST
 *      reads what is there: how many results, of how many of those jobs
 *   kafka-bench latency BOOTSTRAP PREFIX COUNT RATE
 *      so many jobs at RATE a second to PREFIXjobs, and how long each took until a reader of committed
 *      records had its result
 *
 * latency, per job, in milliseconds:
 *
 *   total    from the call that sends the job (linger.ms is 5, as of `submit`) to its result at the reader
 *   added    total - provider_ms of the result's receipt
 *   intake   from sending to the answer's being settled (the time in its state record), less provider_ms
 *   publish  from there to the reader: the wait for the commit, and the commit
 *
 * Clocks are this machine's; times in records have whole milliseconds. The first jobs (five seconds of
 * them) are not counted.
 */
#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/kafka/reader.h"
#include "broker/kafka/writer.h"
#include "broker/wire/state_record.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEY_MAX = 24, WARM_UP_S = 5, TOPIC_BYTES = 256 };
#define FLUSH_NS (60 * NS_PER_S)
#define QUIET_NS (30 * NS_PER_S) /* no result for so long: none will come */
#define TICK_NS  (1 * NS_PER_MS)
#define MIX      UINT64_C(0x9e3779b97f4a7c15)
#define JOB_FORMAT                                                                                           \
        "{\"custom_id\": \"job-%08u\", \"url\": \"/v1/chat/completions\", \"body\": {\"model\": \"m\", "     \
        "\"messages\": "                                                                                     \
        "[{\"role\": \"user\", \"content\": \"question %08u: why is the sky blue?\"}], \"max_tokens\": 64}}"

struct command {
        const char *bootstrap, *topic;
        unsigned count, third;
};

static void need(struct error *error) {
        if (!error)
                return;
        fprintf(stderr, "kafka-bench: %s\n", error->message);
        exit(1);
}

static void *zeroed(size_t count, size_t size) {
        void *memory = calloc(count, size);
        CHECK(memory);
        return memory;
}

/*
 * --- writing
 * --------------------------------------------------------------------------------------------------
 */

static struct writer *open_writer(const struct command *command, const char *linger_ms) {
        const struct kafka_property items[] = {{"bootstrap.servers", command->bootstrap},
                                               {"linger.ms", linger_ms},
                                               {"batch.num.messages", "20000"}};
        struct writer_options options = {.properties = {items, sizeof(items) / sizeof(*items)},
                                         .client_id = "bench"};
        struct writer *writer;
        need(writer_open(&options, &writer));
        return writer;
}

static void send(struct writer *writer, const struct producer_message *message) {
        if (writer_send(writer, message) != PRODUCER_SENT) {
                need(writer_error(writer));
                exit(1);
        }
}

static void send_job(struct writer *writer, const char *topic, unsigned number) {
        char key[KEY_MAX], value[512];
        int key_bytes = snprintf(key, sizeof(key), "k%08u", number);
        int bytes = snprintf(value, sizeof(value), JOB_FORMAT, number, number);
        send(writer, &(struct producer_message){.topic = topic,
                                                .partition = -1,
                                                .has_key = true,
                                                .has_value = true,
                                                .key = {key, (size_t)key_bytes},
                                                .value = {value, (size_t)bytes}});
}

static int run_jobs(const struct command *command) {
        struct writer *writer = open_writer(command, "20");
        for (unsigned i = 0; i < command->count; i++)
                send_job(writer, command->topic, command->third + i);
        need(writer_flush(writer, FLUSH_NS));
        printf("sent=%u\n", command->count);
        writer_close(writer);
        return 0;
}

/* Bytes that look like those of a hash. */
static uint64_t mixed(uint64_t x) {
        x = (x + 1) * MIX;
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static int run_settled(const struct command *command) {
        struct writer *writer = open_writer(command, "20");
        struct buffer value;
        buffer_init(&value, 4096);
        for (unsigned i = 0; i < command->count; i++) {
                char key[KEY_MAX];
                uint64_t words[4];
                int key_bytes = snprintf(key, sizeof(key), "settled-%08u", i);
                struct state_record record = {.kind = STATE_SETTLED,
                                              .settled = {.key = {mixed(2 * i), mixed(2 * i + 1)},
                                                          .offset = i,
                                                          .status = 200,
                                                          .attempts = 1,
                                                          .cost_known = true,
                                                          .cost_picousd = 36000000,
                                                          .at_unix_ms = clock_now_unix_ms()}};
                for (unsigned j = 0; j < 4; j++)
                        words[j] = mixed(~(4 * (uint64_t)i + j));
                memcpy(record.settled.fingerprint, words, sizeof(words));
                buffer_clear(&value);
                state_record_append(&value, &record);
                send(writer, &(struct producer_message){.topic = command->topic,
                                                        .partition = (int32_t)command->third,
                                                        .has_key = true,
                                                        .has_value = true,
                                                        .key = {key, (size_t)key_bytes},
                                                        .value = buffer_view(&value)});
        }
        need(writer_flush(writer, FLUSH_NS));
        printf("sent=%u\n", command->count);
        buffer_deinit(&value);
        writer_close(writer);
        return 0;
}

/*
 * --- reading
 * --------------------------------------------------------------------------------------------------
 */

static struct reader *open_reader(const char *bootstrap, const char *topic, bool follow) {
        const struct kafka_property items[] = {{"bootstrap.servers", bootstrap}};
        struct reader_options options = {
                .properties = {items, 1}, .topic = topic, .client_id = "bench", .follow = follow};
        struct reader *reader;
        need(reader_open(&options, &reader));
        return reader;
}

/* The job's number, from its key; `count` when it is none of them. */
static unsigned number_of(struct bytes key, unsigned first, unsigned count) {
        char text[KEY_MAX];
        if (key.size < 2 || key.size >= sizeof(text) || *(const char *)key.data != 'k')
                return count;
        memcpy(text, key.data, key.size);
        text[key.size] = '\0';
        unsigned long number = strtoul(text + 1, NULL, 10);
        return number >= first && number - first < count ? (unsigned)(number - first) : count;
}

static bool next(struct reader *reader, struct consumer_record *record, int64_t patience_ns) {
        int64_t end_ns = clock_now_ns() + patience_ns;
        while (clock_now_ns() < end_ns) {
                switch (reader_next(reader, 100 * NS_PER_MS, record)) {
                case READER_RECORD:
                        return true;
                case READER_END:
                        return false;
                case READER_LATER:
                        break;
                case READER_FAILED:
                        need(reader_error(reader));
                        break;
                }
        }
        return false;
}

static int run_results(const struct command *command) {
        struct reader *reader = open_reader(command->bootstrap, command->topic, false);
        struct consumer_record record;
        bool *seen = zeroed(command->count + 1, sizeof(*seen));
        unsigned records = 0, distinct = 0, others = 0;
        while (next(reader, &record, QUIET_NS)) {
                unsigned number = number_of(record.key, command->third, command->count);
                records++;
                others += number == command->count;
                distinct += number < command->count && !seen[number];
                seen[number] = true;
                consumer_release(&record);
        }
        printf("records=%u distinct=%u others=%u\n", records, distinct, others);
        reader_close(reader);
        free(seen);
        return 0;
}

/*
 * --- latency
 * --------------------------------------------------------------------------------------------------
 */

/* Times in microseconds since 1970; 0: not known. */
struct passage {
        int64_t sent, settled, read, provider;
};

struct run {
        const struct command *command;
        struct passage *passages;
        struct reader *reader;
        unsigned read;
};

static int64_t now_us(void) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t provider_us(struct bytes value) {
        static const char name[] = "\"provider_ms\":";
        const char *at = memmem(value.data, value.size, name, sizeof(name) - 1), *end = value.data;
        int64_t ms = 0;
        if (!at)
                return 0;
        for (at += sizeof(name) - 1, end += value.size; at < end && *at >= '0' && *at <= '9'; at++)
                ms = 10 * ms + (*at - '0');
        return 1000 * ms;
}

static void *read_results(void *userdata) {
        struct run *run = userdata;
        struct consumer_record record;
        while (run->read < run->command->count && next(run->reader, &record, QUIET_NS)) {
                unsigned number = number_of(record.key, 0, run->command->count);
                if (number < run->command->count) {
                        struct passage *passage = &run->passages[number];
                        run->read += passage->read == 0;
                        passage->read = now_us();
                        passage->provider = provider_us(record.value);
                }
                consumer_release(&record);
        }
        return NULL;
}

static void send_at_rate(const struct run *run, struct writer *writer, const char *topic) {
        int64_t start_ns = clock_now_ns();
        for (unsigned sent = 0; sent < run->command->count;) {
                int64_t due = (clock_now_ns() - start_ns) / 1000 * run->command->third / 1000000;
                for (; sent < run->command->count && sent < due; sent++) {
                        run->passages[sent].sent = now_us();
                        send_job(writer, topic, sent);
                }
                nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
        }
        need(writer_flush(writer, FLUSH_NS));
}

static void read_state(const struct run *run, const char *topic) {
        struct reader *reader = open_reader(run->command->bootstrap, topic, false);
        struct state_lists *lists = zeroed(1, sizeof(*lists));
        struct consumer_record record;
        struct state_record state;
        while (next(reader, &record, QUIET_NS)) {
                unsigned number = number_of(record.key, 0, run->command->count);
                if (number < run->command->count && record.has_value &&
                    state_record_read(record.value, lists, &state) == STATE_RECORD_OK &&
                    state.kind == STATE_SETTLED)
                        run->passages[number].settled = 1000 * state.settled.at_unix_ms;
                consumer_release(&record);
        }
        free(lists);
        reader_close(reader);
}

static int by_size(const void *a, const void *b) {
        const int64_t *x = a, *y = b;
        return (*x > *y) - (*x < *y);
}

static void print(const char *name, int64_t *values, size_t count) {
        qsort(values, count, sizeof(*values), by_size);
        printf("%s p50=%.1f p90=%.1f p99=%.1f p999=%.1f max=%.1f\n", name, (double)values[count / 2] / 1e3,
               (double)values[count * 9 / 10] / 1e3, (double)values[count * 99 / 100] / 1e3,
               (double)values[count * 999 / 1000] / 1e3, (double)values[count - 1] / 1e3);
}

static void print_latency(const struct run *run) {
        enum { TOTAL, ADDED, INTAKE, PUBLISH, COLUMNS };
        static const char *const names[] = {"total", "added", "intake", "publish"};
        const struct command *command = run->command;
        int64_t *columns[COLUMNS];
        size_t rows = 0;
        for (int i = 0; i < COLUMNS; i++)
                columns[i] = zeroed(command->count, sizeof(int64_t));
        for (unsigned i = WARM_UP_S * command->third; i < command->count; i++) {
                const struct passage *passage = &run->passages[i];
                if (!passage->read || !passage->settled)
                        continue;
                columns[TOTAL][rows] = passage->read - passage->sent;
                columns[ADDED][rows] = columns[TOTAL][rows] - passage->provider;
                columns[INTAKE][rows] = passage->settled - passage->sent - passage->provider;
                columns[PUBLISH][rows] = passage->read - passage->settled;
                rows++;
        }
        printf("counted=%zu read=%u\n", rows, run->read);
        for (int i = 0; i < COLUMNS; i++) {
                if (rows > 0)
                        print(names[i], columns[i], rows);
                free(columns[i]);
        }
}

static int run_latency(const struct command *command) {
        char jobs[TOPIC_BYTES], results[TOPIC_BYTES], state[TOPIC_BYTES];
        struct run run = {.command = command, .passages = zeroed(command->count, sizeof(struct passage))};
        pthread_t thread;
        snprintf(jobs, sizeof(jobs), "%sjobs", command->topic);
        snprintf(results, sizeof(results), "%sresults", command->topic);
        snprintf(state, sizeof(state), "%sstate", command->topic);
        struct writer *writer = open_writer(command, "5");
        run.reader = open_reader(command->bootstrap, results, true);
        CHECK(pthread_create(&thread, NULL, read_results, &run) == 0);
        send_at_rate(&run, writer, jobs);
        pthread_join(thread, NULL);
        reader_close(run.reader);
        writer_close(writer);
        read_state(&run, state);
        print_latency(&run);
        free(run.passages);
        return 0;
}

/*
 * --- main
 * -----------------------------------------------------------------------------------------------------
 */

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                int (*run)(const struct command *command);
        } commands[] = {{"jobs", run_jobs},
                        {"settled", run_settled},
                        {"results", run_results},
                        {"latency", run_latency}};
        for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
                if (argc != 6 || strcmp(argv[1], commands[i].name) != 0)
                        continue;
                struct command command = {.bootstrap = argv[2],
                                          .topic = argv[3],
                                          .count = (unsigned)strtoul(argv[4], NULL, 10),
                                          .third = (unsigned)strtoul(argv[5], NULL, 10)};
                return commands[i].run(&command);
        }
        fprintf(stderr, "usage: kafka-bench jobs BOOTSTRAP TOPIC COUNT FIRST\n"
                        "       kafka-bench settled BOOTSTRAP TOPIC COUNT PARTITION\n"
                        "       kafka-bench results BOOTSTRAP TOPIC COUNT FIRST\n"
                        "       kafka-bench latency BOOTSTRAP PREFIX COUNT RATE\n");
        return 2;
}
