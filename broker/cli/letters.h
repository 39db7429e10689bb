#pragma once
/*
 * Reads the dead-letter topic: twice, since what marks a letter as redriven comes after it. Memory: 16 bytes
 * a mark, and the records that are read ahead.
 */
#include "broker/cli/letter.h"
#include "broker/kafka/reader.h"

enum { LETTER_PLACES_MAX = 1024 };

struct letter_filter {
        const char *code, *batch;             /* NULL: any */
        int64_t since_unix_ms, until_unix_ms; /* 0: none */
        const struct letter_place *places;    /* when there are any, these only */
        size_t places_count;
};

struct letters_options {
        struct kafka_properties properties;
        const char *topic, *client_id;
        struct letter_filter filter;
        size_t value_bytes_max; /* for what is decoded to find its batch */
};

/* A letter that the filter lets through; `stop` ends the reading. */
typedef struct error *(*letters_each)(void *userdata, const struct consumer_record *record, bool redriven,
                                      bool *stop);

/*
 * Everything that was committed before it began, waiting for transactions that are open then. Ends early when
 * an interrupt comes (ctrl_c.h).
 */
struct error *letters_read(const struct letters_options *options, letters_each each, void *userdata) MUST_USE;
/* That record alone, letter or mark. ERROR_INPUT when there is none. */
struct error *letters_show(const struct letters_options *options, struct letter_place place,
                           letters_each each, void *userdata) MUST_USE;
