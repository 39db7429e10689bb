/*
 * Any bytes as a configuration: refused with a message, or loaded; and what is loaded prints as a
 * configuration that loads to the same, with the masks of its keys replaced.
 */
#include "broker/base/check.h"
#include "broker/ops/config.h"
#include "broker/ops/log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct config_options options;

/* "***" is refused as a key, so another of the same length takes its place. */
static void unmask(struct buffer *text) {
        for (size_t i = 0; i + 5 <= text->size; i++)
                if (memcmp(text->data + i, "\"***\"", 5) == 0)
                        memcpy(text->data + i, "\"key\"", 5);
}

static void print(const struct config *config, struct buffer *text) {
        buffer_init(text, (size_t)64 << 20);
        config_print(config, text);
        CHECK(!text->failed);
        unmask(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct config *first, *second;
        struct buffer text, again;
        /* Where a mask stands as a value of its own, masks cannot be told apart. */
        if (size > 0 && memmem(data, size, "***", 3) != NULL)
                return 0;
        struct error *error =
                config_load_text(&options, "f", (struct bytes){(const char *)data, size}, &first);
        if (error != NULL) {
                CHECK(error->message[0] != '\0');
                error_free(error);
                log_forget();
                return 0;
        }
        print(first, &text);
        if (text.size <= (size_t)4 << 20) {
                error = config_load_text(&options, "printed", buffer_view(&text), &second);
                CHECK(error == NULL);
                print(second, &again);
                CHECK(bytes_equal(buffer_view(&text), buffer_view(&again)));
                CHECK(strcmp(first->catalog.id, second->catalog.id) == 0);
                buffer_deinit(&again);
                config_free(second);
        }
        buffer_deinit(&text);
        config_free(first);
        log_forget();
        return 0;
}
