/* Leaves of parsed JSON as views and numbers. */
#include "broker/wire/json_value.h"

#include <string.h>
#include <yyjson.h>

bool json_is_absent(struct yyjson_val *value) {
        return value == NULL || yyjson_is_null(value);
}

bool json_is_string(struct yyjson_val *value) {
        return yyjson_is_str(value);
}

bool json_is_number(struct yyjson_val *value) {
        return yyjson_is_raw(value);
}

struct bytes json_text(struct yyjson_val *value) {
        if (!yyjson_is_str(value) && !yyjson_is_raw(value))
                return (struct bytes){NULL, 0};
        return (struct bytes){value->uni.str, unsafe_yyjson_get_len(value)};
}

bool json_integer(struct yyjson_val *value, int64_t min, int64_t max, int64_t *out_number) {
        struct bytes text = json_text(value);
        if (!json_is_number(value) || text.size > 19)
                return false;
        bool negative = text.data[0] == '-';
        int64_t number = 0;
        for (size_t i = negative; i < text.size; i++) {
                if (text.data[i] < '0' || text.data[i] > '9')
                        return false;
                if (__builtin_mul_overflow(number, 10, &number) ||
                    __builtin_add_overflow(number, text.data[i] - '0', &number))
                        return false;
        }
        number = negative ? -number : number;
        if (number < min || number > max)
                return false;
        *out_number = number;
        return true;
}

bool text_is_printable(struct bytes text) {
        for (size_t i = 0; i < text.size; i++)
                if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
                        return false;
        return true;
}

size_t text_characters(struct bytes text) {
        size_t characters = 0;
        for (size_t i = 0; i < text.size; i++)
                characters += ((unsigned char)text.data[i] & 0xC0) != 0x80;
        return characters;
}

size_t text_find(struct bytes name, const struct bytes *table, size_t count) {
        for (size_t i = 0; i < count; i++)
                if (table[i].size == name.size && memcmp(table[i].data, name.data, name.size) == 0)
                        return i;
        return count;
}
