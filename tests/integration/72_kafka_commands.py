#!/usr/bin/env python3
"""submit, collect, topics and dead-letters against a real Kafka: what they write and read, and what they say when something is wrong."""
import atexit
import collections
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
from confluent_kafka import Producer

broker = kafka.Kafka()
ROLES = ("jobs", "results", "dead_letters", "state", "audit")


class Topics:
    """Names of topics that nobody else has, and the options that make the program use them."""

    def __init__(self):
        prefix = broker.prefix()
        self.options = ["--set", f"kafka.bootstrap.servers={broker.bootstrap}"]
        for role in ROLES:
            setattr(self, role, prefix + role)
            self.options += ["--set", f"topics.{role}={prefix}{role}"]
        self.names = [prefix + role for role in ROLES]

    def ferry(self, *words, code=0):
        return ferry.ferry(words[0], *self.options, *words[1:], code=code)

    def create(self):
        self.ferry("topics", "create", "--partitions", "4", "--replication", "1")
        broker.created += self.names
        return self

    def start(self, *words, **more):
        process = subprocess.Popen([ferry.BATCHFERRY, words[0], *self.options, *map(str, words[1:])], stderr=subprocess.PIPE, text=True, **more)
        atexit.register(process.kill)  # a test that fails leaves none behind
        return process


def murmur2_partition(key, partitions):
    """As in the Java client (org.apache.kafka.common.utils.Utils.murmur2)."""
    data, mask, m = key.encode(), 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    for i in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[len(data) // 4 * 4:]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * m) & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


def result(number, batch="b", code=None, key=None):
    return {"id": "bf_" + (key or f"{number:032x}"), "custom_id": f"job-{number:06}",
            "response": None if code else {"status_code": 200, "request_id": None, "body": {"n": number}},
            "error": {"code": code, "message": "no"} if code else None,
            "receipt": {"workspace": "default", "batch": batch, "provider": None, "model": None, "mode": "sync", "attempts": 1, "cost_usd": 0,
                        "list_cost_usd": 0, "estimated_cost_usd": None, "cost_is_estimate": False, "usage": {}, "queued_ms": 0, "provider_ms": 0, "replayed": False,
                        "fingerprint": "0" * 64, "decision": {}}}


def send_results(topics, results):
    broker.produce(topics.results, [(one["custom_id"], json.dumps(one)) for one in results])


# --- topics


def topics_are_made_and_checked():
    """All five with settings that `check` finds nothing wrong with; a second time nothing is changed."""
    topics = Topics()
    said, _ = topics.ferry("topics", "check", code=1)
    ferry.has(said, "does not exist", "batchferry topics create")
    said, _ = topics.ferry("topics", "create", "--partitions", "3", "--replication", "1")
    broker.created += topics.names
    assert said.count(": made, 3 partitions") == 5, said
    checked = json.loads(topics.ferry("topics", "check", "--json")[0])
    assert [topic["role"] for topic in checked["topics"]] == list(ROLES)
    assert all(topic["exists"] and topic["partitions"] == 3 and not topic["findings"] for topic in checked["topics"]), checked
    configs = {topic["role"]: topic["configs"] for topic in checked["topics"]}
    assert configs["state"]["cleanup.policy"] == "compact" and configs["jobs"]["cleanup.policy"] == "delete"
    assert int(configs["results"]["max.message.bytes"]) > 64 << 20 and int(configs["jobs"]["max.message.bytes"]) > 1 << 20
    said, _ = topics.ferry("topics", "create", "--partitions", "9")
    assert said.count("there already, 3 partitions") == 5, said
    # The limits of the configuration are what is checked against.
    said, _ = topics.ferry("topics", "check", "--set", "limits.job_bytes=8MiB", "--set", "idempotency.retention=60d", code=1)
    ferry.has(said, "smaller than limits.job_bytes", "shorter than idempotency.retention, 60d", "--add-config max.message.bytes=8454144")


def topics_made_wrongly_are_told():
    topics = Topics()
    broker.create_topics({
        topics.jobs: (6, {"cleanup.policy": "compact", "max.message.bytes": 1000}),
        topics.results: (2, {"retention.ms": 3600000, "retention.bytes": 5000}),
        topics.state: (3, {"cleanup.policy": "delete", "retention.ms": 60000}),
        topics.audit: (1, {}),
    })
    checked = json.loads(topics.ferry("topics", "check", "--json", code=1)[0])
    found = {topic["role"]: [(one["severity"], one["what"]) for one in topic["findings"]] for topic in checked["topics"]}

    def is_told(role, severity, what):
        assert any(one == severity and what in text for one, text in found[role]), (role, what, found)

    is_told("jobs", "error", "cleanup.policy is compact")
    is_told("jobs", "error", "max.message.bytes is 1000")
    is_told("results", "warning", "retention.ms is 1h")
    is_told("results", "warning", "retention.bytes is 5000")
    is_told("results", "warning", "smaller than limits.response_bytes")
    is_told("dead_letters", "error", "does not exist")
    is_told("state", "error", f"3 partitions, but {topics.jobs} has 6")
    is_told("state", "error", "cleanup.policy is delete, not compact")
    is_told("state", "error", "retention.ms is 1m")
    assert all(one["follows"] and one["mend"] for topic in checked["topics"] for one in topic["findings"])
    said, _ = topics.ferry("topics", "create", code=1)
    ferry.has(said, f"{topics.dead_letters}: made, 6 partitions", "3 partitions, but")
    broker.created.append(topics.dead_letters)


# --- submit


def jobs_are_sent_by_their_keys():
    topics = Topics().create()
    jobs = [ferry.chat(0), ferry.chat(1, batch="own"), ferry.chat(2, idempotency_key="ключ"), ferry.chat(3, batch="own", idempotency_key="k3"),
            {**ferry.chat(4), "batch": None}]
    ferry.write_jobs("jobs.jsonl", jobs)
    _, said = topics.ferry("submit", "jobs.jsonl")
    ferry.check_sentence(said, "5 jobs", topics.jobs, "4 partitions")
    records = {record.key.decode(): record for record in broker.read_committed(topics.jobs)}
    assert set(records) == {"jobs.jsonl/job-000000", "own/job-000001", "ключ", "k3", "jobs.jsonl/job-000004"}, set(records)
    for key, record in records.items():
        assert record.partition == murmur2_partition(key, 4), (key, record.partition)
        assert record.headers == [("content-type", b"application/json")], record.headers
        sent = json.loads(record.value, object_pairs_hook=lambda pairs: dict(pairs) if len({name for name, _ in pairs}) == len(pairs) else 1 / 0)
        job = jobs[int(sent["custom_id"][-1])]
        assert sent == {**job, "batch": job.get("batch") or "jobs.jsonl"}, sent
    # Again, in another encoding, from standard input, with another batch.
    done = subprocess.run([ferry.BATCHFERRY, "submit", "-", "--batch", "x", "--format", "msgpack", *topics.options], text=True,
                          input=json.dumps(jobs[0]) + "\n" + json.dumps(jobs[1]), capture_output=True, timeout=60)
    ferry.check_code(done, 0)
    packed = [record for record in broker.read_committed(topics.jobs) if record.headers == [("content-type", b"application/msgpack")]]
    assert sorted(record.key for record in packed) == [b"own/job-000001", b"x/job-000000"]
    assert all(record.value[0] & 0xF0 == 0x80 for record in packed)


def what_is_no_job_is_not_sent():
    topics = Topics().create()
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0), "nonsense", ferry.chat(1, colour="red"), ferry.chat(2)])
    said, told = topics.ferry("submit", "jobs.jsonl", "--dry-run", code=3)
    ferry.has(said, "2 jobs", "2 lines are no jobs", "Nothing was sent")
    _, told = topics.ferry("submit", "jobs.jsonl", "--strict", code=1)
    ferry.has(told, "nothing was sent")
    assert broker.read_committed(topics.jobs) == []
    _, told = topics.ferry("submit", "jobs.jsonl", code=3)
    ferry.has(told, "jobs.jsonl line 2: ", "jobs.jsonl line 3: colour: ", "2 jobs")
    assert len(broker.read_committed(topics.jobs)) == 2
    # Room for the batch must be left.
    ferry.write_jobs("long.jsonl", [ferry.chat(0, "x" * 900)])
    _, told = topics.ferry("submit", "long.jsonl", "--batch", "b" * 300, "--set", "limits.job_bytes=1100B", code=3)
    ferry.has(told, "limits.job_bytes")


def wrong_usage_is_one_sentence():
    topics = Topics().create()
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    _, told = ferry.ferry("submit", "jobs.jsonl", "--set", "kafka.bootstrap.servers=127.0.0.1:1", code=1)
    ferry.check_sentence(told, "bootstrap.servers", "127.0.0.1:1")
    _, told = topics.ferry("submit", "jobs.jsonl", "--set", "kafka.no.such=1", code=2)
    ferry.check_sentence(told, "no.such")
    _, told = topics.ferry("submit", "jobs.jsonl", "--set", "kafka.acks=1", code=2)
    ferry.check_sentence(told, "acks")
    _, told = topics.ferry("submit", "jobs.jsonl", "--set", f"topics.jobs={topics.jobs}-not", code=1)
    ferry.check_sentence(told, f"{topics.jobs}-not", "topics create")
    _, told = topics.ferry("submit", "nowhere.jsonl", code=1)
    ferry.check_sentence(told, "nowhere.jsonl")
    for words in (["collect"], ["collect", "-o", "-", "--follow", "--wait", "3"], ["topics"], ["topics", "mend"], ["dead-letters", "redrive"],
                  ["dead-letters", "show"], ["dead-letters", "list", "--code", "nonsense"], ["dead-letters", "redrive", "3"]):
        topics.ferry(*words, code=2)
    for words in (["submit"], ["collect"], ["topics"], ["dead-letters"]):
        assert len(ferry.ferry(*words, "--help")[0]) > 500


def jobs_wait_for_brokers():
    """The brokers go while jobs are sent: it is said, SIGTERM ends it with what was sent, and the same jobs sent again go on."""
    if not broker.is_ours:
        return
    topics = Topics().create()
    lines = [json.dumps(ferry.embedding(number)) + "\n" for number in range(200)]
    process = topics.start("submit", "-", stdin=subprocess.PIPE)
    process.stdin.writelines(lines[:100])
    process.stdin.flush()
    ferry.wait_for(lambda: len(broker.read_committed(topics.jobs)) == 100, "the first jobs")
    broker.stop(kill=True)
    try:
        process.stdin.writelines(lines[100:])
        process.stdin.flush()
        said = process.stderr.readline()
        ferry.check_sentence(said, "the brokers take nothing at the moment; waiting for them (", "refused")
        process.send_signal(signal.SIGTERM)
        assert process.wait(ferry.WAIT_S) == 130
        ferry.has(process.stderr.read(), "interrupted: 100 jobs", "send the file again to go on")
    finally:
        broker.start()
    ferry.write_jobs("jobs.jsonl", map(str.rstrip, lines))
    topics.ferry("submit", "jobs.jsonl")
    assert len(broker.read_committed(topics.jobs)) == 300


# --- collect


def results_are_collected():
    topics = Topics().create()
    results = [result(number, batch=f"b{number % 2}", code="no_provider" if number % 10 == 0 else None) for number in range(200)]
    send_results(topics, results)
    broker.produce(topics.results, [("x", "garbage"), ("y", None)])
    _, said = topics.ferry("collect", "-o", "all.jsonl", code=3)
    ferry.has(said, "200 results", "20 of them failed", "2 records")
    assert sorted(ferry.lines("all.jsonl"), key=lambda one: one["id"]) == results
    topics.ferry("collect", "-o", "some.jsonl", "--errors", "failed.jsonl", "--batch", "b0", code=3)
    ferry.check_succeeded(ferry.lines("some.jsonl"), [one["custom_id"] for one in results if one["receipt"]["batch"] == "b0" and not one["error"]])
    assert len(ferry.lines("failed.jsonl")) == 20
    said, _ = topics.ferry("collect", "-o", "-", "--batch", "b1", "--limit", "7")
    assert len(said.splitlines()) == 7
    said, _ = topics.ferry("collect", "-o", "-", "--since", "1970-01-01T00:00:01Z", code=3)
    assert len(said.splitlines()) == 200
    said, _ = topics.ferry("collect", "-o", "-", "--since", "2200-01-01T00:00:00Z")
    assert said == ""


def aborted_results_are_unseen():
    topics = Topics().create()
    producer = Producer(broker.client(**{"transactional.id": topics.results}))
    producer.init_transactions(ferry.WAIT_S)
    for number, end in enumerate((producer.commit_transaction, producer.abort_transaction, producer.commit_transaction, producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topics.results, json.dumps(result(number)), f"job-{number}", 0)
        producer.flush(ferry.WAIT_S)
        end(ferry.WAIT_S)
    producer.begin_transaction()  # and one that is open
    producer.produce(topics.results, json.dumps(result(9)), "job-9", 0)
    producer.flush(ferry.WAIT_S)
    assert len(broker.read_all(topics.results)) == 5
    topics.ferry("collect", "-o", "results.jsonl")
    ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000", "job-000002"])
    producer.abort_transaction(ferry.WAIT_S)
    topics.ferry("collect", "-o", "results.jsonl")
    ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000", "job-000002"])


def following_goes_on_until_it_is_stopped():
    topics = Topics().create()
    process = topics.start("collect", "-o", "results.jsonl", "--follow")
    for numbers in (range(5), range(5, 8)):
        send_results(topics, [result(number) for number in numbers])
        ferry.wait_for(lambda: ferry.count_lines("results.jsonl") == numbers.stop, f"{numbers.stop} results")
    process.send_signal(signal.SIGINT)
    assert process.wait(ferry.WAIT_S) == 130
    assert len(ferry.lines("results.jsonl")) == 8


def following_waits_for_brokers():
    """The brokers go while results are waited for: it is said, and what comes when they are back is written."""
    if not broker.is_ours:
        return
    topics = Topics().create()
    process = topics.start("collect", "-o", "results.jsonl", "--follow")
    send_results(topics, [result(0)])
    ferry.wait_for(lambda: ferry.count_lines("results.jsonl") == 1, "the first result")
    broker.stop(kill=True)
    try:
        ferry.check_sentence(process.stderr.readline(), "the brokers do not answer at the moment; waiting for them (")
    finally:
        broker.start()
    send_results(topics, [result(1)])
    ferry.wait_for(lambda: ferry.count_lines("results.jsonl") == 2, "the second result")
    process.send_signal(signal.SIGINT)
    assert process.wait(ferry.WAIT_S) == 130


def a_file_is_whole_or_not_there():
    topics = Topics().create()
    send_results(topics, [result(number) for number in range(5)])
    pathlib.Path("results.jsonl").write_text("from before\n")
    process = topics.start("collect", "-o", "results.jsonl", "--wait", "6")
    ferry.wait_for(lambda: os.path.exists("results.jsonl.part") and os.path.getsize("results.jsonl.part") > 0, "the first results")
    process.send_signal(signal.SIGINT)
    assert process.wait(ferry.WAIT_S) == 130
    assert pathlib.Path("results.jsonl").read_text() == "from before\n" and not os.path.exists("results.jsonl.part")
    ferry.has(process.stderr.read(), "interrupted", "nothing was written")
    process = topics.start("collect", "-o", "results.jsonl", "--wait", "6")
    send_results(topics, [result(5)])
    assert process.wait(ferry.WAIT_S) == 0
    assert len(ferry.lines("results.jsonl")) == 6


def the_jobs_of_a_file_are_waited_for():
    """Results and dead letters; each once; those that are missing are named."""
    topics = Topics().create()
    jobs = [ferry.chat(number) for number in range(4)]
    ferry.write_jobs("jobs.jsonl", jobs + [jobs[1], "nonsense"])
    topics.ferry("submit", "jobs.jsonl", code=3)
    _, said = topics.ferry("collect", "-o", "results.jsonl", "--jobs", "jobs.jsonl", "--timeout", "0s", code=3)
    ferry.has(said, "4 of 4 jobs have no result yet: job-000000, job-000001", "1 lines of jobs.jsonl are no jobs")
    # The names under which a worker settles jobs, as job_record.h has them.
    keys = [hashlib.sha256(b"batchferry/key/1\0default\0" + f"jobs.jsonl/job-{number:06}".encode()).hexdigest()[:32] for number in range(4)]
    process = topics.start("collect", "-o", "results.jsonl", "--errors", "failed.jsonl", "--jobs", "jobs.jsonl")
    send_results(topics, [result(number, key=keys[number]) for number in (0, 2, 0)] + [result(77)])
    sent = {record.key: record for record in broker.read_committed(topics.jobs)}
    letter = sent[b"jobs.jsonl/job-000003"]
    broker.produce(topics.dead_letters, [(letter.key, letter.value, [*letter.headers, ("batchferry-error-code", b"no_provider"),
                                                                     ("batchferry-error-message", b"nobody"), ("batchferry-job-id", b"job-000003")])])
    ferry.wait_for(lambda: os.path.exists("failed.jsonl.part") and os.path.exists("results.jsonl.part"), "the outputs")
    assert process.poll() is None
    send_results(topics, [result(1, key=keys[1])])
    assert process.wait(ferry.WAIT_S) == 3, process.stderr.read()
    ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{number:06}" for number in range(3)])
    failed, = ferry.lines("failed.jsonl")
    assert failed["custom_id"] == "job-000003" and failed["error"] == {"code": "no_provider", "message": "nobody"}, failed


# --- dead letters


def letters(count, code="no_provider", batch="b", start=0):
    """Records as a worker sets them aside."""
    ours = [("batchferry-error-code", code), ("batchferry-error-message", "a reason"), ("batchferry-origin-topic", "t"),
            ("batchferry-origin-partition", "1"), ("batchferry-origin-offset", "7"), ("__connect.errors.topic", "t")]
    return [(f"key-{number}", json.dumps(ferry.chat(number, batch=batch)) if code != "invalid_job" else f"garbage {number}",
             [("content-type", b"application/json"), ("traceparent", b"00-1"), *[(name, value.encode()) for name, value in ours]])
            for number in range(start, start + count)]


def sent_back(topics, until_end=True):
    """How often each key stands in the jobs topic."""
    return collections.Counter(record.key.decode() for record in broker.read_committed(topics.jobs, until_end))


def letters_are_listed_and_shown():
    topics = Topics().create()
    (place,) = broker.produce(topics.dead_letters, letters(1, "invalid_job", start=100))
    broker.produce(topics.dead_letters, letters(3) + letters(2, batch="other", start=50))
    said, _ = topics.ferry("dead-letters", "list")
    assert len(said.splitlines()) == 7 and said.count("no_provider") == 5, said
    ferry.has(said, "t/1-7", "a reason", "key-100", "invalid_job")
    listed = [json.loads(line) for line in topics.ferry("dead-letters", "list", "--json", "--batch", "other")[0].splitlines()]
    assert sorted(one["key"] for one in listed) == ["key-50", "key-51"] and not any(one["redriven"] for one in listed)
    assert ["traceparent", "00-1"] in listed[0]["headers"]
    for words, count in ((["--code", "invalid_job"], 1), (["--since", "1h"], 6), (["--until", "1h"], 0), (["--limit", "2"], 2)):
        assert len(topics.ferry("dead-letters", "list", "--json", *words)[0].splitlines()) == count, words
    said, told = topics.ferry("dead-letters", "show", f"{place[0]}-{place[1]}")
    assert said == "garbage 100\n"
    ferry.has(told, "batchferry-error-code: invalid_job")
    _, told = topics.ferry("dead-letters", "show", "0-999", code=1)
    ferry.check_sentence(told, "0-999")


def letters_are_sent_back_once():
    topics = Topics().create()
    places = broker.produce(topics.dead_letters, letters(1, "invalid_job", start=100) + letters(6))
    said, _ = topics.ferry("dead-letters", "redrive", "--code", "no_provider", "--dry-run")
    assert len(said.splitlines()) == 6 and sent_back(topics) == {}
    place = f"{places[0][0]}-{places[0][1]}"
    topics.ferry("dead-letters", "redrive", place)
    (record,) = broker.read_committed(topics.jobs)
    assert (record.key, record.value, record.partition) == (b"key-100", b"garbage 100", murmur2_partition("key-100", 4))
    assert record.headers == [("content-type", b"application/json"), ("traceparent", b"00-1"),
                              ("batchferry-redriven", f"{topics.dead_letters}/{place}".encode())], record.headers
    _, said = topics.ferry("dead-letters", "redrive", "--all")
    ferry.has(said, "6 dead letters were sent back", "1 were sent back before")
    for words in (["--all"], ["--since", "1h"], [place]):
        _, said = topics.ferry("dead-letters", "redrive", *words)
        ferry.has(said, "0 dead letters were sent back")
    assert set(sent_back(topics).values()) == {1} and len(sent_back(topics)) == 7
    # By the key of the job, not of the record.
    for record in broker.read_committed(topics.jobs):
        if record.key != b"key-100":
            assert record.partition == murmur2_partition(record.key.decode(), 4)
    listed = [json.loads(line) for line in topics.ferry("dead-letters", "list", "--json")[0].splitlines()]
    assert len(listed) == 7 and all(one["redriven"] for one in listed)
    # What comes back is a letter of its own.
    again = [record for record in broker.read_committed(topics.jobs) if record.key == b"key-3"]
    broker.produce(topics.dead_letters, [(again[0].key, again[0].value, [*again[0].headers, ("batchferry-error-code", b"no_provider")])])
    _, said = topics.ferry("dead-letters", "redrive", "--all")
    ferry.has(said, "1 dead letters were sent back")
    assert sent_back(topics)["key-3"] == 2
    latest = [record for record in broker.read_committed(topics.jobs) if record.key == b"key-3"][-1]
    assert [name for name, _ in latest.headers].count("batchferry-redriven") == 1


def letters_are_chosen():
    """By code, batch and time, all of which must hold; what is not chosen stays where it is."""
    topics = Topics().create()
    broker.produce(topics.dead_letters, letters(2, "no_provider", "a") + letters(2, "invalid_job", "a", 10) + letters(2, "no_provider", "b", 20))
    redrive = ("dead-letters", "redrive")
    for words, count in ((["--code", "no_provider", "--batch", "a", "--until", "1h"], 0), (["--code", "no_provider", "--batch", "c"], 0),
                         (["--code", "no_provider", "--batch", "a", "--since", "1h"], 2), (["--batch", "b", "--code", "invalid_job"], 0),
                         (["--batch", "b"], 2), (["--code", "invalid_job", "--since", "1h"], 2)):
        _, said = topics.ferry(*redrive, *words)
        ferry.has(said, f"{count} dead letters were sent back")
    assert sent_back(topics) == collections.Counter({f"key-{number}": 1 for number in (0, 1, 10, 11, 20, 21)})


def letters_are_sent_back_once_through_kills():
    """SIGKILL at any moment, two at the same time, again and again: in the end each is there exactly once."""
    topics = Topics().create()
    count, kills = 6000, 0
    broker.produce(topics.dead_letters, letters(count))
    random.seed(7)
    slow = ["--set", "kafka.linger.ms=20"]
    for round_number in range(12):
        before = sum(sent_back(topics, False).values())
        processes = [topics.start("dead-letters", "redrive", "--all", *slow) for _ in range(1 + round_number % 2)]
        # Not a wait for something: where in its work it is hit is left to chance.
        time.sleep(random.uniform(0.02, 0.6))
        for process in processes:
            kills += process.poll() is None
            process.kill()
            process.communicate()
        after = sent_back(topics, False)  # not waiting for the transaction that was killed
        assert set(after.values()) <= {1} and sum(after.values()) >= before, (before, collections.Counter(after.values()))
    assert kills > 0
    both = [topics.start("dead-letters", "redrive", "--all") for _ in range(2)]
    codes = [process.wait(ferry.WAIT_S) for process in both]
    assert set(codes) <= {0, 1}, codes
    topics.ferry("dead-letters", "redrive", "--all")
    found = sent_back(topics)
    assert len(found) == count and set(found.values()) == {1}, (len(found), collections.Counter(found.values()))
    _, said = topics.ferry("dead-letters", "redrive", "--all")
    ferry.has(said, "0 dead letters", f"{count} were sent back before")


if __name__ == "__main__":
    with broker:
        ferry.main([
            topics_are_made_and_checked, topics_made_wrongly_are_told, jobs_are_sent_by_their_keys, what_is_no_job_is_not_sent,
            wrong_usage_is_one_sentence, jobs_wait_for_brokers, results_are_collected, aborted_results_are_unseen, following_goes_on_until_it_is_stopped,
            following_waits_for_brokers, a_file_is_whole_or_not_there, the_jobs_of_a_file_are_waited_for, letters_are_listed_and_shown, letters_are_sent_back_once,
            letters_are_chosen, letters_are_sent_back_once_through_kills,
        ])
