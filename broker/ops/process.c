/*
 * From clock_gettime(2), getrlimit(2), proc_pid_statm(5), proc_pid_fd(5) and proc_pid_stat(5). Read when
 * somebody asks, so nothing here is fast.
 */
#include "broker/ops/process.h"

#include "broker/base/time.h"
#include "broker/ops/log.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STAT_BYTES = 2048, START_TIME_FIELD = 22 };

static int64_t clock_ns(clockid_t clock) {
        struct timespec time;
        return clock_gettime(clock, &time) == 0 ? time.tv_sec * NS_PER_S + time.tv_nsec : METRIC_NOT_KNOWN;
}

/* What stands in a small file of /proc; "" when it cannot be read. */
static void read_text(const char *path, char text[STAT_BYTES]) {
        FILE *file = fopen(path, "re");
        size_t size = file == NULL ? 0 : fread(text, 1, STAT_BYTES - 1, file);
        text[size] = '\0';
        if (file != NULL)
                (void)fclose(file);
}

static int64_t resident_bytes(void) {
        char text[STAT_BYTES];
        read_text("/proc/self/statm", text);
        const char *second = strchr(text, ' ');
        int64_t pages = second ? strtoll(second, NULL, 10) : 0;
        return pages > 0 ? pages * sysconf(_SC_PAGESIZE) : METRIC_NOT_KNOWN;
}

/*
 * Read once: the wall clock is set now and then, and a start that moves looks like a restart.
 */
static int64_t start_unix_ns = METRIC_NOT_KNOWN;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;

/* The 22nd field: ticks from the start of the machine. The second one, in brackets, may hold blanks. */
static void read_start(void) {
        int64_t boot_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
        char text[STAT_BYTES], *at;
        read_text("/proc/self/stat", text);
        at = strrchr(text, ')');
        for (int field = 2; at != NULL && field < START_TIME_FIELD; field++)
                at = strchr(at + 1, ' ');
        int64_t ticks = at ? strtoll(at, NULL, 10) : 0;
        if (ticks > 0)
                start_unix_ns = boot_ns + ticks * (NS_PER_S / sysconf(_SC_CLK_TCK));
}

static int64_t open_fds(void) {
        DIR *directory = opendir("/proc/self/fd");
        int64_t count = -3; /* ".", "..", and the one that reads here */
        if (directory == NULL)
                return METRIC_NOT_KNOWN;
        while (readdir(directory) != NULL)
                count++;
        (void)closedir(directory);
        return count;
}

static int64_t max_fds(void) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT64_MAX)
                return METRIC_NOT_KNOWN;
        return (int64_t)limit.rlim_cur;
}

void process_read(struct process_metrics *out_process) {
        (void)pthread_once(&start_once, read_start);
        *out_process = (struct process_metrics){
                .build = 1,
                .cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
                .start_unix_ns = start_unix_ns,
                .resident_bytes = resident_bytes(),
                .open_fds = open_fds(),
                .max_fds = max_fds(),
                .log_suppressed = log_suppressed_count(),
        };
}
