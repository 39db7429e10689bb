#pragma once
/*
 * librdkafka uses the threads of C11, which ThreadSanitizer does not know: a thread that thrd_create() made
 * crashes in it. These take the place of the C library's and are the same by way of pthreads, which it knows
 * (glibc keeps one in the other's memory). Only for a program built with -fsanitize=thread, once in it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

struct tsan_start {
        thrd_start_t run;
        void *argument;
};

static void *tsan_thread(void *userdata) {
        struct tsan_start start = *(struct tsan_start *)userdata;
        free(userdata);
        return (void *)(intptr_t)start.run(start.argument);
}

static int tsan_result(int code) {
        return code == 0           ? thrd_success
               : code == ETIMEDOUT ? thrd_timedout
               : code == EBUSY     ? thrd_busy
                                   : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *argument) {
        struct tsan_start *start = malloc(sizeof(*start));
        if (!start)
                return thrd_nomem;
        *start = (struct tsan_start){run, argument};
        return tsan_result(pthread_create(thread, NULL, tsan_thread, start));
}

int thrd_join(thrd_t thread, int *result) {
        void *value;
        int code = pthread_join(thread, &value);
        if (code == 0 && result)
                *result = (int)(intptr_t)value;
        return tsan_result(code);
}

int thrd_detach(thrd_t thread) {
        return tsan_result(pthread_detach(thread));
}

int mtx_init(mtx_t *mutex, int type) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        if (type & mtx_recursive)
                pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
        int code = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
        return tsan_result(code);
}

int mtx_lock(mtx_t *mutex) {
        return tsan_result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex) {
        return tsan_result(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex) {
        return tsan_result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex) {
        pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *condition) {
        return tsan_result(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int cnd_signal(cnd_t *condition) {
        return tsan_result(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition) {
        return tsan_result(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex) {
        return tsan_result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *end) {
        return tsan_result(
                pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, end));
}

void cnd_destroy(cnd_t *condition) {
        pthread_cond_destroy((pthread_cond_t *)condition);
}
