#include "broker/cli/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SENTENCE_MAX = 4096 };

static bool as_json;
static enum log_level most = LOG_LEVEL_INFO;

void say_init(const struct config *config, bool quiet, bool verbose) {
        as_json = strcmp(config->settings.log_format, "json") == 0;
        log_level_from_text(config->settings.log_level, &most);
        if (verbose)
                most = LOG_LEVEL_DEBUG;
        if (quiet)
                most = LOG_LEVEL_ERROR;
        log_init(as_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, most, STDERR_FILENO);
}

static void say_text(const char *sentence) {
        struct buffer text;
        buffer_init(&text, (size_t)4 * SENTENCE_MAX);
        buffer_append_string(&text, "batchferry: ");
        log_redact(bytes_of(sentence), &text);
        buffer_append_char(&text, '\n');
        fwrite(text.data, 1, text.size, stderr);
        fflush(stderr);
        buffer_deinit(&text);
}

void say(enum log_level level, const char *fmt, ...) {
        char sentence[SENTENCE_MAX];
        if (level > most)
                return;
        va_list arguments;
        va_start(arguments, fmt);
        vsnprintf(sentence, sizeof(sentence), fmt, arguments);
        va_end(arguments);
        if (as_json)
                log_write(level, "%s", sentence);
        else
                say_text(sentence);
}
