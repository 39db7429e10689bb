#include "broker/kafka/deadline.h"

#include "broker/base/time.h"
#include "broker/kafka/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Freed by whoever comes last: the thread, or the one that waited for it. */
struct run {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        bool done, abandoned;
        void (*end)(void *userdata);
        void *userdata;
};

static struct run *run_new(void (*end)(void *), void *userdata) {
        struct run *run = calloc(1, sizeof(*run));
        pthread_condattr_t monotonic;
        if (!run)
                return NULL;
        run->end = end;
        run->userdata = userdata;
        pthread_mutex_init(&run->mutex, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&run->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        return run;
}

static void run_free(struct run *run) {
        pthread_cond_destroy(&run->changed);
        pthread_mutex_destroy(&run->mutex);
        free(run);
}

static void *run_thread(void *userdata) {
        struct run *run = userdata;
        run->end(run->userdata);
        pthread_mutex_lock(&run->mutex);
        run->done = true;
        bool last = run->abandoned;
        pthread_cond_signal(&run->changed);
        pthread_mutex_unlock(&run->mutex);
        if (last)
                run_free(run);
        return NULL;
}

static bool run_wait(struct run *run, int64_t limit_ns) {
        int64_t end_ns = clock_now_ns() + (limit_ns > 0 ? limit_ns : 0);
        struct timespec until = {.tv_sec = (time_t)(end_ns / NS_PER_S), .tv_nsec = (long)(end_ns % NS_PER_S)};
        pthread_mutex_lock(&run->mutex);
        while (!run->done && pthread_cond_timedwait(&run->changed, &run->mutex, &until) == 0)
                ;
        bool done = run->done;
        run->abandoned = true;
        pthread_mutex_unlock(&run->mutex);
        return done;
}

bool deadline_run(void (*end)(void *userdata), void *userdata, int64_t limit_ns, const char *what) {
        char text[CLIENT_TEXT_MAX];
        pthread_t thread;
        struct run *run = run_new(end, userdata);
        if (!run || pthread_create(&thread, NULL, run_thread, run) != 0) {
                if (run)
                        run_free(run);
                end(userdata);
                return true;
        }
        if (run_wait(run, limit_ns)) {
                pthread_join(thread, NULL);
                run_free(run);
                return true;
        }
        pthread_detach(thread);
        snprintf(text, sizeof(text), "%s did not end in time and is left behind", what);
        client_log("CLOSE", text);
        return false;
}
