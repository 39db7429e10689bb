/*
 * Files that are wrong, and every line that is said about each: place, path, and what to do. The file is
 * called "f".
 */
#include "broker/ops/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Five lines that are right. */
#define A_PROVIDER                                                                                           \
        "providers:\n  - name: a\n    kind: openai\n    base_url: http://h/v1\n    models: [{model: m}]\n"

/* Four, to which a line of models is added. */
#define PROVIDER "providers:\n  - name: a\n    kind: openai\n    base_url: http://h/v1\n"

static const char *const dialects[] = {"openai", "azure", NULL};

static const struct {
        const char *text, *message;
} cases[] = {
        {"limits:\n"
         "  in_fligth: 5\n",
         "f:2:3: limits.in_fligth: unknown setting; did you mean \"in_flight\"?"},
        {"limits: {in_flight: 0}\n", "f:1:21: limits.in_flight: must be between 1 and 100000, is 0"},
        {"limits: {in_flight: 100001}\n",
         "f:1:21: limits.in_flight: must be between 1 and 100000, is 100001"},
        {"limits: {in_flight: many}\n", "f:1:21: limits.in_flight: must be a whole number, is \"many\""},
        {"limits: {in_flight: -1}\n", "f:1:21: limits.in_flight: must be a whole number, is -1"},
        {"limits: {in_flight: 1.5}\n", "f:1:21: limits.in_flight: must be a whole number, is 1.5"},
        {"limits: {in_flight: 99999999999999999999}\n",
         "f:1:21: limits.in_flight: must be a whole number, is 99999999999999999999"},
        {"limits: {in_flight: [1]}\n", "f:1:21: limits.in_flight: must be one value, not a list"},
        {"limits: {in_flight: {a: 1}}\n",
         "f:1:21: limits.in_flight: must be one value, not a group of names"},
        {"limits: {in_flight: }\n",
         "f:1:21: limits.in_flight: has no value; remove it, or write \"\" for an empty text"},
        {"limits: 5\n", "f:1:9: limits: must be a group of names, one in each line"},
        {"limits: [in_flight]\n", "f:1:9: limits: must be a group of names, one in each line"},
        {"limits: {job_bytes: 1 MB}\n", "f:1:21: limits.job_bytes: must be a size like 64MiB, is \"1 MB\""},
        {"limits: {job_bytes: 1023}\n", "f:1:21: limits.job_bytes: must be between 1KiB and 512MiB, is 1023"},
        {"limits: {memory: 2TiB}\n", "f:1:18: limits.memory: must be between 1MiB and 1TiB, is 2TiB"},
        {"limits: {disk_patience: 5}\n",
         "f:1:25: limits.disk_patience: must be a duration like 30s or 1m30s, is 5"},
        {"timeouts: {total: 25h}\n", "f:1:19: timeouts.total: must be between 1ms and 24h, is 25h"},
        {"retry: {budget: ten}\n", "f:1:17: retry.budget: must be a share like 10% or 0.1, is \"ten\""},
        {"retry: {budget: 1001%}\n", "f:1:17: retry.budget: must be between 0% and 1000%, is 1001%"},
        {"retry: {backoff: {base: 30s, cap: 1s}}\n",
         "f:1:25: retry.backoff.base: must not be above retry.backoff.cap"},
        {"retry: {backoff: {bse: 30s}}\n",
         "f:1:19: retry.backoff.bse: unknown setting; did you mean \"base\"?"},
        {"results: {encoding: xml}\n",
         "f:1:21: results.encoding: must be \"json\" or \"msgpack\", is \"xml\""},
        {"log: {level: verbose}\n",
         "f:1:14: log.level: must be \"error\", \"warning\", \"info\" or \"debug\", is \"verbose\""},
        {"http: {http2: maybe}\n", "f:1:15: http.http2: must be true or false, is \"maybe\""},
        {"state: \"\"\n", "f:1:8: state: must have 1 to 4096 bytes, is \"\""},
        {"state: \"a\\nb\"\n",
         "f:1:8: state: must be one line of UTF-8 without control characters, is \"a?b\""},
        {"in_flight: 5\n", "f:1:1: in_flight: unknown setting; did you mean \"limits.in_flight\"?"},
        {"limits.in_flight: 5\n",
         "f:1:1: limits.in_flight: names stand in groups: write \"limits:\" and, indented below "
         "it, \"in_flight\""},
        {"colour: red\n",
         "f:1:1: colour: unknown setting; known here: state, shards, limits, topics, commit, worker, "
         "results, idempotency, retry, timeouts, fetch, http, listen, audit, log, kafka, routing, "
         "catalog, providers, workspaces"},
        {"topics: {jobs: \"a b\"}\n",
         "f:1:16: topics.jobs: must be 1 to 249 letters, digits, \"_\", \".\" and \"-\", is \"a b\""},
        {"fetch: {allow: [https, ftp]}\n",
         "f:1:24: fetch.allow[1]: must be \"https\", \"http\", \"file\" or \"s3\", is \"ftp\""},
        {"fetch: {allow: https}\n", "f:1:16: fetch.allow: must be a list, such as [https]"},
        {"shards: 257\n", "f:1:9: shards: must be between 0 and 256, is 257"},
        {"a: 1\n"
         "a: 2\n",
         "f:2:1: \"a\" stands here twice; the first is in line 1"},
        {"limits: {in_flight: 1}\n"
         "shards: 1\n"
         "limits: {}\n",
         "f:3:1: \"limits\" stands here twice; the first is in line 1"},
        {"limits: &x {in_flight: 1}\n", "f:1:9: anchors (&name) are not supported: write the value out"},
        {"limits: {in_flight: *x}\n", "f:1:21: aliases (*name) are not supported: write the value out"},
        {"limits: {in_flight: !!int 5}\n", "f:1:21: tags (!name) are not supported: remove it"},
        {"limits: {in_flight: 5\n",
         "f:2:1: not YAML: did not find expected ',' or '}' while parsing a flow mapping"},
        {"limits:\n"
         "\tin_flight: 5\n",
         "f:2:1: not YAML: found character that cannot start any token while scanning for the "
         "next token"},
        {"---\n"
         "shards: 1\n"
         "---\n"
         "shards: 2\n",
         "f:3:1: a second document (---): a configuration has one"},
        {"[1, 2]\n", "f:1:1: must be a group of names, such as providers: and limits:"},
        {"just text\n", "f:1:1: must be a group of names, such as providers: and limits:"},
        {"? [a]\n"
         ": 1\n",
         "f:1:3: a name must be a text"},
        {"\"\": 1\n", "f:1:1: a name must have 1 to 512 bytes"},
        {"kafka: {bootstrap: {servers: x}}\n",
         "f:1:20: kafka.bootstrap: must be one value: the whole name stands in one line, as in "
         "bootstrap.servers: localhost:9092"},
        {"kafka: {Bootstrap: x}\n", "f:1:9: kafka.Bootstrap: is no name of a librdkafka property"},
        {"kafka: {sasl.password: \"***\"}\n",
         "f:1:24: kafka.sasl.password: \"***\" stands for a secret that `config print` did not "
         "show"},
        {"kafka: {group.id: }\n",
         "f:1:19: kafka.group.id: has no value; remove it, or write \"\" for an empty text"},
        {"routing: {sort: cheap}\n",
         "f:1:17: routing.sort: must be \"price\", \"throughput\", \"latency\", \"quality\" or \"balanced\", "
         "is \"cheap\""},
        {"routing: {sort: {by: price, order: none}}\n",
         "f:1:29: routing.sort.order: there are \"by\" and \"partition\" only"},
        {"routing: {sort: {partition: all}}\n",
         "f:1:29: routing.sort.partition: must be \"model\" or \"none\", is \"all\""},
        {"routing: {preferred_max_latency: {p80: 1}}\n",
         "f:1:35: routing.preferred_max_latency.p80: there are p50, p75, p90 and p99 only"},
        {"routing: {unknown_price: no}\n",
         "f:1:26: routing.unknown_price: must be \"allow\" or \"deny\", is \"no\""},
        {"routing: {max_cost_usd: free}\n",
         "f:1:25: routing.max_cost_usd: must be a number, 0 or more, is \"free\""},
        {"routing: {enforce_distillable_text: true}\n",
         "f:1:37: routing.enforce_distillable_text: cannot be kept: no catalog says whose authors permit "
         "distillation; name the models or providers in \"only\" instead"},
        {"routing: {srot: price}\n", "f:1:11: routing.srot: unknown setting; did you mean \"sort\"?"},
        {"routing: {spread: 10.5}\n",
         "f:1:19: routing.spread: must be a number from 0 to 10: 0.2 is 20 % dearer than the cheapest"},
        {"routing: {data_collection: never}\n",
         "f:1:28: routing.data_collection: must be \"allow\" or \"deny\", is \"never\""},
        {"routing: {max_price: {promt: 1}}\n",
         "f:1:23: routing.max_price.promt: unknown setting; did you mean \"prompt\"?"},
        {"routing: {max_price: {prompt: -1}}\n",
         "f:1:31: routing.max_price.prompt: must be an amount of USD like 0.15, below 9 "
         "million, with at most 12 decimal places, is -1"},
        {"routing: {only: openai}\n", "f:1:17: routing.only: must be a list, such as [one, another]"},
        {"routing: {preferred_min_throughput: fast}\n",
         "f:1:37: routing.preferred_min_throughput: must be a number, 0 or more, is \"fast\""},
        {"routing: {only: [b]}\n" A_PROVIDER, "f:1:18: routing.only[0]: there is no provider \"b\""},
        {"routing: {order: [alpha, alpah/m]}\n"
         "providers:\n"
         "  - name: alpha\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}]\n",
         "f:1:26: routing.order[1]: there is no provider \"alpah\"; did you mean \"alpha\"?"},
        {"workspaces: [{name: r, budget: {daly: 50}}]\n",
         "f:1:33: workspaces[0].budget.daly: unknown setting; did you mean \"daily\"?"},
        {"workspaces: [{name: r, budget: {daily: 0}}]\n",
         "f:1:40: workspaces[0].budget.daily: must be between 0.000001 and 9000000, is 0"},
        {"workspaces: [{name: r, budget: {daily: 5 USD}}]\n",
         "f:1:40: workspaces[0].budget.daily: must be an amount of USD like 0.15, below 9 million, with at "
         "most "
         "12 decimal places, is \"5 USD\""},
        {"workspaces: [{name: r, budget: {daily: 50, monthly: 40}}]\n",
         "f:1:40: workspaces[0].budget.daily: must not be above budget.monthly"},
        {"workspaces: [{name: r, budget: {monthly: 50, lifetime: 40}}]\n",
         "f:1:42: workspaces[0].budget.monthly: must not be above budget.lifetime"},
        {"workspaces: [{name: r}, {name: r}]\n",
         "f:1:32: workspaces[1].name: there is a workspace of this name already"},
        {"workspaces: [{name: default}, {name: default}]\n",
         "f:1:38: workspaces[1].name: there is a workspace of this name already"},
        {"workspaces: [{name: r, over_budget: wiat}]\n",
         "f:1:37: workspaces[0].over_budget: must be \"wait\" or \"fail\", is \"wiat\""},
        {"workspaces: [{name: r, release_unknown: soon}]\n",
         "f:1:41: workspaces[0].release_unknown: must be a duration like 30s or 1m30s, is \"soon\""},
        {"workspaces: 7\n", "f:1:13: workspaces: must be a list, of which each item is a group of names, "
                            "such as {name: research}"},
        {"workspaces: [7]\n", "f:1:14: workspaces[0]: must be a group of names, such as {name: research}"},
        {"workspaces: [{name: r, wieght: 1}]\n",
         "f:1:24: workspaces[0].wieght: unknown setting; did you mean \"weight\"?"},
        {"workspaces: [{weight: 2}]\n",
         "f:1:14: workspaces[0]: name is missing: the one that jobs give as workspace"},
        {"providers: {a: b}\n",
         "f:1:12: providers: must be a list, of which each item is a group of names: name, "
         "kind, base_url, models, ..."},
        {"providers: [a]\n",
         "f:1:13: providers[0]: must be a group of names: name, kind, base_url, models, ..."},
        {"providers:\n"
         "  - name: A\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}]\n",
         "f:2:11: providers[0].name: must be in lower case"},
        {"providers:\n"
         "  - name: \"a b\"\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}]\n",
         "f:2:11: providers[0].name: must be 1 to 64 letters, digits, \"_\", \".\" and \"-\", is \"a "
         "b\""},
        {"providers:\n"
         "  - name: a\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}]\n",
         "f:2:5: providers[0]: kind is missing: the dialect, such as openai"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: opnai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}]\n",
         "f:3:11: providers[0].kind: unknown kind of provider; did you mean \"openai\"?"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: cohere\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}]\n",
         "f:3:11: providers[0].kind: this version does not know this kind of provider; there "
         "are openai, azure"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    models: [{model: m}]\n",
         "f:2:5: providers[0]: base_url is missing"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n",
         "f:2:5: providers[0]: models is missing; [{model: \"*\"}] serves every model that jobs "
         "name"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: []\n",
         "f:5:13: providers[0].models: must not be empty; {model: \"*\"} serves every model that "
         "jobs name"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [m]\n",
         "f:5:14: providers[0].models[0]: must be a group of names, such as {model: NAME}"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: m\n",
         "f:5:13: providers[0].models: must be a list, of which each item is a group of names, "
         "such as {model: NAME}"},
        {"providers: [{}]\n",
         "f:1:13: providers[0]: name is missing: the name that rules, receipts and logs use\n"
         "f:1:13: providers[0]: kind is missing: the dialect, such as openai\n"
         "f:1:13: providers[0]: base_url is missing\n"
         "f:1:13: providers[0]: models is missing; [{model: \"*\"}] serves every model that jobs "
         "name"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: ftp://h\n"
         "    models: [{model: m}]\n",
         "f:4:15: providers[0].base_url: must begin with https:// or http://"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://\n"
         "    models: [{model: m}]\n",
         "f:4:15: providers[0].base_url: has no host"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://user:pass@h\n"
         "    models: [{model: m}]\n",
         "f:4:15: providers[0].base_url: must not hold a user or password: put the key into "
         "api_key"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h?x=1\n"
         "    models: [{model: m}]\n",
         "f:4:15: providers[0].base_url: must not hold a query (?...) or fragment (#...)"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: \"http://h/a b\"\n"
         "    models: [{model: m}]\n",
         "f:4:15: providers[0].base_url: must not hold blanks or characters that a URL has to "
         "escape"},
        {A_PROVIDER "  - name: a\n"
                    "    kind: openai\n"
                    "    base_url: http://h\n"
                    "    models: [{model: m}]\n",
         "f:6:11: providers[1].name: there is a provider of this name already"},
        {A_PROVIDER "    api_key: \"***\"\n",
         "f:6:14: providers[0].api_key: \"***\" stands for a key that `config print` did not "
         "show: put the key here, best as ${NAME}"},
        {A_PROVIDER "    api_key: \"two words\"\n",
         "f:6:14: providers[0].api_key: a key must be one line of ASCII without blanks"},
        {A_PROVIDER "    api_key: [x]\n", "f:6:14: providers[0].api_key: must be one value, not a list"},
        {A_PROVIDER "    api_key: ${BATCHFERRY_TEST_UNSET}\n",
         "f:6:14: environment variable BATCHFERRY_TEST_UNSET is not set (needed by "
         "providers[0].api_key)"},
        {A_PROVIDER "    api_key: ${BATCHFERRY_TEST_EMPTY}\n",
         "f:6:14: environment variable BATCHFERRY_TEST_EMPTY is set but empty (needed by "
         "providers[0].api_key)"},
        {A_PROVIDER "    api_key: ${file:/nonexistent/key}\n",
         "f:6:14: cannot read /nonexistent/key: No such file or directory (needed by "
         "providers[0].api_key)"},
        {A_PROVIDER "    api_key: ${file:key}\n",
         "f:6:14: providers[0].api_key: ${file:key} needs an absolute path"},
        {A_PROVIDER "    api_key: ${}\n",
         "f:6:14: providers[0].api_key: \"${}\" is none of ${NAME}, ${NAME:-default} and "
         "${file:/path}; a literal \"${\" is written \"$${\""},
        {A_PROVIDER "    api_key: ${A\n",
         "f:6:14: providers[0].api_key: \"${\" without \"}\"; a literal \"${\" is written \"$${\""},
        {A_PROVIDER "    api_key: \"${A:-${B}}\"\n",
         "f:6:14: providers[0].api_key: \"${\" within \"${...}\" is not supported"},
        {A_PROVIDER "    api_kye: x\n",
         "f:6:5: providers[0].api_kye: unknown setting; did you mean \"api_key\"?"},
        {A_PROVIDER "    limits: {requests_per_minute: 0}\n",
         "f:6:35: providers[0].limits.requests_per_minute: must be between 1 and 1000000000, "
         "is 0"},
        {A_PROVIDER "    limits: {rpm: 5}\n",
         "f:6:14: providers[0].limits.rpm: unknown setting; known here: requests_per_minute, "
         "tokens_per_minute, concurrency, requests_per_day, tokens_per_day, audio_seconds_per_hour, "
         "audio_seconds_per_day, images_per_minute"},
        {A_PROVIDER "    data_policy: {zdr: true, training: true}\n",
         "f:6:18: providers[0].data_policy: zdr keeps nothing, so training must be false and "
         "retention_days 0"},
        {A_PROVIDER "    data_policy: {zdr: yes}\n",
         "f:6:24: providers[0].data_policy.zdr: must be true or false, is \"yes\""},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m}, {model: m}]\n",
         "f:5:34: providers[0].models[1].model: this provider has a model of this name already"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{upstream: m}]\n",
         "f:5:14: providers[0].models[0]: model is missing: the name that jobs use"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: \"*\", upstream: m}]\n",
         "f:5:37: providers[0].models[0].upstream: model \"*\" sends the name that the job has: "
         "remove \"upstream\""},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: a b}]\n",
         "f:5:22: providers[0].models[0].model: must not hold blanks"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {inptu: 1}}]\n",
         "f:5:33: providers[0].models[0].price.inptu: unknown setting; did you mean \"input\"?"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {input: free}}]\n",
         "f:5:40: providers[0].models[0].price.input: must be an amount of USD like 0.15, "
         "below 9 million, with at most 12 decimal places, is \"free\""},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {input: -0.1}}]\n",
         "f:5:40: providers[0].models[0].price.input: must be an amount of USD like 0.15, "
         "below 9 million, with at most 12 decimal places, is -0.1"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {input: 0.0000000000001}}]\n",
         "f:5:40: providers[0].models[0].price.input: must be an amount of USD like 0.15, "
         "below 9 million, with at most 12 decimal places, is 0.0000000000001"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {input: 10000000}}]\n",
         "f:5:40: providers[0].models[0].price.input: must be an amount of USD like 0.15, "
         "below 9 million, with at most 12 decimal places, is 10000000"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {image: 10}}]\n",
         "f:5:40: providers[0].models[0].price.image: must be an amount of USD like 0.006, "
         "below 9, with at most 12 decimal places, is 10"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {audio_minute: 1e3}}]\n",
         "f:5:47: providers[0].models[0].price.audio_minute: must be an amount of USD like "
         "0.006, below 9, with at most 12 decimal places, is 1e3"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {batch: {input: x}}}]\n",
         "f:5:48: providers[0].models[0].price.batch.input: must be an amount of USD like "
         "0.15, below 9 million, with at most 12 decimal places, is \"x\""},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: {batch: 1}}]\n",
         "f:5:40: providers[0].models[0].price.batch: must be a group of names, one in each "
         "line"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price: 1}]\n",
         "f:5:32: providers[0].models[0].price: must be a group of names, one in each line"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, price_windows: [{when: x, multiply: 1}]}]\n",
         "f:5:48: providers[0].models[0].price_windows[0].when: the zone is none of UTC, an offset like "
         "+08:00, and a name of the system's zoneinfo like Europe/Berlin"},
        {PROVIDER
         "    models: [{model: m, price_windows: [{when: Mon-Fri 1:00-2:00, multiply: 0.1234567}]}]\n",
         "f:5:48: providers[0].models[0].price_windows[0].when: hours must be like 16:30-00:30 or "
         "00:00-24:00, in \"Mon-Fri 16:30-00:30 UTC\"\n"
         "f:5:77: providers[0].models[0].price_windows[0].multiply: must be a number like 0.5, from 0 to "
         "1000, with at most 6 decimal places"},
        {PROVIDER "    models: [{model: m, price_windows: [{when: UTC}]}]\n",
         "f:5:41: providers[0].models[0].price_windows[0]: multiply is missing"},
        {PROVIDER "    models: [{model: m, price_windows: x}]\n",
         "f:5:40: providers[0].models[0].price_windows: must be a list, such as [{when: \"Mon-Fri "
         "16:30-00:30 UTC\", multiply: 0.5}]"},
        {PROVIDER "    models: [{model: m, price_tiers: [{above_input: 5}, {above_input: 5, output: 1}, "
                  "{input: 1}]}]\n",
         "f:5:39: providers[0].models[0].price_tiers[0]: names no price: input, output, ...\n"
         "f:5:57: providers[0].models[0].price_tiers[1]: must stand in ascending order of above_input\n"
         "f:5:86: providers[0].models[0].price_tiers[2]: above_input is missing: the longest input that "
         "still "
         "costs less\n"
         "f:5:86: providers[0].models[0].price_tiers[2]: must stand in ascending order of above_input"},
        {PROVIDER "    models: [{model: m, parameters: [tool, colour], input_modalities: [], "
                  "output_modalities: [txt]}]\n",
         "f:5:38: providers[0].models[0].parameters[0]: unknown parameter; did you mean \"tools\"?\n"
         "f:5:44: providers[0].models[0].parameters[1]: unknown parameter; there are tools, response_format, "
         "seed, ...\n"
         "f:5:71: providers[0].models[0].input_modalities: must not be empty; leave it out when it is not "
         "known\n"
         "f:5:95: providers[0].models[0].output_modalities[0]: unknown modality; did you mean \"text\"?"},
        {PROVIDER "    models: [{model: m, price: {audio_minute: 1, audio_second: 0.01}}]\n",
         "f:5:32: providers[0].models[0].price: names audio_minute and audio_second: remove one of them"},
        {PROVIDER "    models: [{model: m, price: {audio_second: 8}}]\n",
         "f:5:47: providers[0].models[0].price.audio_second: must be below 0.15"},
        {PROVIDER "    models: [{model: m}]\n    budget: {daily: 0}\n",
         "f:6:21: providers[0].budget.daily: must be between 0.000001 and 9000000, is 0"},
        {PROVIDER "    models: catalog\n",
         "f:5:13: providers[0].models: no catalogue file has models of this provider; \"catalog: NAME\" "
         "beside "
         "it says what they call it, and \"catalog: [FILE]\" at the top which files there are"},
        {"catalog: {}\n", "f:1:10: catalog: must be a list, of the paths of catalogue files"},
        {"catalog: /nowhere/c.yaml\n", "cannot read /nowhere/c.yaml: No such file or directory"},
        {"catalog: [/dev/zero, /tmp]\n",
         "cannot read /dev/zero: it is no regular file\ncannot read /tmp: it is "
         "no regular file"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, context: 10, output_max: 11}]\n",
         "f:5:50: providers[0].models[0].output_max: must not be above context"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, quality: 101}]\n",
         "f:5:34: providers[0].models[0].quality: must be between 0 and 100, is 101"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, kinds: [chat, embedings]}]\n",
         "f:5:39: providers[0].models[0].kinds[1]: unknown kind; did you mean \"embeddings\"?"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, kinds: [video]}]\n",
         "f:5:33: providers[0].models[0].kinds[0]: unknown kind; there are chat, embeddings, "
         "rerank, ... as in the url of a job"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, kinds: []}]\n",
         "f:5:32: providers[0].models[0].kinds: must not be empty; without it the model serves "
         "all kinds"},
        {"providers:\n"
         "  - name: a\n"
         "    kind: openai\n"
         "    base_url: http://h/v1\n"
         "    models: [{model: m, kinds: chat}]\n",
         "f:5:32: providers[0].models[0].kinds: must be a list, such as [chat, embeddings]"},
        {"limits: {in_flight: \"${BATCHFERRY_TEST_CANARY}\"}\n",
         "f:1:21: limits.in_flight: must be a whole number, is \"${BATCHFERRY_TEST_CANARY}\""},
        {"limits: {in_flight: 0}\n"
         "limit: 1\n"
         "shards: x\n"
         "state: ok\n"
         "log: {format: 7}\n",
         "f:1:21: limits.in_flight: must be between 1 and 100000, is 0\n"
         "f:2:1: limit: unknown setting; did you mean \"limits\"?\n"
         "f:3:9: shards: must be a whole number, is \"x\"\n"
         "f:5:15: log.format: must be \"text\" or \"json\", is 7"},
        {"\303\251: 1\n",
         "f:1:1: \303\251: unknown setting; known here: state, shards, limits, topics, commit, worker, "
         "results, idempotency, retry, timeouts, fetch, http, listen, audit, log, kafka, routing, "
         "catalog, providers, workspaces"},
        {A_PROVIDER "    api_key:\n",
         "f:6:13: providers[0].api_key: has no value; remove it, or write \"\" for an empty text"},
        {A_PROVIDER "    base_url: http://h\n",
         "f:6:5: \"base_url\" stands here twice; the first is in line 4"},
        {"retry.backoff.base: 1s\n",
         "f:1:1: retry.backoff.base: names stand in groups: write \"retry:\" and, indented below "
         "it, \"backoff.base\""},
        {"retry: {backoff.base: 1s}\n",
         "f:1:9: retry.backoff.base: names stand in groups: write \"backoff:\" and, indented "
         "below it, \"base\""},
        {"log: {format: text, levle: info}\n", "f:1:21: log.levle: unknown setting; did you mean \"level\"?"},
        {"kafka: [a]\n", "f:1:8: kafka: must be a group of names, of librdkafka properties"},
        {"retry: {attempts: 101}\n", "f:1:19: retry.attempts: must be between 1 and 100, is 101"},
        {"listen: {port: 65536}\n", "f:1:16: listen.port: must be between 0 and 65535, is 65536"},
        {"state: \"a\001\"\n",
         "f:1:10: a byte that is not text: the file must be UTF-8 without control characters"},
};

static char *message_of(const struct config_options *options, struct bytes text) {
        struct config *config = NULL;
        struct error *error = config_load_text(options, "f", text, &config);
        if (error == NULL) {
                config_free(config);
                return NULL;
        }
        assert_null(config);
        assert_int_equal(error->kind, ERROR_USAGE);
        char *message = strdup(error->message);
        error_free(error);
        return message;
}

static void messages(void **state) {
        const struct config_options options = {.dialect_names = dialects};
        unsigned wrong = 0;
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char *message = message_of(&options, bytes_of(cases[i].text));
                if (message == NULL || strcmp(message, cases[i].message) != 0) {
                        print_error("%s\n is told: %s\n expected: %s\n", cases[i].text,
                                    message == NULL ? "nothing" : message, cases[i].message);
                        wrong++;
                }
                free(message);
        }
        assert_int_equal(wrong, 0);
}

static void says_twenty_and_counts_the_rest(void **state) {
        const struct config_options options = {0};
        struct buffer text;
        unsigned lines = 1;
        (void)state;
        buffer_init(&text, 4096);
        for (unsigned i = 0; i < 25; i++)
                buffer_printf(&text, "x%u: 1\n", i);
        char *message = message_of(&options, buffer_view(&text));
        assert_non_null(message);
        for (const char *at = message; *at != '\0'; at++)
                lines += *at == '\n';
        assert_int_equal(lines, 21);
        assert_non_null(strstr(message, "\nf: and 5 more"));
        free(message);
        buffer_deinit(&text);
}

static void bounds_depth_names_and_size(void **state) {
        const struct config_options options = {0};
        struct buffer text;
        (void)state;
        buffer_init(&text, (size_t)8 << 20);
        for (unsigned i = 0; i < 16; i++)
                buffer_append_string(&text, "{a: ");
        buffer_append_string(&text, "{}");
        for (unsigned i = 0; i < 16; i++)
                buffer_append_string(&text, "}");
        char *message = message_of(&options, buffer_view(&text));
        assert_string_equal(message, "f:1:65: nested deeper than 16 levels");
        free(message);

        buffer_clear(&text);
        for (unsigned i = 0; i < 1001; i++)
                buffer_printf(&text, "x%u: 1\n", i);
        message = message_of(&options, buffer_view(&text));
        assert_string_equal(message, "f:1001:1: more than 1000 names in one place");
        free(message);

        buffer_clear(&text);
        buffer_append_string(&text, "fetch: {allow: [");
        for (unsigned i = 0; i < (1 << 18); i++)
                buffer_append_string(&text, "a,");
        buffer_append_string(&text, "]}");
        message = message_of(&options, buffer_view(&text));
        assert_non_null(strstr(message, "the file holds too many values"));
        free(message);

        buffer_clear(&text);
        while (text.size <= (4 << 20))
                buffer_append_string(&text, "# nothing but a long comment, again and again\n");
        message = message_of(&options, buffer_view(&text));
        assert_string_equal(message, "f: larger than 4 MiB: this is no configuration");
        free(message);
        buffer_deinit(&text);
}

/* A billion laughs need anchors, and stop at the first. */
static void refuses_what_multiplies(void **state) {
        const struct config_options options = {0};
        (void)state;
        char *message = message_of(&options, BYTES("a: &a [l,l,l]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"));
        assert_string_equal(message, "f:1:4: anchors (&name) are not supported: write the value out");
        free(message);
}

static void command_line(void **state) {
        static const struct {
                const char *set, *message;
        } sets[] = {
                {"limits.in_fligth=5",
                 "--set: limits.in_fligth: unknown setting; did you mean \"in_flight\"?"},
                {"limits.in_flight=0", "--set: limits.in_flight: must be between 1 and 100000, is 0"},
                {"limits.in_flight", "--set: must be written NAME=VALUE, such as limits.in_flight=64"},
                {"=5", "--set: must be written NAME=VALUE, such as limits.in_flight=64"},
                {"limits=5", "--set: limits: must be a group of names, one in each line"},
                {"limits.in_flight.x=5", "--set: limits.in_flight: must be one value, not a group of names"},
                {"providers.a.kind=openai",
                 "--set: providers and workspaces cannot be set here: write them into a "
                 "file (-c FILE), or use --base-url"},
                {"workspaces=x",
                 "--set: providers and workspaces cannot be set here: write them into a file (-c FILE)"},
                {"fetch.allow=https,ftp",
                 "--set: fetch.allow: must be \"https\", \"http\", \"file\" or \"s3\", is \"https,ftp\""},
                {"state=${BATCHFERRY_TEST_UNSET}",
                 "--set: environment variable BATCHFERRY_TEST_UNSET is not set (needed by state)"},
                {"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t=1",
                 "--set: a: unknown setting; known here: state, shards, limits, topics, commit, worker, "
                 "results, "
                 "idempotency, retry, timeouts, fetch, http, listen, audit, log, kafka, routing, catalog, "
                 "providers, "
                 "workspaces"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
                const struct config_options options = {.sets = &sets[i].set, .sets_count = 1};
                char *message = message_of(&options, BYTES(""));
                assert_non_null(message);
                assert_string_equal(message, sets[i].message);
                free(message);
        }
}

static void file_and_command_line_together(void **state) {
        const char *sets[] = {"shards=x"};
        const struct config_options options = {.sets = sets, .sets_count = 1};
        (void)state;
        char *message = message_of(&options, BYTES("shards: y\n"));
        assert_string_equal(message, "f:1:9: shards: must be a whole number, is \"y\"\n"
                                     "--set: shards: must be a whole number, is \"x\"");
        free(message);
}

static void base_url(void **state) {
        struct config_options options = {.base_url = "localhost:8000"};
        (void)state;
        char *message = message_of(&options, BYTES(""));
        assert_string_equal(message, "--base-url: must begin with https:// or http://");
        free(message);
        options.base_url = "http://localhost:8000";
        options.api_key_env = "BATCHFERRY_TEST_UNSET";
        message = message_of(&options, BYTES(""));
        assert_string_equal(message,
                            "--base-url: environment variable BATCHFERRY_TEST_UNSET is not set (needed by "
                            "--api-key-env)");
        free(message);
        options.base_url = NULL;
        message = message_of(&options, BYTES(""));
        assert_string_equal(message,
                            "--api-key-env: goes with --base-url only; a provider of the file has its own: "
                            "api_key: ${NAME}");
        free(message);
}

static int environment(void **state) {
        (void)state;
        unsetenv("BATCHFERRY_TEST_UNSET");
        setenv("BATCHFERRY_TEST_EMPTY", "", 1);
        setenv("BATCHFERRY_TEST_CANARY", "canary-s3cret", 1);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages),
                cmocka_unit_test(says_twenty_and_counts_the_rest),
                cmocka_unit_test(bounds_depth_names_and_size),
                cmocka_unit_test(refuses_what_multiplies),
                cmocka_unit_test(command_line),
                cmocka_unit_test(file_and_command_line_together),
                cmocka_unit_test(base_url),
        };
        return cmocka_run_group_tests(tests, environment, NULL);
}
