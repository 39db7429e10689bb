/* Printable and bounded. Goes over the text by words, so that a secret is seen at its beginning. */
#include "workers/providers/sentence.h"

#include "workers/providers/secret.h"

#include <string.h>

void sentence_init(struct sentence *sentence, char *memory, size_t memory_bytes) {
        *sentence = (struct sentence){memory, 0, memory_bytes - 1};
        memory[0] = '\0';
}

/* Whole or not at all, so that no character is cut. */
static bool add_whole(struct sentence *sentence, const char *text, size_t size) {
        if (size > sentence->size_max - sentence->size)
                return false;
        memcpy(sentence->text + sentence->size, text, size);
        sentence->size += size;
        sentence->text[sentence->size] = '\0';
        return true;
}

void sentence_add(struct sentence *sentence, const char *text) {
        while (*text != '\0' && add_whole(sentence, text, 1))
                text++;
}

/* Unicode 3.9, table 3-7; 0 when the bytes are no character. */
static size_t character_size(const unsigned char *at, size_t left) {
        size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

        if (size == 0 || at[0] > 0xf4 || size > left)
                return 0;
        for (size_t i = 1; i < size; i++)
                if ((at[i] & 0xc0) != 0x80)
                        return 0;
        if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
            (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
                return 0;
        return size;
}

/* C0, DEL, C1, line and paragraph separators, and what turns the direction of text. */
static bool is_control(const unsigned char *at, size_t size) {
        if (size == 1)
                return at[0] < 0x20 || at[0] == 0x7f;
        if (size == 2)
                return at[0] == 0xc2 && at[1] < 0xa0;
        return size == 3 && at[0] == 0xe2 &&
               ((at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) || (at[1] == 0x81 && at[2] >= 0xa6));
}

/* One character, or what stands for it; false when it does not fit. Advances *at. */
static bool add_character(struct sentence *sentence, struct bytes text, size_t *at) {
        const unsigned char *data = (const unsigned char *)text.data + *at;
        size_t size = character_size(data, text.size - *at);

        *at += size == 0 ? 1 : size;
        if (size == 0)
                return add_whole(sentence, "?", 1);
        if (!is_control(data, size))
                return add_whole(sentence, (const char *)data, size);
        /* runs of line ends and indentation are one space */
        if (sentence->size > 0 && sentence->text[sentence->size - 1] == ' ')
                return true;
        return add_whole(sentence, " ", 1);
}

void sentence_add_foreign(struct sentence *sentence, struct bytes text, bool strict) {
        size_t at = 0, next;

        while (at < text.size) {
                size_t secret = secret_at(text, at, strict);

                if (secret > 0) {
                        if (!add_whole(sentence, SECRET_REPLACEMENT, sizeof(SECRET_REPLACEMENT) - 1))
                                return;
                        at += secret;
                        continue;
                }
                next = secret_step(text, at);
                do {
                        if (!add_character(sentence, text, &at))
                                return;
                } while (at < next);
        }
}
