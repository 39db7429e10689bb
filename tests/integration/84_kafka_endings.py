#!/usr/bin/env python3
"""Every way for a record to end other than well, on a real Kafka: each where messages.md says, and nothing stalls behind it."""
import collections
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
import worker
from worker import Site, Worker

broker = kafka.Kafka()
SIM = ("--dimensions", "8")
HEADERS = [("content-type", b"application/json"), ("x-mine", b"\0\xff"), ("x-mine", b"again")]
LATE = "2020-01-01T00:00:00Z"


def poison():
    """[(value, part of the reason)]: what is no job."""
    job = ferry.embedding(1)
    nested = "[" * 100 + "]" * 100
    return [
        (b"\xff\xfe rubbish", ""), (b"{", ""), (b"", "no value"), (None, "no value"), (b"[]", ""), (b"null", ""), (b"\0\0\0\0\x01{}", "schema registry"),
        (b'{"custom_id":"a","custom_id":"b"}', "custom_id"), (nested.encode(), ""), (json.dumps({**job, "colour": "red"}).encode(), "colour"),
        (json.dumps({**job, "custom_id": ""}).encode(), "custom_id"), (b'{"custom_id":"\xc3\x28"}', ""),
    ]


def check_dead_letter(site, letter, place, record, code, said=""):
    """`record` as it was produced, at `place`; the letter has it unchanged, ours behind it, Connect's names too."""
    key, value, headers = record
    partition, offset = place
    assert (letter.key, letter.value) == (key, value), (letter, record)
    count = len(headers)
    assert letter.headers[:count] == headers, (letter.headers, headers)
    ours = letter.headers[count:]
    assert all(name.startswith(("batchferry-", "__connect.errors.")) for name, _ in ours), ours
    assert len({name for name, _ in ours}) == len(ours), f"a header twice: {ours}"
    values = {name: value.decode() for name, value in ours}
    for names in (("batchferry-origin-{}", ""), ("__connect.errors.{}", "")):
        assert values[names[0].format("topic")] == site.jobs
        assert values[names[0].format("partition")] == str(partition) and values[names[0].format("offset")] == str(offset), values
    assert values["batchferry-error-code"] == values["__connect.errors.exception.class.name"] == code, values
    assert values["batchferry-error-message"] == values["__connect.errors.exception.message"], values
    ferry.has(values.get("batchferry-error-field", "") + " " + values["batchferry-error-message"], said)
    return values


def by_place(letters):
    return {(int(worker.header(letter, "batchferry-origin-partition")), int(worker.header(letter, "batchferry-origin-offset"))): letter for letter in letters}


def no_jobs():
    """Rubbish of every kind, in JSON and in MessagePack; the jobs between and behind it are done."""
    packed = worker.pack(ferry.embedding(2))
    rubbish = [((b"key", value, HEADERS), said) for value, said in poison()]
    rubbish += [((None, packed[:cut], [("content-type", b"application/msgpack")]), "") for cut in (1, 20, len(packed) - 1)]
    rubbish += [((None, packed + b"\xc0", [("content-type", b"application/msgpack")]), "")]
    jobs = [ferry.embedding(100 + number) for number in range(len(rubbish) + 1)]
    records = []
    for job, (record, _) in zip(jobs, rubbish):
        records += [(None, json.dumps(job), None, 0), (*record, 0)]
    records.append((None, json.dumps(jobs[-1]), None, 0))
    with ferry.Sim(*SIM) as sim, Site(broker, sim, partitions=1) as site:
        places = broker.produce(site.jobs, records)
        with Worker() as one:
            site.wait_done(len(records), [one])
            one.stop()
        with Worker() as again:  # remembered: nothing comes twice
            more = [ferry.embedding(500)]
            site.send(more)
            site.wait_done(len(records) + 1, [again])
            again.stop()
        site.check_results(jobs + more)
        letters = by_place(site.read_dead_letters())
        assert len(letters) == len(rubbish) == len(site.read_dead_letters())
        for place, (record, said) in zip(places[1::2], rubbish):
            check_dead_letter(site, letters[place], place, record, "invalid_job", said)


def refused():
    """Jobs that nobody here may or can do: the model, the endpoint, the size, streaming."""
    text = "x" * 5000
    jobs = {
        "no_provider": ferry.embedding(1, body={"model": "nobody", "input": "a"}),
        "unsupported_endpoint": ferry.embedding(2, url="/v1/horoscopes"),
        "input_too_large": ferry.embedding(3, body={"model": "m", "input": text}),
        "invalid_job": ferry.embedding(4, body={"model": "m", "input": "a", "stream": True}),
    }
    good = [ferry.embedding(10), ferry.embedding(11)]
    records = [(None, json.dumps(job).encode(), HEADERS) for job in jobs.values()]
    with ferry.Sim(*SIM) as sim, Site(broker, sim, partitions=1) as site:
        site.settings["limits"]["job_bytes"] = 4096
        site.configure()
        site.send(good[:1])
        places = broker.produce(site.jobs, records)
        site.send(good[1:])
        with Worker() as one:
            site.wait_done(len(records) + 2, [one])
            one.wait_metrics(dead_letters_total=len(records), jobs_failed_total=len(records))
            found = one.metrics()["batchferry_jobs_failed_total"]
            assert all(found[f'code="{code}"'] == 1 for code in jobs), found
            one.stop()
        assert sim.stats()["requests"] == 2
        site.check_results(good)
        letters = by_place(site.read_dead_letters())
        for place, record, (code, job) in zip(places, records, jobs.items()):
            values = check_dead_letter(site, letters[place], place, record, code)
            if code != "input_too_large":
                assert values["batchferry-job-id"] == job["custom_id"]


def larger_than_a_topic_takes():
    """A record that the jobs topic takes and the dead-letter topic does not; an answer that the results topic does not."""
    job = ferry.embedding(1, body={"model": "m", "input": "a", "dimensions": 4096})
    topics = {"jobs": {"max.message.bytes": 3000000}, "dead_letters": {"max.message.bytes": 1000000}, "results": {"max.message.bytes": 20000}}
    good = [ferry.embedding(10), ferry.embedding(11)]
    with ferry.Sim(*SIM) as sim, Site(broker, sim, partitions=1, topics=topics) as site:
        site.send(good[:1])
        large = {"message.max.bytes": 3000000}
        place = broker.produce(site.jobs, [("k", b"\xff" * 2000000, HEADERS), ("k", b"\xff" * 999000, HEADERS)], large)
        site.send([job] + good[1:])
        with Worker() as one:
            site.wait_done(5, [one])
            one.stop()
        results = {message["custom_id"]: message for _, message in site.read_results()}
        worker.check_answers(sim, [(one, results.pop(one["custom_id"])) for one in good])
        short = results.pop(job["custom_id"])
        assert short["error"]["code"] == "provider_error" and short["response"] is None and not results, short
        ferry.has(short["error"]["message"], "max.message.bytes")
        letters = by_place(site.read_dead_letters())
        for letter in (letters[place[0]], letters[place[1]]):
            assert letter.value is None and letter.key == b"k", len(letter.value or b"")
            assert worker.header(letter, "batchferry-error-code") in (b"invalid_job", b"input_too_large"), letter.headers


def too_large_to_go_home():
    """A record that its key's partition cannot take, by the bound of the producer: a dead letter, where it would be done twice or hold up its shard."""
    large = ferry.embedding(1, body={"model": "m", "input": "x " * 100000})
    good = [ferry.embedding(number) for number in range(10, 30)]
    with ferry.Sim(*SIM) as sim, Site(broker, sim, kafka={"message.max.bytes": 100000}) as site:
        broker.produce(site.jobs, [(None, json.dumps(large), None, partition) for partition in range(4)])
        site.send(good)
        with Worker() as one:
            site.wait_done(4 + len(good), [one])
            one.stop()
        assert sim.stats()["executed"] == 1 + len(good)
        site.check_results(good + [large])
        letters = site.read_dead_letters()
        assert [worker.header(letter, "batchferry-error-code") for letter in letters] == [b"input_too_large"] * 3, letters
        ferry.has(worker.header(letters[0], "batchferry-error-message").decode(), "murmur2", "max.message.bytes")
        refused = Worker("batchferry.yaml", "state", "--set", "kafka.message.max.bytes=50000")
        refused.ended(2)
        ferry.has(refused.log(), "kafka.message.max.bytes is 50000")


def topic_made_smaller():
    """A topic takes less than it did when the worker started: the worker ends and says so, and the next one goes on with what was answered."""
    job = ferry.embedding(1, body={"model": "m", "input": "a", "dimensions": 4096})
    with ferry.Sim(*SIM) as sim, Site(broker, sim, partitions=1) as site:
        with Worker() as one:
            one.wait_ready()
            broker.configure_topic(site.results, {"max.message.bytes": 5000})
            site.send([job])
            one.ended(1)
            ferry.has(one.log(), "max.message.bytes", "Start the worker again")
        with Worker() as two:
            site.wait_done(1, [two])
            two.stop()
        assert [message["error"]["code"] for _, message in site.read_results()] == ["provider_error"]
        assert sim.stats()["executed"] == 1


def jobs_topic_made_anew():
    """Records that have the places of others, from before the topic was deleted, are records of their own; jobs that were done stay done."""
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        done = []
        for state in ("state", "state", "fresh"):
            jobs = [ferry.embedding(len(done) + number) for number in range(40)]
            site.send(done[:10] + jobs)
            broker.produce(site.jobs, [(None, "rubbish", None, partition) for partition in range(4)])
            done += jobs
            with Worker("batchferry.yaml", state) as one:
                site.wait_done(len(done) * 44 // 40, [one])
                one.stop()
            site.make_anew("jobs")
        assert sim.stats()["executed"] == len(done)
        site.check_results(done)
        assert len(site.read_dead_letters()) == 12


def conflicts():
    """The same key with another body, while the first is under way and after it has ended: the first is untouched."""
    first, other = ferry.embedding(1, idempotency_key="one"), ferry.embedding(2, idempotency_key="one")
    again = {**first, "metadata": {"sent": "twice"}}  # the same job: only endpoint and body count
    third, fourth = ferry.embedding(3, idempotency_key="one"), ferry.embedding(4, idempotency_key="one")
    with ferry.Sim(*SIM, "--latency", "fixed:300ms") as sim, Site(broker, sim) as site:
        with Worker() as one:
            site.send([first, other, again, again, ferry.embedding(10)], keyed=True)
            site.wait_done(3, [one])
            site.send([third, again, ferry.embedding(11)], keyed=True)
            site.wait_done(5, [one])
            one.stop()
        with Worker() as two:
            site.send([fourth, ferry.embedding(12)], keyed=True)
            site.wait_done(7, [two])
            two.stop()
        assert sim.stats()["executed"] == 4
        site.check_results([first] + [ferry.embedding(number) for number in (10, 11, 12)])
        letters = site.read_dead_letters()
        assert [json.loads(letter.value)["custom_id"] for letter in letters] == ["job-000002", "job-000003", "job-000004"]
        assert {worker.header(letter, "batchferry-error-code") for letter in letters} == {b"idempotency_conflict"}
        assert {letter.key for letter in letters} == {b"one"}
        site.check_state(["one"])


def conflict_with_one_that_rests():
    """The first is not due for long, and leaves memory once it is parked. Another body that comes meanwhile, or then, finds the key taken."""
    first = ferry.embedding(1, idempotency_key="one", not_before="2100-01-01T00:00:00Z")
    other, third = ferry.embedding(2, idempotency_key="one"), ferry.embedding(3, idempotency_key="one")
    with ferry.Sim(*SIM) as sim, Site(broker, sim, partitions=1, commit={"interval": "8s"}) as site:
        with Worker() as one:
            one.wait_ready()
            site.send([first])
            one.wait_metrics(jobs_total=1)
            time.sleep(2)  # the worker looks for what rests once a second; it is not published yet
            site.send([other])
            one.wait_metrics(jobs_total=2)
            site.wait_done(1, [one])
            assert sim.stats()["requests"] == 0, f"the other one was called: {site.read_results()}"
            one.wait_metrics(partition_parked=1, jobs_inside=0)
            site.send([third])
            site.wait_done(2, [one])
            one.stop()
        assert sim.stats()["requests"] == 0 and not site.read_results()
        letters = site.read_dead_letters()
        assert [json.loads(letter.value)["custom_id"] for letter in letters] == ["job-000002", "job-000003"]
        assert {worker.header(letter, "batchferry-error-code") for letter in letters} == {b"idempotency_conflict"}
        assert sum(site.parked().values()) == 1


def results_of_failures():
    """What was accepted ends as a result, whatever its end: too late, refused by the provider, never answered well."""
    jobs = [ferry.embedding(0)] + [ferry.chat(1, "late", deadline=LATE), ferry.chat(2, "rejected"), ferry.chat(3, "broken"), ferry.chat(4, "good")]
    rules = [{"match": "rejected", "fault": "400", "times": 0}, {"match": "broken", "fault": "500", "times": 0}]
    retry = {"attempts": 3, "backoff": {"base": "10ms", "cap": "50ms"}, "budget": "1000%"}
    with ferry.Sim(*SIM) as sim, Site(broker, sim, partitions=1, retry=retry) as site:
        sim.set_faults(script=rules)
        site.send(jobs)
        with Worker() as one:
            site.wait_done(len(jobs), [one])
            one.stop()
        results = {message["custom_id"]: message for _, message in site.read_results()}
        assert len(results) == len(site.read_results()) == len(jobs) and not site.read_dead_letters()
        outcome = {name: (result["error"] and result["error"]["code"], result["response"] and result["response"]["status_code"])
                   for name, result in results.items()}
        assert outcome == {"job-000000": (None, 200), "job-000001": ("deadline_exceeded", None), "job-000002": (None, 400),
                           "job-000003": ("attempts_exhausted", 500), "job-000004": (None, 200)}, outcome
        site.check_state(ferry.names(jobs))
        assert collections.Counter(call["seen"] for call in sim.calls()) == {1: 3, 3: 1}, sim.calls()


if __name__ == "__main__":
    with broker:
        ferry.main([no_jobs, refused, larger_than_a_topic_takes, too_large_to_go_home, topic_made_smaller, jobs_topic_made_anew, conflicts, conflict_with_one_that_rests, results_of_failures])
