#include "broker/cli/ctrl_c.h"

#include "broker/cli/options.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t came;

static void on_signal(int number) {
        (void)number;
        if (came)
                _exit(EXIT_INTERRUPTED);
        came = 1;
}

void ctrl_c_catch(void) {
        static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
        for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
                struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
                if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
                        sigaction(numbers[i], &action, NULL);
        }
}

bool ctrl_c_came(void) {
        return came != 0;
}
