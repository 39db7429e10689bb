#include "broker/cli/letters.h"

#include "broker/base/time.h"
#include "broker/cli/ctrl_c.h"
#include "broker/cli/record_text.h"
#include "broker/wire/json_span.h"

#include <stdlib.h>
#include <string.h>

#define MARKS_MAX ((size_t)1 << 28)

struct pass {
        const struct letters_options *options;
        struct letter_place *marks;
        size_t marks_count, marks_room;
        struct buffer json, batch_json; /* batch_json: the wanted one, as it stands in JSON */
        letters_each each;
        void *userdata;
        bool stop;
};

static int compare(const void *a, const void *b) {
        const struct letter_place *left = a, *right = b;
        if (left->partition != right->partition)
                return left->partition < right->partition ? -1 : 1;
        if (left->offset != right->offset)
                return left->offset < right->offset ? -1 : 1;
        return 0;
}

static struct error *take_mark(void *userdata, const struct consumer_record *record) {
        struct pass *pass = userdata;
        struct letter_place place;
        if (!letter_is_mark(record) || !letter_marked_place(record, pass->options->topic, &place))
                return NULL;
        if (pass->marks_count == pass->marks_room) {
                size_t room = pass->marks_room ? pass->marks_room * 2 : 1024;
                struct letter_place *marks =
                        room > MARKS_MAX ? NULL : realloc(pass->marks, room * sizeof(*pass->marks));
                if (!marks)
                        return error_new(ERROR_MEMORY, "no memory for what was redriven before");
                pass->marks = marks;
                pass->marks_room = room;
        }
        pass->marks[pass->marks_count++] = place;
        return NULL;
}

static bool is_of_batch(struct pass *pass, const struct consumer_record *record) {
        struct json_members members;
        struct json_member member;
        if (!record_json(record, &pass->json))
                return false;
        struct bytes text = buffer_view(&pass->json);
        json_members_init(&members, text);
        while (json_members_next(&members, &member))
                if (bytes_equal_string(span_of(text, member.key), "\"batch\""))
                        return bytes_equal(span_of(text, member.value), buffer_view(&pass->batch_json));
        return false;
}

static bool is_chosen(struct pass *pass, const struct consumer_record *record) {
        const struct letter_filter *filter = &pass->options->filter;
        bool named = filter->places_count == 0;
        for (size_t i = 0; i < filter->places_count && !named; i++)
                named = filter->places[i].partition == record->partition &&
                        filter->places[i].offset == record->offset;
        if (!named || (filter->since_unix_ms && record->timestamp_unix_ms < filter->since_unix_ms) ||
            (filter->until_unix_ms && record->timestamp_unix_ms >= filter->until_unix_ms))
                return false;
        if (filter->code && !bytes_equal_string(letter_header(record, LETTER_CODE), filter->code))
                return false;
        return !filter->batch || is_of_batch(pass, record);
}

static struct error *take_letter(void *userdata, const struct consumer_record *record) {
        struct pass *pass = userdata;
        struct letter_place place = {record->partition, record->offset};
        if (letter_is_mark(record) || !is_chosen(pass, record))
                return NULL;
        bool redriven = pass->marks_count > 0 &&
                        bsearch(&place, pass->marks, pass->marks_count, sizeof(place), compare) != NULL;
        return pass->each(pass->userdata, record, redriven, &pass->stop);
}

static bool stops(void *userdata) {
        const struct pass *pass = userdata;
        return pass->stop || ctrl_c_came();
}

static struct error *read_once(struct pass *pass, const struct letter_place *only,
                               struct error *(*take)(void *userdata, const struct consumer_record *)) {
        const struct letters_options *options = pass->options;
        struct reader_options reading = {.properties = options->properties,
                                         .topic = options->topic,
                                         .client_id = options->client_id,
                                         .wait_open = true,
                                         .since_unix_ms = only ? 0 : options->filter.since_unix_ms,
                                         .only = only != NULL,
                                         .only_partition = only ? only->partition : 0,
                                         .only_offset = only ? only->offset : 0};
        struct reader *reader = NULL;
        struct error *error = reader_open(&reading, &reader);
        if (!error)
                error = reader_each(reader, stops, take, pass);
        reader_close(reader);
        return error;
}

static void pass_init(struct pass *pass, const struct letters_options *options) {
        buffer_init(&pass->json, options->value_bytes_max * 4 + 4096);
        buffer_init(&pass->batch_json, 64 << 10);
        buffer_append_char(&pass->batch_json, '"');
        buffer_append_json_escaped(&pass->batch_json, bytes_of(options->filter.batch));
        buffer_append_char(&pass->batch_json, '"');
}

static void pass_deinit(struct pass *pass) {
        buffer_deinit(&pass->json);
        buffer_deinit(&pass->batch_json);
        free(pass->marks);
}

struct error *letters_read(const struct letters_options *options, letters_each each, void *userdata) {
        struct pass pass = {.options = options, .each = each, .userdata = userdata};
        pass_init(&pass, options);
        struct error *error = read_once(&pass, NULL, take_mark);
        if (pass.marks_count > 0)
                qsort(pass.marks, pass.marks_count, sizeof(*pass.marks), compare);
        if (!error)
                error = read_once(&pass, NULL, take_letter);
        pass_deinit(&pass);
        return error;
}

static struct error *show_first(void *userdata, const struct consumer_record *record) {
        struct pass *pass = userdata;
        const struct letter_place *place = pass->options->filter.places;
        pass->stop = true;
        if (record->partition != place->partition || record->offset != place->offset)
                return NULL;
        pass->marks_count = 1; /* it was there */
        return pass->each(pass->userdata, record, false, &pass->stop);
}

struct error *letters_show(const struct letters_options *options, struct letter_place place,
                           letters_each each, void *userdata) {
        struct letters_options one = *options;
        one.filter = (struct letter_filter){.places = &place, .places_count = 1};
        struct pass pass = {.options = &one, .each = each, .userdata = userdata};
        pass_init(&pass, &one);
        struct error *error = read_once(&pass, &place, show_first);
        if (!error && pass.marks_count == 0 && !ctrl_c_came())
                error = error_new(ERROR_INPUT,
                                  "topic %s has no record %u-%llu: see `batchferry dead-letters list`",
                                  options->topic, place.partition, (unsigned long long)place.offset);
        pass_deinit(&pass);
        return error;
}
