#include "broker/cli/interrupts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Signals may come to any thread, RocksDB's too; so a handler counts them here. */
static int interrupt_fd = -1, reload_fd = -1;
static volatile sig_atomic_t attended;
static bool on_terminal; /* which may go */
static struct interrupts_early unattended;
static struct interrupts_early overdue = {
        .text = "batchferry: brokers, disk or pipe do not answer; ended as in a crash, nothing is lost\n"};

/* In a signal handler. */
static void end_at_once(const struct interrupts_early *how) {
        ssize_t ignored = write(STDERR_FILENO, how->text, strlen(how->text));
        (void)ignored;
        _exit(how->exit_code);
}

static void interrupt(int number) {
        uint64_t one = 1;
        int code = errno;
        (void)number;
        if (!attended)
                end_at_once(&unattended);
        ssize_t ignored = write(interrupt_fd, &one, sizeof(one));
        (void)ignored;
        errno = code;
}

static void time_is_over(int number) {
        (void)number;
        end_at_once(&overdue);
}

/* The terminal where the process was started has gone: that is an interrupt, not a wish. */
static bool is_alone(void) {
        return on_terminal && tcgetpgrp(STDERR_FILENO) < 0 && errno == EIO;
}

static void hang_up(int number) {
        uint64_t one = 1;
        int code = errno;
        if (is_alone()) {
                interrupt(number);
                return;
        }
        ssize_t ignored = write(reload_fd, &one, sizeof(one));
        (void)ignored, (void)number;
        errno = code;
}

struct error *interrupts_open(struct interrupts_early early) {
        static const int numbers[] = {SIGINT, SIGTERM};
        struct sigaction reload = {.sa_handler = hang_up, .sa_flags = SA_RESTART};
        struct sigaction hung_up = {.sa_handler = SIG_DFL};
        unattended = early;
        interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        reload_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (interrupt_fd < 0 || reload_fd < 0 || sigaction(SIGHUP, &reload, &hung_up) < 0)
                return error_errno(errno, "cannot wait for signals");
        on_terminal = isatty(STDERR_FILENO) && hung_up.sa_handler != SIG_IGN; /* nohup */
        for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
                struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART}, before;
                if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
                        sigaction(numbers[i], &action, NULL);
        }
        return NULL;
}

void interrupts_attend(void) {
        attended = 1;
}

uint64_t interrupts_wait(int wait_ms) {
        struct pollfd poll_fds[] = {{.fd = interrupt_fd, .events = POLLIN},
                                    {.fd = reload_fd, .events = POLLIN}};
        uint64_t count = 0;
        if (poll(poll_fds, 2, wait_ms) <= 0 || read(interrupt_fd, &count, sizeof(count)) < 0)
                return 0;
        return count;
}

bool interrupts_reload(void) {
        uint64_t count;
        return read(reload_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

void interrupts_limit(unsigned seconds, int exit_code) {
        static bool limited;
        struct sigaction action = {.sa_handler = time_is_over};
        if (limited)
                return;
        limited = true;
        overdue.exit_code = exit_code;
        if (sigaction(SIGALRM, &action, NULL) == 0)
                alarm(seconds);
}
