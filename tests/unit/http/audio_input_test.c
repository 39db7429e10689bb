/*
 * The length of an input that is here already, by its URL: without fetching, and -1 for all that is
 * elsewhere.
 */
#include "broker/base/time.h"
#include "workers/http/audio_input.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* 90 seconds of FLAC: its header alone. */
#define SOUND "ZkxhQwAAACIAAAAAAAAAAAAACsRC8AA8j+gAAAAAAAAAAAAAAAAAAAAA"

static void data_urls_are_read_in_place(void **state) {
        (void)state;
        static const struct {
                const char *url;
                int64_t ms;
        } rows[] = {
                {"data:audio/flac;base64," SOUND, 90000},
                {"data:audio/flac;BASE64," SOUND, 90000},
                {"data:;base64," SOUND "AA==", 90000},
                {"data:;base64," SOUND "AAA=", 90000},
                {"data:;base64," SOUND "AAA", 90000},
                {"data:audio/flac," SOUND, -1}, /* text, not base64 */
                {"data:audio/flac;base64,ZkxhQw%3D%3D", -1},
                {"data:;base64,ZkxhQwAAACIAAAAAAAAAAAAACsRC8AA8j%gAAAAAAAAAAAAAAAAAAAAA", -1},
                {"data:audio/flac;base64,ZkxhQwAAACIAAAAAAAAAAAAACsRC8AA8", -1},
                {"data:audio/flac;base64,", -1},
                {"data:audio/flac;base64,====", -1},
                {"data:;base64", -1},
                {"data:", -1},
                {"", -1},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                assert_int_equal(audio_of_data_url_ms(bytes_of(rows[i].url)), rows[i].ms);
}

static void files_are_read_beneath_the_root_only(void **state) {
        (void)state;
        char root[] = "/tmp/audio_input_XXXXXX", path[64];
        assert_non_null(mkdtemp(root));
        struct fetch_options options = {.allow_file = true,
                                        .file_root = root,
                                        .bytes_max = 1000,
                                        .timeout_ns = NS_PER_S,
                                        .connect_timeout_ns = NS_PER_S,
                                        .fetches_max = 1};
        snprintf(path, sizeof path, "%s/a.flac", root);
        struct buffer sound;
        buffer_init(&sound, 1000);
        assert_true(buffer_append_base64_decoded(&sound, BYTES(SOUND)));
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        assert_int_equal(write(fd, sound.data, sound.size), (ssize_t)sound.size);
        close(fd);
        for (int allowed = 1; allowed >= 0; allowed--) {
                struct fetch *fetch;
                options.allow_file = allowed;
                assert_null(fetch_open(&options, &fetch));
                int64_t known = allowed ? 90000 : -1;
                assert_int_equal(fetch_audio_ms(fetch, BYTES("a.flac")), known);
                assert_int_equal(fetch_audio_ms(fetch, BYTES("file:a.flac")), known);
                assert_int_equal(fetch_audio_ms(fetch, BYTES("data:;base64," SOUND)), 90000);
                static const char *const others[] = {
                        "",      "b.flac",     "../a.flac", "/etc/passwd", "https://localhost/a.flac",
                        "ftp:a", "file://x/y",
                };
                for (size_t i = 0; i < sizeof others / sizeof *others; i++)
                        assert_int_equal(fetch_audio_ms(fetch, bytes_of(others[i])), -1);
                fetch_close(fetch);
        }
        struct fetched fetched = {.outcome = FETCH_OK, .file_fd = -1, .content = sound};
        assert_int_equal(audio_of_fetched_ms(&fetched), 90000);
        fetched.outcome = FETCH_FAILED;
        assert_int_equal(audio_of_fetched_ms(&fetched), -1);
        buffer_deinit(&sound);
        unlink(path);
        rmdir(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(data_urls_are_read_in_place),
                cmocka_unit_test(files_are_read_beneath_the_root_only),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
