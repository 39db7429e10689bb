#include "broker/loop/member.h"

#include "broker/base/time.h"
#include "broker/ops/log.h"

#include <stdio.h>
#include <stdlib.h>

struct member {
        struct member_options options;
        struct board board;
        struct job_decoder *decoder;
        struct record_intake *intake;
        struct shard *shard;
        struct consumer *consumer;
        struct publisher *publisher;
        struct restorer *restorer;
        char client_id[64];
};

static struct error *open_consumer(struct member *member) {
        struct consumer_options options = {.properties = member->options.properties,
                                           .topic = member->options.topic_jobs,
                                           .client_id = member->client_id,
                                           .event_fd = shard_event_fd(member->shard)};
        return consumer_open(&options, &member->consumer);
}

static struct error *open_publisher(struct member *member) {
        const struct member_options *options = &member->options;
        struct publisher_options publisher = {.store = options->shard.committer.store,
                                              .board = &member->board,
                                              .consumer = member->consumer,
                                              .properties = options->properties,
                                              .topic_jobs = options->topic_jobs,
                                              .topic_results = options->topic_results,
                                              .topic_dead_letters = options->topic_dead_letters,
                                              .topic_state = options->topic_state,
                                              .topic_audit = options->topic_audit,
                                              .audit_partitions = options->audit_partitions,
                                              .transactional_id = options->name,
                                              .client_id = member->client_id,
                                              .group_id = options->group_id,
                                              .results_bytes_max = options->results_bytes_max,
                                              .dead_letters_bytes_max = options->dead_letters_bytes_max,
                                              .catalog = options->shard.catalog,
                                              .interval_ns = options->interval_ns,
                                              .msgpack = options->msgpack,
                                              .keep_results = options->keep_for_ns > 0,
                                              .complete = committer_complete,
                                              .fail = committer_fail,
                                              .complete_userdata = shard_committer(member->shard),
                                              .event_fd = shard_event_fd(member->shard),
                                              .fault = options->fault,
                                              .fault_userdata = options->fault_userdata};
        struct error *error = publisher_new(&publisher, &member->publisher);
        if (!error)
                committer_publish_to(shard_committer(member->shard), member->publisher);
        return error;
}

static struct error *open_restorer(struct member *member) {
        struct restore_options options = {.store = member->options.shard.committer.store,
                                          .consumer = member->consumer,
                                          .properties = member->options.properties,
                                          .topic_state = member->options.topic_state,
                                          .client_id = member->client_id,
                                          .event_fd = shard_event_fd(member->shard),
                                          .keep_for_ns = member->options.keep_for_ns,
                                          .retention_ns = member->options.retention_ns};
        return restorer_new(&options, &member->restorer);
}

static struct error *open_shard(struct member *member) {
        struct shard_options options = member->options.shard;
        struct record_intake_options intake = {.store = options.committer.store,
                                               .board = &member->board,
                                               .decoder = &member->decoder,
                                               .member = member->options.name,
                                               .session_ns = member->options.session_ns,
                                               .park_after_ns = member->options.park_after_ns,
                                               .park_bytes_max = member->options.state_bytes_max,
                                               .home_bytes_max = member->options.jobs_bytes_max,
                                               .leave_ns = member->options.leave_ns,
                                               .retention_ns = member->options.retention_ns,
                                               .republish = member->options.republish};
        struct error *error = record_intake_new(&intake, &member->intake);
        options.intake_ops = &record_intake_ops;
        options.intake = member->intake;
        options.endless = true;
        options.audited = member->options.topic_audit != NULL;
        return error ? error : shard_new(&options, &member->shard);
}

struct error *member_open(const struct member_options *options, struct member **out_member) {
        struct member *member = calloc(1, sizeof(*member));
        if (!member)
                return error_new(ERROR_MEMORY, "no memory for a shard");
        member->options = *options;
        snprintf(member->client_id, sizeof(member->client_id), "batchferry-%.40s", options->name);
        struct error *error = job_decoder_new(&options->decoder, &member->decoder);
        if (!error)
                error = open_shard(member);
        if (!error)
                error = open_consumer(member);
        if (!error)
                error = open_publisher(member);
        if (!error)
                error = open_restorer(member);
        if (error) {
                member_close(member, NS_PER_S);
                return error;
        }
        record_intake_connect(member->intake, member->consumer, member->publisher, member->restorer);
        *out_member = member;
        return NULL;
}

enum shard_end member_run(struct member *member, struct error **out_error) {
        return shard_run(member->shard, out_error);
}

void member_drain(struct member *member) {
        shard_drain(member->shard);
}

void member_stop(struct member *member) {
        shard_stop(member->shard);
}

struct member *member_close(struct member *member, int64_t limit_ns) {
        if (!member)
                return NULL;
        restorer_free(member->restorer);
        if (member->publisher)
                publisher_stop(member->publisher); /* it tells the committer, which hands on to it */
        if (member->intake)
                record_intake_disconnect(member->intake);
        consumer_close(member->consumer, limit_ns); /* it writes to the shard's event_fd */
        shard_free(member->shard);
        publisher_free(member->publisher);
        record_intake_free(member->intake);
        job_decoder_free(member->decoder);
        free(member);
        return NULL;
}

struct shard *member_shard(struct member *member) {
        return member->shard;
}

const struct record_intake *member_intake(const struct member *member) {
        return member->intake;
}

void member_publisher_stats(struct member *member, struct publisher_stats *out_stats) {
        publisher_get_stats(member->publisher, out_stats);
}
