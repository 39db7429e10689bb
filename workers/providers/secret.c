/*
 * A secret is a long word with a known beginning, or the word behind "Bearer ";
 * in strict mode any word of 20 or more with digits and letters.
 */
#include "workers/providers/secret.h"

#include <string.h>

enum { SECRET_MIN = 16, SECRET_STRICT_MIN = 20, SECRET_LETTERS_MIN = 3, BEARER_MIN = 8 };

static const char *const secret_starts[] = {
        "sk-", "sk_", "gsk_", "xai-", "hf_", "AIza", "r8_", "fw_", "pplx-", "tgp_", "nvapi-", "csk-", "eyJ",
};

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_word(char c) {
        return is_letter(c) || is_digit(c) || c == '_' || c == '-';
}

static size_t word_size(struct bytes text, size_t at) {
        size_t end = at;

        while (end < text.size && is_word(text.data[end]))
                end++;
        return end - at;
}

size_t secret_step(struct bytes text, size_t at) {
        size_t step = word_size(text, at);

        if (step == 0 && text.data[at] == '\\' && at + 1 < text.size)
                step = text.data[at + 1] == 'u' ? 6 : 2;
        step = step == 0 ? 1 : step;
        return step > text.size - at ? text.size : at + step;
}

static bool starts_like_secret(struct bytes word) {
        for (size_t i = 0; i < sizeof(secret_starts) / sizeof(secret_starts[0]); i++)
                if (bytes_starts_with(word, secret_starts[i]))
                        return true;
        return false;
}

static bool mixed(struct bytes word) {
        size_t letters = 0, digits = 0;

        for (size_t i = 0; i < word.size; i++) {
                letters += is_letter(word.data[i]);
                digits += is_digit(word.data[i]);
        }
        return letters >= SECRET_LETTERS_MIN && digits > 0;
}

static bool behind_bearer(struct bytes text, size_t at) {
        static const char bearer[] = "earer ";
        size_t size = sizeof(bearer) - 1;

        return at > size && memcmp(text.data + at - size, bearer, size) == 0;
}

size_t secret_at(struct bytes text, size_t at, bool strict) {
        struct bytes word = {text.data + at, word_size(text, at)};
        size_t end = at + word.size, more;
        bool secret;

        if (word.size < BEARER_MIN)
                return 0;
        secret = (word.size >= SECRET_MIN && starts_like_secret(word)) ||
                 (strict && word.size >= SECRET_STRICT_MIN && mixed(word)) || behind_bearer(text, at);
        if (!secret)
                return 0;
        /* the further parts of a token with dots in it */
        while (end + 1 < text.size && text.data[end] == '.' && (more = word_size(text, end + 1)) > 0)
                end += 1 + more;
        return end - at;
}

void secret_append_redacted(struct buffer *buffer, struct bytes text, bool strict) {
        size_t copied = 0, at = 0;

        while (at < text.size) {
                size_t secret = secret_at(text, at, strict);

                if (secret == 0) {
                        at = secret_step(text, at);
                        continue;
                }
                buffer_append(buffer, text.data + copied, at - copied);
                buffer_append_string(buffer, SECRET_REPLACEMENT);
                at += secret;
                copied = at;
        }
        if (copied < text.size)
                buffer_append(buffer, text.data + copied, text.size - copied);
}
