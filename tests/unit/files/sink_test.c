/* Results into files: what a crash, a full disk or somebody else leaves, and what comes of it. */
#include "broker/files/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64], path[80];

static int setup(void **state) {
        (void)state;
        strcpy(directory, "/tmp/sink_test.XXXXXX");
        assert_non_null(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/out", directory);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        unlink(path);
        rmdir(directory);
        return 0;
}

static void put(const char *data, size_t size) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, size), (ssize_t)size);
        close(fd);
}

static void assert_file(const char *data, size_t size) {
        char read_back[4096];
        int fd = open(path, O_RDONLY);
        assert_int_equal(read(fd, read_back, sizeof(read_back)), (ssize_t)size);
        assert_memory_equal(read_back, data, size);
        close(fd);
}

static struct sink *open_sink(void) {
        struct sink *sink = NULL;
        assert_null(sink_open(path, &sink));
        return sink;
}

static void assert_error(struct error *error, enum error_class kind, const char *part) {
        assert_non_null(error);
        if (error->kind != kind || !strstr(error->message, part))
                fail_msg("class %d: %s", (int)error->kind, error->message);
        error_free(error);
}

/* Lines with "id" are ours. */
struct adopted {
        size_t count;
        uint64_t offsets[8];
};

static bool adopt(void *userdata, struct bytes line, uint64_t offset) {
        struct adopted *adopted = userdata;
        if (!bytes_starts_with(line, "{\"id\""))
                return false;
        assert_true(adopted->count < 8);
        adopted->offsets[adopted->count++] = offset;
        return true;
}

static void lines_are_appended(void **state) {
        (void)state;
        struct adopted adopted = {0};
        for (int i = 0; i < 2; i++) {
                struct sink *sink = open_sink();
                assert_true(sink_is_file(sink));
                assert_string_equal(sink_path(sink), path);
                assert_null(sink_recover(sink, i == 0 ? 0 : 18, adopt, &adopted));
                assert_int_equal(sink_bytes(sink), i == 0 ? 0 : 18);
                assert_null(sink_append(sink, BYTES("{\"id\":1}\n{\"id\":2}\n")));
                assert_null(sink_append(sink, BYTES("")));
                assert_null(sink_sync(sink));
                assert_int_equal(sink_bytes(sink), i == 0 ? 18 : 36);
                sink_close(sink);
        }
        assert_int_equal(adopted.count, 0);
        assert_file("{\"id\":1}\n{\"id\":2}\n{\"id\":1}\n{\"id\":2}\n", 36);
}

static const char three[] = "{\"id\":1}\n{\"id\":22}\n{\"id\":333}\n"; /* ends at 9, 19 and 30 */

/* Cut at every byte behind the first line, with each of the first two lines recorded or not. */
static void every_torn_end_is_cut(void **state) {
        (void)state;
        static const uint64_t recorded[] = {0, 9, 19};
        for (size_t r = 0; r < 3; r++) {
                for (size_t size = recorded[r] > 9 ? (size_t)recorded[r] : 9; size <= 30; size++) {
                        struct adopted adopted = {0};
                        size_t whole = size == 30 ? 30 : size >= 19 ? 19 : 9;
                        put(three, size);
                        struct sink *sink = open_sink();
                        assert_null(sink_recover(sink, recorded[r], adopt, &adopted));
                        assert_int_equal(sink_bytes(sink), whole);
                        size_t lines = (whole == 30 ? 3 : whole == 19 ? 2 : 1) - r;
                        assert_int_equal(adopted.count, lines);
                        if (lines > 0)
                                assert_int_equal(adopted.offsets[0], recorded[r]);
                        assert_null(sink_append(sink, BYTES("{\"id\":4}\n")));
                        sink_close(sink);
                        char expected[64];
                        memcpy(expected, three, whole);
                        memcpy(expected + whole, "{\"id\":4}\n", 9);
                        assert_file(expected, whole + 9);
                }
        }
}

/* What a power loss leaves: pages of zeros, halves of lines, and behind them lines that look whole. */
static void what_is_behind_damage_is_cut(void **state) {
        (void)state;
        static const struct {
                const char *tail;
                size_t size;
        } tails[] = {
                {"\0\0\0\0\0\0\0\0", 8},         {"{\"id\":\0\0}\n", 10}, {"{\"id\":2\n{\"id\":3}\n", 17},
                {"\"id\":2}\n{\"id\":3}\n", 17}, {"\n{\"id\":3}\n", 10},  {"{", 1},
        };
        for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
                struct adopted adopted = {0};
                char data[64];
                memcpy(data, three, 19);
                memcpy(data + 19, tails[i].tail, tails[i].size);
                put(data, 19 + tails[i].size);
                struct sink *sink = open_sink();
                assert_null(sink_recover(sink, 9, adopt, &adopted));
                assert_int_equal(adopted.count, 1);
                assert_int_equal(sink_bytes(sink), 19);
                sink_close(sink);
                assert_file(three, 19);
        }
}

static void what_is_not_ours_is_refused_and_left(void **state) {
        (void)state;
        static const struct {
                const char *data;
                uint64_t recorded;
                bool ours;
                const char *words; /* NULL: accepted, and cut to nothing */
        } rows[] = {
                {"some text\n", 0, false, "holds something else"},
                {"some text", 0, false, "holds something else"},
                {"{\"name\":1}", 0, false, "holds something else"},
                {"{\"name\":1}\n", 0, false, "holds something else"},
                {"{\"name\":1}\n", 0, true, "holds something else"},
                {"{\"id\":1}\n{\"name\":1}\n{\"id\":2}\n", 0, false, "at byte 9"},
                {"{\"id\":1}\n{\"name\":1}\n", 9, false, "at byte 9"},
                {"{\"id\":1}\n", 10, false, "results are missing"},
                {"{\"id\":1}\n", 8, false, "at byte 7"},
                {"{\"id\":", 0, true, NULL},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct adopted adopted = {0};
                put(rows[i].data, strlen(rows[i].data));
                struct sink *sink = open_sink();
                if (rows[i].ours)
                        sink_set_ours(sink);
                struct error *error = sink_recover(sink, rows[i].recorded, adopt, &adopted);
                if (rows[i].words)
                        assert_error(error, ERROR_INPUT, rows[i].words);
                else
                        assert_null(error);
                sink_close(sink);
                assert_file(rows[i].data, rows[i].words ? strlen(rows[i].data) : 0);
        }
}

static bool count_line(void *userdata, struct bytes line, uint64_t offset) {
        uint64_t *next = userdata;
        assert_int_equal(offset, *next);
        assert_true(line.size == 100000 - 1 || line.size == (3u << 20) - 1);
        *next += line.size + 1;
        return true;
}

static void a_large_tail_is_read_in_blocks(void **state) {
        (void)state;
        size_t size = 50 * 100000 + (3u << 20), at = 0;
        char *data = malloc(size);
        memset(data, 'x', size);
        for (size_t i = 0; i < 51; i++) {
                size_t line = i == 25 ? 3u << 20 : 100000;
                data[at] = '{';
                data[at + line - 2] = '}';
                data[at + line - 1] = '\n';
                at += line;
        }
        put(data, size);
        uint64_t next = 0;
        struct sink *sink = open_sink();
        assert_null(sink_recover(sink, 0, count_line, &next));
        assert_int_equal(next, size);
        assert_int_equal(sink_bytes(sink), size);
        sink_close(sink);
        free(data);
}

struct failing {
        const char *operation;
        int code;
};

static int hook(void *userdata, const char *operation) {
        const struct failing *failing = userdata;
        return failing->operation && strstr(failing->operation, operation) ? failing->code : 0;
}

static void a_failed_append_leaves_nothing(void **state) {
        (void)state;
        struct failing failing = {"append", ENOSPC};
        struct adopted adopted = {0};
        struct sink *sink = open_sink();
        assert_null(sink_recover(sink, 0, adopt, &adopted));
        assert_null(sink_append(sink, BYTES("{\"id\":1}\n")));
        sink_set_fault(sink, hook, &failing);
        for (int i = 0; i < 3; i++) {
                assert_error(sink_append(sink, BYTES("{\"id\":22}\n")), ERROR_FULL, "No space");
                assert_file(three, 9);
        }
        failing.operation = NULL;
        assert_null(sink_append(sink, BYTES("{\"id\":22}\n")));
        assert_file(three, 19);
        /* It cannot be cut back: nothing more is taken, and the next opening cuts. */
        failing.operation = "append truncate";
        assert_error(sink_append(sink, BYTES("{\"id\":333}\n")), ERROR_FULL, "No space");
        failing.operation = NULL;
        assert_error(sink_append(sink, BYTES("{\"id\":333}\n")), ERROR_IO, "closed for writing");
        sink_close(sink);
        sink = open_sink();
        assert_null(sink_recover(sink, 19, adopt, &adopted));
        sink_close(sink);
        assert_file(three, 19);
}

static void a_failed_sync_is_not_tried_again(void **state) {
        (void)state;
        static const int codes[] = {EIO, ENOSPC};
        for (size_t i = 0; i < 2; i++) {
                struct failing failing = {"sync", codes[i]};
                struct sink *sink = open_sink();
                sink_set_fault(sink, hook, &failing);
                assert_null(sink_append(sink, BYTES("{\"id\":1}\n")));
                assert_error(sink_sync(sink), ERROR_IO, "cannot sync");
                failing.operation = NULL;
                assert_error(sink_sync(sink), ERROR_IO, "closed for writing");
                assert_error(sink_append(sink, BYTES("{\"id\":1}\n")), ERROR_IO, "closed for writing");
                sink_close(sink);
        }
}

/* A true short write: the file may have 1000 bytes, and no more. */
static void a_limit_in_the_middle_of_a_write(void **state) {
        (void)state;
        struct rlimit before, limit;
        char line[700];
        memset(line, 'x', sizeof(line));
        line[sizeof(line) - 1] = '\n';
        struct sink *sink = open_sink();
        assert_null(sink_append(sink, (struct bytes){line, sizeof(line)}));
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        limit = before;
        limit.rlim_cur = 1000;
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        struct error *error = sink_append(sink, (struct bytes){line, sizeof(line)});
        setrlimit(RLIMIT_FSIZE, &before);
        assert_error(error, ERROR_IO, "File too large");
        assert_file(line, sizeof(line));
        assert_null(sink_append(sink, (struct bytes){line, sizeof(line)}));
        assert_int_equal(sink_bytes(sink), 2 * sizeof(line));
        sink_close(sink);
}

static void two_processes_are_kept_apart(void **state) {
        (void)state;
        struct sink *sink = open_sink(), *other = NULL;
        int status;
        pid_t child = fork();
        if (child == 0) {
                struct error *error = sink_open(path, &other);
                _exit(error && error->kind == ERROR_BUSY ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_error(sink_open(path, &other), ERROR_BUSY, "another process");
        sink_close(sink);
        sink_close(open_sink());
}

static void paths(void **state) {
        (void)state;
        char link_path[100], missing[100];
        struct sink *sink = NULL;
        snprintf(link_path, sizeof(link_path), "%s/link", directory);
        snprintf(missing, sizeof(missing), "%s/no/out", directory);
        assert_int_equal(symlink("out", link_path), 0);
        assert_null(sink_open(link_path, &sink)); /* to a file that is not there yet */
        assert_string_equal(sink_path(sink), path);
        assert_null(sink_append(sink, BYTES("{\"id\":1}\n")));
        sink_close(sink);
        assert_file(three, 9);
        unlink(link_path);
        assert_error(sink_open(missing, &sink), ERROR_INPUT, "there is no directory");
        assert_error(sink_open(directory, &sink), ERROR_IO, "Is a directory");
        assert_null(sink_open("/dev/null", &sink));
        assert_false(sink_is_file(sink));
        assert_null(sink_recover(sink, 100, adopt, NULL));
        assert_null(sink_append(sink, BYTES("x\n")));
        assert_null(sink_sync(sink));
        sink_close(sink);
}

static void a_full_device(void **state) {
        (void)state;
        struct sink *sink = NULL;
        assert_null(sink_open("/dev/full", &sink));
        assert_error(sink_append(sink, BYTES("x\n")), ERROR_FULL, "No space");
        sink_close(sink);
}

static void standard_output_is_a_pipe(void **state) {
        (void)state;
        int ends[2], saved = dup(STDOUT_FILENO);
        struct sink *sink = NULL;
        char text[32];
        fflush(stdout);
        assert_int_equal(pipe(ends), 0);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[1]);
        struct error *opened = sink_open("-", &sink), *appended = NULL, *broken = NULL, *closed = NULL;
        if (!opened)
                appended = sink_append(sink, BYTES("{\"id\":1}\n"));
        ssize_t n = read(ends[0], text, sizeof(text));
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        if (!opened)
                broken = sink_append(sink, BYTES("{\"id\":2}\n"));
        if (!opened)
                closed = sink_append(sink, BYTES("{\"id\":2}\n"));
        dup2(saved, STDOUT_FILENO);
        close(saved);
        assert_null(opened);
        assert_null(appended);
        assert_int_equal(n, 9);
        assert_error(broken, ERROR_IO, "cannot write standard output");
        assert_error(closed, ERROR_IO, "closed for writing");
        assert_string_equal(sink_path(sink), "-");
        assert_false(sink_is_file(sink));
        sink_close(sink);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(lines_are_appended, setup, teardown),
                cmocka_unit_test_setup_teardown(every_torn_end_is_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_behind_damage_is_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_not_ours_is_refused_and_left, setup, teardown),
                cmocka_unit_test_setup_teardown(a_large_tail_is_read_in_blocks, setup, teardown),
                cmocka_unit_test_setup_teardown(a_failed_append_leaves_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(a_failed_sync_is_not_tried_again, setup, teardown),
                cmocka_unit_test_setup_teardown(a_limit_in_the_middle_of_a_write, setup, teardown),
                cmocka_unit_test_setup_teardown(two_processes_are_kept_apart, setup, teardown),
                cmocka_unit_test_setup_teardown(paths, setup, teardown),
                cmocka_unit_test_setup_teardown(a_full_device, setup, teardown),
                cmocka_unit_test_setup_teardown(standard_output_is_a_pipe, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
