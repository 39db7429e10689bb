/* Inputs by reference: data: URLs, files that must not lead out of their directory, and http with its
 * redirects and forbidden addresses. */
#include "broker/base/time.h"
#include "tests/unit/http/script_server.h"
#include "workers/http/fetch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
        struct server *server;
        struct fetch *fetch;
        struct fetch_options options;
        char root[64], outside[64];
        struct fetched fetched[64];
};

static void no_error(struct error *error) {
        if (error != NULL)
                print_error("%s\n", error->message);
        assert_null(error);
}

static void put(const char *directory, const char *name, const char *content) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", directory, name);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, content, strlen(content)), strlen(content));
        close(fd);
}

static void point(const char *directory, const char *name, const char *to) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", directory, name);
        assert_int_equal(symlink(to, path), 0);
}

static void make_files(struct fixture *fixture) {
        char path[256];
        snprintf(fixture->root, sizeof fixture->root, "/tmp/fetch_test.XXXXXX");
        snprintf(fixture->outside, sizeof fixture->outside, "/tmp/fetch_test.XXXXXX");
        assert_non_null(mkdtemp(fixture->root));
        assert_non_null(mkdtemp(fixture->outside));
        put(fixture->outside, "secret.wav", "secret");
        put(fixture->root, "a b.wav", "riff");
        put(fixture->root, "big.mp3", "0123456789012345678901234567890123");
        snprintf(path, sizeof path, "%s/sub", fixture->root);
        assert_int_equal(mkdir(path, 0700), 0);
        put(path, "c.flac", "flac!");
        point(fixture->root, "inside", "sub/c.flac");
        snprintf(path, sizeof path, "%s/secret.wav", fixture->outside);
        point(fixture->root, "escape.wav", path);
        point(fixture->root, "etc", "/etc");
        point(fixture->root, "up", "..");
        point(fixture->root, "loop", "loop");
        snprintf(path, sizeof path, "%s/fifo", fixture->root);
        assert_int_equal(mkfifo(path, 0600), 0);
}

static int setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof *fixture);
        fixture->server = server_start();
        make_files(fixture);
        fixture->options = (struct fetch_options){.allow_http = true,
                                                  .allow_https = true,
                                                  .allow_file = true,
                                                  .file_root = fixture->root,
                                                  .allow_private_addresses = true,
                                                  .bytes_max = 32,
                                                  .timeout_ns = 60 * NS_PER_S,
                                                  .connect_timeout_ns = 20 * NS_PER_S,
                                                  .fetches_max = 2};
        no_error(fetch_open(&fixture->options, &fixture->fetch));
        *state = fixture;
        alarm(120);
        return 0;
}

static void remove_all(const char *directory) {
        static const char *const names[] = {"a b.wav", "big.mp3", "sub/c.flac", "inside", "escape.wav",
                                            "etc",     "up",      "loop",       "fifo",   "secret.wav"};
        char path[256];
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                snprintf(path, sizeof path, "%s/%s", directory, names[i]);
                unlink(path);
        }
        snprintf(path, sizeof path, "%s/sub", directory);
        rmdir(path);
        rmdir(directory);
}

static int teardown(void **state) {
        struct fixture *fixture = *state;
        fetch_close(fixture->fetch);
        server_stop(fixture->server);
        remove_all(fixture->root);
        remove_all(fixture->outside);
        free(fixture);
        return 0;
}

static void reopen(struct fixture *fixture) {
        fixture->fetch = fetch_close(fixture->fetch);
        no_error(fetch_open(&fixture->options, &fixture->fetch));
}

static size_t turn(struct fixture *fixture, size_t have) {
        int64_t wake_ns = fetch_wake_ns(fixture->fetch), left_ns = wake_ns - clock_now_ns();
        struct pollfd descriptor = {.fd = fetch_fd(fixture->fetch), .events = POLLIN};
        poll(&descriptor, 1, wake_ns == INT64_MAX ? -1 : left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1);
        return have + fetch_poll(fixture->fetch, fixture->fetched + have, 64 - have);
}

static struct fetched *get(struct fixture *fixture, const char *url) {
        struct fetched *fetched = &fixture->fetched[0];
        memset(fetched, 0, sizeof *fetched);
        if (!fetch_start(fixture->fetch, 5, bytes_of(url), fetched))
                while (turn(fixture, 0) == 0)
                        ;
        assert_int_equal(fetched->tag, 5);
        if ((fetched->outcome == FETCH_OK) != (fetched->message[0] == '\0'))
                print_error("%s: %d %s\n", url, (int)fetched->outcome, fetched->message);
        assert_true((fetched->outcome == FETCH_OK) == (fetched->message[0] == '\0'));
        return fetched;
}

static struct fetched *get_path(struct fixture *fixture, const char *path) {
        char url[256];
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", fixture->server->port, path);
        return get(fixture, url);
}

static void data_urls(void **state) {
        struct fixture *fixture = *state;
        static const struct {
                const char *url;
                enum fetch_outcome outcome;
                const char *content, *type, *name;
        } table[] = {
                {"data:,", FETCH_OK, "", "text/plain", "input.txt"},
                {"data:,a%20b", FETCH_OK, "a b", "text/plain", "input.txt"},
                {"DATA:audio/wav;base64,UklGRg==", FETCH_OK, "RIFF", "audio/wav", "input.wav"},
                {"data:audio/MPEG;x=y;base64,UklG", FETCH_OK, "RIF", "audio/mpeg", "input.mp3"},
                {"data:audio/mpeg;BASE64,UklGRg%3D%3d", FETCH_OK, "RIFF", "audio/mpeg", "input.mp3"},
                {"data:;base64,UklG", FETCH_OK, "RIF", "text/plain", "input.txt"},
                {"data:no/such,x", FETCH_OK, "x", "no/such", "input.bin"},
                {"data:\r\nbad,x", FETCH_OK, "x", "application/octet-stream", "input.bin"},
                {"data:", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:audio/wav;base64", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:;base64,UklGRg", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:;base64,Ukl-", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:,%", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:,%4", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:,%4g", FETCH_UNAVAILABLE, NULL, NULL, NULL},
                {"data:,%41", FETCH_OK, "A", "text/plain", "input.txt"},
                {"data:,01234567890123456789012345678901", FETCH_OK, "01234567890123456789012345678901",
                 "text/plain", "input.txt"},
                {"data:,012345678901234567890123456789012", FETCH_TOO_LARGE, NULL, NULL, NULL},
                {"data:;base64,MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", FETCH_OK,
                 "01234567890123456789012345678901", "text/plain", "input.txt"},
                {"data:;base64,MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEy", FETCH_TOO_LARGE, NULL, NULL,
                 NULL},
        };
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                struct fetched *fetched = get(fixture, table[i].url);
                if (fetched->outcome != table[i].outcome)
                        print_error("%s: %s\n", table[i].url, fetched->message);
                assert_int_equal(fetched->outcome, table[i].outcome);
                assert_int_equal(fetched->file_fd, -1);
                if (table[i].outcome != FETCH_OK)
                        continue;
                assert_true(bytes_equal_string(buffer_view(&fetched->content), table[i].content));
                assert_string_equal(fetched->content_type, table[i].type);
                assert_string_equal(fetched->filename, table[i].name);
                buffer_deinit(&fetched->content);
        }
}

static void files(void **state) {
        struct fixture *fixture = *state;
        /* @ is the directory for files, ! the one outside. */
        static const struct {
                const char *url;
                enum fetch_outcome outcome;
                int64_t bytes;
                const char *name, *type;
        } table[] = {
                {"a b.wav", FETCH_OK, 4, "a_b.wav", "audio/wav"},
                {"./a b.wav", FETCH_OK, 4, "a_b.wav", "audio/wav"},
                {"sub/c.flac", FETCH_OK, 5, "c.flac", "audio/flac"},
                {"sub/../a b.wav", FETCH_OK, 4, "a_b.wav", "audio/wav"},
                {"inside", FETCH_OK, 5, "inside.bin", "application/octet-stream"},
                {"file:a%20b.wav", FETCH_OK, 4, "a_b.wav", "audio/wav"},
                {"file://@/a%20b.wav", FETCH_OK, 4, "a_b.wav", "audio/wav"},
                {"FILE://localhost@/sub/c.flac", FETCH_OK, 5, "c.flac", "audio/flac"},
                {"file:@/sub/c.flac", FETCH_OK, 5, "c.flac", "audio/flac"},
                {"@/sub//c.flac", FETCH_OK, 5, "c.flac", "audio/flac"},
                {"@", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"@/", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"@x/a", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"big.mp3", FETCH_TOO_LARGE, 0, NULL, NULL},
                {"no-such", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {".", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"sub", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"fifo", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"loop", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"..", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"up/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"../../etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"sub/../../etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"@/../../etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"file:%2e%2e/%2e%2e/etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"/etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"file:///etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"file:////etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"file://host/a", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"file:", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"file:a%00b", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"escape.wav", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"etc/passwd", FETCH_UNAVAILABLE, 0, NULL, NULL},
                {"!/secret.wav", FETCH_UNAVAILABLE, 0, NULL, NULL},
        };
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                char url[256];
                size_t at = strcspn(table[i].url, "@!");
                char mark = table[i].url[at];
                snprintf(url, sizeof url, "%.*s%s%s", (int)at, table[i].url,
                         mark == '@'   ? fixture->root
                         : mark == '!' ? fixture->outside
                                       : "",
                         mark ? table[i].url + at + 1 : "");
                struct fetched *fetched = get(fixture, url);
                if (fetched->outcome != table[i].outcome)
                        print_error("%s: %d %s\n", url, (int)fetched->outcome, fetched->message);
                assert_int_equal(fetched->outcome, table[i].outcome);
                assert_true((fetched->file_fd >= 0) == (fetched->outcome == FETCH_OK));
                if (fetched->outcome != FETCH_OK)
                        continue;
                assert_int_equal(fetched->file_bytes, table[i].bytes);
                assert_string_equal(fetched->filename, table[i].name);
                assert_string_equal(fetched->content_type, table[i].type);
                close(fetched->file_fd);
        }
        fixture->options.allow_file = false;
        reopen(fixture);
        assert_int_equal(get(fixture, "a b.wav")->outcome, FETCH_UNAVAILABLE);
}

static void over_http(void **state) {
        struct fixture *fixture = *state;
        static const struct {
                const char *path;
                enum fetch_outcome outcome;
        } table[] = {
                {"/400", FETCH_UNAVAILABLE}, {"/404", FETCH_UNAVAILABLE},      {"/408", FETCH_FAILED},
                {"/429", FETCH_FAILED},      {"/500", FETCH_FAILED},           {"/503", FETCH_FAILED},
                {"/204", FETCH_UNAVAILABLE}, {"/half", FETCH_TOO_LARGE},       {"/rst", FETCH_FAILED},
                {"/big", FETCH_TOO_LARGE},   {"/big-length", FETCH_TOO_LARGE}, {"/flood", FETCH_FAILED},
        };
        struct fetched *fetched = get_path(fixture, "/ok");
        assert_int_equal(fetched->outcome, FETCH_OK);
        assert_true(bytes_equal_string(buffer_view(&fetched->content), "{}"));
        assert_string_equal(fetched->filename, "ok.json");
        assert_string_equal(fetched->content_type, "application/json");
        buffer_deinit(&fetched->content);
        assert_int_equal(strncmp(fixture->server->last_head, "GET /ok HTTP/1.1\r\n", 18), 0);
        assert_null(strstr(fixture->server->last_head, "Authorization"));
        fetched = get_path(fixture, "/echo/some/a%20b.wav?x=/y");
        assert_int_equal(fetched->outcome, FETCH_OK);
        assert_string_equal(fetched->filename, "a_20b.wav");
        assert_string_equal(fetched->content_type, "audio/x-test");
        buffer_deinit(&fetched->content);
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                fetched = get_path(fixture, table[i].path);
                if (fetched->outcome != table[i].outcome)
                        print_error("%s: %s\n", table[i].path, fetched->message);
                assert_int_equal(fetched->outcome, table[i].outcome);
                assert_null(fetched->content.data);
        }
        assert_int_equal(get(fixture, "http://no-such-host.invalid/a")->outcome, FETCH_FAILED);
        fixture->options.bytes_max = 100;
        reopen(fixture);
        assert_int_equal(get_path(fixture, "/half")->outcome,
                         FETCH_FAILED); /* what was announced would fit */
}

static void refused_urls(void **state) {
        struct fixture *fixture = *state;
        static const char *const urls[] = {
                "ftp://127.0.0.1/a",       "gopher://127.0.0.1/a",
                "http://user@127.0.0.1/",  "http://u:p@127.0.0.1/",
                "http://:p@127.0.0.1/",    "http://127.0.0.1/ a",
                "http://127.0.0.1/\r\na",  "http://",
                "http://127.0.0.1:99999/", "http:",
                "javascript:alert(1)",
        };
        for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
                assert_int_equal(get(fixture, urls[i])->outcome, FETCH_UNAVAILABLE);
        fixture->options.allow_http = false;
        reopen(fixture);
        assert_int_equal(get_path(fixture, "/ok")->outcome, FETCH_UNAVAILABLE);
        fixture->options.allow_http = true;
        fixture->options.allow_https = false;
        reopen(fixture);
        assert_int_equal(get(fixture, "https://127.0.0.1/")->outcome, FETCH_UNAVAILABLE);
        assert_int_equal(fixture->server->accepted, 0);
}

/* Every spelling of this machine, and a name for it: the address of the socket is what is looked at. */
static void forbidden_addresses(void **state) {
        struct fixture *fixture = *state;
        static const char *const hosts[] = {"127.0.0.1",  "localhost", "2130706433", "0x7f000001",
                                            "0177.0.0.1", "127.1",     "0.0.0.0",    "[::ffff:127.0.0.1]",
                                            "[::1]",      "[::]"};
        fixture->options.allow_private_addresses = false;
        reopen(fixture);
        for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
                char url[128];
                snprintf(url, sizeof url, "http://%s:%d/ok", hosts[i], fixture->server->port);
                struct fetched *fetched = get(fixture, url);
                if (fetched->outcome != FETCH_UNAVAILABLE)
                        print_error("%s: %d %s\n", url, (int)fetched->outcome, fetched->message);
                assert_int_equal(fetched->outcome, FETCH_UNAVAILABLE);
                assert_string_equal(fetched->message, "the address of this URL is not allowed for inputs");
        }
        assert_int_equal(fixture->server->accepted, 0);
        fixture->options.allow_private_addresses = true; /* the metadata service stays forbidden */
        reopen(fixture);
        assert_int_equal(get(fixture, "http://169.254.169.254/latest/")->outcome, FETCH_UNAVAILABLE);
}

static void redirect_to(struct fixture *fixture, const char *location) {
        snprintf(fixture->server->location, sizeof fixture->server->location, "%s", location);
}

static void redirects(void **state) {
        struct fixture *fixture = *state;
        redirect_to(fixture, "/ok");
        struct fetched *fetched = get_path(fixture, "/302");
        assert_int_equal(fetched->outcome, FETCH_OK);
        assert_string_equal(fetched->filename, "ok.json");
        buffer_deinit(&fetched->content);
        assert_int_equal(fixture->server->requests, 2);
        redirect_to(fixture, "/302"); /* for ever */
        assert_int_equal(get_path(fixture, "/302")->outcome, FETCH_UNAVAILABLE);
        assert_int_equal(fixture->server->requests, 2 + 4);
        static const char *const bad[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "http://user@127.0.0.1/",
                                          "http://169.254.169.254/latest/meta-data/", "data:,x"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                redirect_to(fixture, bad[i]);
                assert_int_equal(get_path(fixture, "/307")->outcome, FETCH_UNAVAILABLE);
        }
        assert_int_equal(fixture->server->requests, 6 + 5);
}

static void queues_and_cancels(void **state) {
        struct fixture *fixture = *state;
        char url[128];
        struct fetched at_once;
        snprintf(url, sizeof url, "http://127.0.0.1:%d/hold", fixture->server->port);
        fixture->server->hold = 2;
        for (uint64_t i = 0; i < 12; i++)
                assert_false(fetch_start(fixture->fetch, i, bytes_of(url), &at_once));
        fetch_cancel(fixture->fetch, 11);
        fetch_cancel(fixture->fetch, 10);
        size_t count = 0;
        while (count < 10)
                count = turn(fixture, count);
        assert_int_equal(count, 10);
        assert_true(fixture->server->accepted <= 3); /* never more than two at a time */
        for (size_t i = 0; i < count; i++) {
                assert_int_equal(fixture->fetched[i].outcome, FETCH_OK);
                assert_true(fixture->fetched[i].tag < 10);
                buffer_deinit(&fixture->fetched[i].content);
        }
        snprintf(url, sizeof url, "http://127.0.0.1:%d/never", fixture->server->port);
        for (uint64_t i = 0; i < 4; i++)
                assert_false(fetch_start(fixture->fetch, i, bytes_of(url), &at_once));
        fetch_cancel(fixture->fetch, 0); /* the rest ends with the fetcher */
}

static void times_out(void **state) {
        struct fixture *fixture = *state;
        fixture->options.timeout_ns = 50 * NS_PER_MS;
        reopen(fixture);
        assert_int_equal(get_path(fixture, "/never")->outcome, FETCH_FAILED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(data_urls),           TEST(files),     TEST(over_http), TEST(refused_urls),
                TEST(forbidden_addresses), TEST(redirects), TEST(times_out), TEST(queues_and_cancels),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
