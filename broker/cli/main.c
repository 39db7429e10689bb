/* The command line: picks the command; each has a file of its own. */
#include "broker/cli/cmd_audit.h"
#include "broker/cli/cmd_catalog.h"
#include "broker/cli/cmd_collect.h"
#include "broker/cli/cmd_config.h"
#include "broker/cli/cmd_dead_letters.h"
#include "broker/cli/cmd_explain.h"
#include "broker/cli/cmd_quote.h"
#include "broker/cli/cmd_replay.h"
#include "broker/cli/cmd_run.h"
#include "broker/cli/cmd_share.h"
#include "broker/cli/cmd_sim.h"
#include "broker/cli/cmd_state.h"
#include "broker/cli/cmd_submit.h"
#include "broker/cli/cmd_topics.h"
#include "broker/cli/cmd_worker.h"
#include "broker/cli/cmd_workspaces.h"
#include "broker/cli/options.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command {
        const char *name, *help;
        int (*main)(int argc, char **argv);
} commands[] = {
        {"run", "run a file of inference jobs: JSONL in, JSONL out, exactly once", cmd_run},
        {"submit", "publish a file of jobs to the jobs topic", cmd_submit},
        {"collect", "read results from the results topic into a file", cmd_collect},
        {"dead-letters", "jobs that were set aside: list, show, redrive", cmd_dead_letters},
        {"topics", "create the topics with the right settings, or check those there are", cmd_topics},
        {"worker", "take jobs from Kafka and publish results, exactly once; any number share the work",
         cmd_worker},
        {"quote", "what jobs will cost and how long they will take, before anything is sent", cmd_quote},
        {"explain", "the routing decision for a job: candidates, costs, what excludes whom, and why",
         cmd_explain},
        {"share", "who got the traffic, against a neutral broker, and why", cmd_share},
        {"replay", "decide again what results record: the same, or what another policy would have paid",
         cmd_replay},
        {"state", "look at the durable state: show, stats, verify", cmd_state},
        {"audit", "verify the records of calls and refusals: none changed, removed, put in or moved",
         cmd_audit},
        {"workspaces", "what workspaces and providers have spent, and what is left", cmd_workspaces},
        {"config", "check or print the configuration", cmd_config},
        {"catalog", "models and prices: import catalogues of others, list, check", cmd_catalog},
        {"sim", "a provider simulator: OpenAI-compatible, with chosen latency, limits, prices and faults",
         cmd_sim},
};

static void help(FILE *stream) {
        fprintf(stream,
                "Usage: batchferry COMMAND [OPTION...]\n"
                "A broker for batch inference: every job is done once, paid once, and accounted for.\n\n");
        for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
                fprintf(stream, "  %-12s %s\n", commands[i].name, commands[i].help);
        fprintf(stream, "\nTry it:   batchferry run jobs.jsonl -o results.jsonl --base-url "
                        "https://api.openai.com/v1\n"
                        "More:     batchferry COMMAND --help\n"
                        "Exit:     0 all well, 1 failed, 2 wrong usage or configuration, 3 finished but some "
                        "jobs failed,\n"
                        "          130 interrupted (state kept: run the same command again to continue)\n");
}

/* The command's own help and complaints name it as users type it. */
static int run(const struct command *command, int argc, char **argv) {
        static char name[64];
        snprintf(name, sizeof(name), "batchferry %s", command->name);
        argv[1] = name;
        return command->main(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
        signal(SIGPIPE, SIG_IGN);
        if (argc < 2) {
                help(stderr);
                return EXIT_USAGE;
        }
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
                help(stdout);
                return EXIT_WELL;
        }
        if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
                printf("batchferry %s\n", BATCHFERRY_VERSION);
                return EXIT_WELL;
        }
        for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
                if (strcmp(argv[1], commands[i].name) == 0)
                        return run(&commands[i], argc, argv);
        fprintf(stderr, "batchferry: there is no command \"%s\"; batchferry --help lists them\n", argv[1]);
        return EXIT_USAGE;
}
