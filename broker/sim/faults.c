#include "broker/sim/faults.h"

#include "broker/base/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define LIE_FACTOR_DEFAULT 2.0
#define HUGE_BYTES_DEFAULT 268435456.0   /* 256 MB */
#define BYTES_MAX          17179869184.0 /* 16 GB */

static const struct {
        const char *name;
        int status;
        enum sim_fault_meaning meaning;
} kinds[SIM_FAULT_KINDS] = {
        {"none", 0, SIM_FAULT_TWISTED},
#define X(KIND, name, status, meaning) {name, status, SIM_FAULT_##meaning},
#include "broker/sim/faults.def"
#undef X
};

const char *sim_fault_name(enum sim_fault_kind kind) {
        return kinds[kind].name;
}

int sim_fault_status(enum sim_fault_kind kind) {
        return kinds[kind].status;
}

enum sim_fault_meaning sim_fault_meaning(enum sim_fault_kind kind) {
        return kinds[kind].meaning;
}

void sim_faults_init(struct sim_faults *faults) {
        *faults = (struct sim_faults){0};
}

void sim_faults_deinit(struct sim_faults *faults) {
        for (size_t i = 0; i < faults->scripts_count; i++)
                free((void *)(uintptr_t)faults->scripts[i].match.data);
        free(faults->scripts);
        *faults = (struct sim_faults){0};
}

void sim_faults_restart(struct sim_faults *faults) {
        for (size_t i = 0; i < faults->scripts_count; i++) {
                faults->scripts[i].matched = 0;
                faults->scripts[i].chosen = false;
        }
}

static bool number_parse(struct bytes text, double *out_value) {
        char copy[40], *end;

        if (text.size == 0 || text.size >= sizeof(copy) || strchr("0123456789.", text.data[0]) == NULL)
                return false;
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        *out_value = strtod(copy, &end);
        return *end == '\0' && isfinite(*out_value);
}

/* Cuts `text` at its first colon; *out_rest is empty when there is none. */
static struct bytes cut_at_colon(struct bytes text, struct bytes *out_rest) {
        const char *colon = text.size == 0 ? NULL : memchr(text.data, ':', text.size);

        *out_rest = (struct bytes){0};
        if (colon == NULL)
                return text;
        *out_rest = (struct bytes){colon + 1, (size_t)(text.data + text.size - colon) - 1};
        return (struct bytes){text.data, (size_t)(colon - text.data)};
}

static enum sim_fault_kind kind_of(struct bytes name) {
        if (bytes_equal_string(name, "429"))
                return SIM_FAULT_RATE_SECONDS;
        for (int kind = SIM_FAULT_NONE + 1; kind < SIM_FAULT_KINDS; kind++)
                if (bytes_equal_string(name, kinds[kind].name))
                        return (enum sim_fault_kind)kind;
        return SIM_FAULT_NONE;
}

static bool takes_parameter(enum sim_fault_kind kind) {
        return kind == SIM_FAULT_USAGE_LIE || kind == SIM_FAULT_HUGE_BODY || kind == SIM_FAULT_GZIP_BOMB;
}

static struct error *unknown_kind(struct bytes name) {
        struct buffer names;
        struct error *error;

        buffer_init(&names, 4096);
        for (int kind = SIM_FAULT_NONE + 1; kind < SIM_FAULT_KINDS; kind++)
                buffer_printf(&names, " %s", kinds[kind].name);
        error = error_new(ERROR_USAGE, "there is no fault \"%.*s\"; the kinds are%.*s", (int)name.size,
                          name.data, (int)names.size, names.data);
        buffer_deinit(&names);
        return error;
}

/* "KIND" or "KIND:PARAMETER"; `parameter` is empty for the default. */
static struct error *fault_parse(struct bytes name, struct bytes parameter, struct sim_fault *out_fault) {
        struct sim_fault fault = {.kind = kind_of(name)};

        if (fault.kind == SIM_FAULT_NONE)
                return unknown_kind(name);
        if (fault.kind == SIM_FAULT_USAGE_LIE)
                fault.parameter = LIE_FACTOR_DEFAULT;
        else if (takes_parameter(fault.kind))
                fault.parameter = HUGE_BYTES_DEFAULT;
        if (parameter.size != 0 &&
            (!takes_parameter(fault.kind) || !number_parse(parameter, &fault.parameter) ||
             fault.parameter > BYTES_MAX))
                return error_new(ERROR_USAGE, "fault \"%s\" cannot take \"%.*s\"", kinds[fault.kind].name,
                                 (int)parameter.size, parameter.data);
        *out_fault = fault;
        return NULL;
}

struct error *sim_faults_add_rate(struct sim_faults *faults, struct bytes text) {
        struct bytes rest, parameter = {0}, more;
        struct bytes name = cut_at_colon(text, &rest), rate_text = cut_at_colon(rest, &more);
        struct sim_fault_rate rate;
        struct error *error;
        double sum = 0;

        if (more.size != 0)
                parameter = rate_text, rate_text = more;
        error = fault_parse(name, parameter, &rate.fault);
        if (error != NULL)
                return error;
        if (!number_parse(rate_text, &rate.rate) || rate.rate > 1)
                return error_new(ERROR_USAGE, "fault \"%.*s\": expected KIND:RATE with a rate from 0 to 1",
                                 (int)text.size, text.data);
        for (size_t i = 0; i < faults->rates_count; i++)
                sum += faults->rates[i].rate;
        if (sum + rate.rate > 1.0000001)
                return error_new(ERROR_USAGE, "the rates of all faults together are more than 1");
        if (faults->rates_count == SIM_FAULT_RATES_MAX)
                return error_new(ERROR_USAGE, "more than %d faults", SIM_FAULT_RATES_MAX);
        faults->rates[faults->rates_count++] = rate;
        return NULL;
}

static struct error *append_script(struct sim_faults *faults, struct sim_fault_script script) {
        size_t capacity = faults->scripts_capacity == 0 ? 16 : faults->scripts_capacity * 2;
        struct sim_fault_script *scripts;

        if (faults->scripts_count == faults->scripts_capacity) {
                scripts = realloc(faults->scripts, capacity * sizeof(*scripts));
                if (scripts == NULL)
                        return error_new(ERROR_MEMORY, "no memory for the fault script");
                faults->scripts = scripts;
                faults->scripts_capacity = capacity;
        }
        faults->scripts[faults->scripts_count++] = script;
        return NULL;
}

static struct error *script_key(struct sim_fault_script *script, struct bytes key, yyjson_val *value) {
        struct bytes text = {yyjson_get_str(value), yyjson_get_len(value)}, parameter;

        if (bytes_equal_string(key, "fault") && yyjson_is_str(value)) {
                struct bytes name = cut_at_colon(text, &parameter);

                return fault_parse(name, parameter, &script->fault);
        }
        if (bytes_equal_string(key, "match") && yyjson_is_str(value))
                script->match = text;
        else if (bytes_equal_string(key, "nth") && yyjson_is_uint(value) && yyjson_get_uint(value) > 0)
                script->nth = yyjson_get_uint(value);
        else if (bytes_equal_string(key, "times") && yyjson_is_uint(value))
                script->times = yyjson_get_uint(value);
        else
                return error_new(ERROR_USAGE,
                                 "\"%.*s\": expected match (text), nth (1 or more), fault (a kind) or times "
                                 "(a number)",
                                 (int)key.size, key.data);
        return NULL;
}

struct error *sim_faults_add_script(struct sim_faults *faults, yyjson_val *rule) {
        struct sim_fault_script script = {.times = 1};
        struct error *error = NULL;
        size_t i, count;
        yyjson_val *key, *value;

        if (!yyjson_is_obj(rule))
                return error_new(ERROR_USAGE, "a rule of the script is a JSON object");
        yyjson_obj_foreach(rule, i, count, key, value) {
                error = script_key(&script, (struct bytes){yyjson_get_str(key), yyjson_get_len(key)}, value);
                if (error != NULL)
                        return error;
        }
        if (script.fault.kind == SIM_FAULT_NONE)
                return error_new(ERROR_USAGE, "a rule of the script names no \"fault\"");
        if (faults->scripts_count == SIM_FAULT_SCRIPTS_MAX)
                return error_new(ERROR_USAGE, "more than %d rules in the script", SIM_FAULT_SCRIPTS_MAX);
        if (script.match.size > 0) {
                script.match.data = bytes_dup(script.match);
                if (script.match.data == NULL)
                        return error_new(ERROR_MEMORY, "no memory for the fault script");
        } else {
                script.match.data = NULL;
        }
        error = append_script(faults, script);
        if (error != NULL)
                free((void *)(uintptr_t)script.match.data);
        return error;
}

static struct error *add_script_line(struct sim_faults *faults, struct bytes line) {
        yyjson_doc *doc = yyjson_read(line.data, line.size, YYJSON_READ_NOFLAG);
        struct error *error;

        if (doc == NULL)
                return error_new(ERROR_USAGE, "not JSON");
        error = sim_faults_add_script(faults, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
        return error;
}

static bool is_blank(struct bytes line) {
        for (size_t i = 0; i < line.size; i++)
                if (strchr(" \t\r", line.data[i]) == NULL)
                        return false;
        return true;
}

struct error *sim_faults_add_script_lines(struct sim_faults *faults, struct bytes text) {
        for (size_t at = 0, number = 1; at < text.size; number++) {
                const char *end = memchr(text.data + at, '\n', text.size - at);
                struct bytes line = {text.data + at,
                                     end == NULL ? text.size - at : (size_t)(end - text.data) - at};
                struct error *error = is_blank(line) ? NULL : add_script_line(faults, line);

                if (error != NULL)
                        return error_wrap(error, "line %zu", number);
                at += line.size + 1;
        }
        return NULL;
}

static struct error *fill_from_json(struct sim_faults *faults, yyjson_val *root) {
        yyjson_val *value;
        struct error *error;
        size_t i, count;

        yyjson_arr_foreach(yyjson_obj_get(root, "faults"), i, count, value) {
                error = sim_faults_add_rate(faults,
                                            (struct bytes){yyjson_get_str(value), yyjson_get_len(value)});
                if (error != NULL)
                        return error;
        }
        yyjson_arr_foreach(yyjson_obj_get(root, "script"), i, count, value) {
                error = sim_faults_add_script(faults, value);
                if (error != NULL)
                        return error;
        }
        return NULL;
}

struct error *sim_faults_replace(struct sim_faults *faults, struct bytes json) {
        yyjson_doc *doc = json.size == 0 ? NULL : yyjson_read(json.data, json.size, YYJSON_READ_NOFLAG);
        struct sim_faults fresh;
        struct error *error;

        if (!yyjson_is_obj(yyjson_doc_get_root(doc))) {
                yyjson_doc_free(doc);
                return error_new(ERROR_USAGE, "expected a JSON object with \"faults\" and \"script\"");
        }
        sim_faults_init(&fresh);
        error = fill_from_json(&fresh, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
        if (error != NULL) {
                sim_faults_deinit(&fresh);
                return error;
        }
        sim_faults_deinit(faults);
        *faults = fresh;
        return NULL;
}

static bool contains(struct bytes text, struct bytes part) {
        return text.size >= part.size && memmem(text.data, text.size, part.data, part.size) != NULL;
}

static bool script_hits(struct sim_fault_script *script, const struct sim_fault_subject *subject) {
        if (script->chosen && !key128_equal(script->identity, subject->identity))
                return false;
        if (script->match.size > 0 && !contains(subject->job, script->match) &&
            !contains(subject->body, script->match))
                return false;
        if (script->nth > 0 && !script->chosen) {
                if (subject->seen > 0 || ++script->matched < script->nth)
                        return false;
                script->chosen = true;
                script->identity = subject->identity;
        }
        return script->times == 0 || subject->seen < script->times;
}

struct sim_fault sim_faults_pick_rate(const struct sim_faults *faults, double draw) {
        double sum = 0;

        for (size_t i = 0; i < faults->rates_count; i++) {
                sum += faults->rates[i].rate;
                if (draw < sum)
                        return faults->rates[i].fault;
        }
        return (struct sim_fault){0};
}

struct sim_fault sim_faults_pick(struct sim_faults *faults, const struct sim_fault_subject *subject) {
        struct sim_fault fault = {0};

        for (size_t i = 0; i < faults->scripts_count; i++)
                if (script_hits(&faults->scripts[i], subject) && fault.kind == SIM_FAULT_NONE)
                        fault = faults->scripts[i].fault;
        return fault.kind != SIM_FAULT_NONE ? fault : sim_faults_pick_rate(faults, subject->draw);
}
