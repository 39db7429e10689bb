#!/usr/bin/env python3
"""`batchferry worker` on a real Kafka: every way in, one result for each job, duplicates, state that is lost, stopping."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
import worker
from worker import Site, Worker

broker = kafka.Kafka()
SIM = ("--dimensions", "8", "--latency", "fixed:2ms")


def jobs_of(count, first=0, **more):
    return [ferry.embedding(number, **more) for number in range(first, first + count)]


def kcat(site, jobs):
    """One line for each; no key and no header."""
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    done = subprocess.run(["kcat", "-P", "-b", broker.bootstrap, "-t", site.jobs], input=lines, capture_output=True, text=True, timeout=ferry.WAIT_S)
    assert done.returncode == 0, done.stderr


def plain():
    """JSON by clients that know nothing else: no key, no headers, any partition."""
    jobs = jobs_of(3000)
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        if shutil.which("kcat"):
            kcat(site, jobs[:1000])
        else:
            site.send(jobs[:1000])
        with Worker() as one:
            site.send(jobs[1000:])
            site.wait_done(3000, [one])
            one.wait_metrics(jobs_succeeded_total=3000, partition_window=0, calls_in_flight=0)
            one.stop()
        assert sim.stats()["repeated"] == 0
        site.check_results(jobs)
        site.check_state(ferry.names(jobs))
        assert not site.read_dead_letters()


def encodings():
    """MessagePack with and without content-type, CloudEvents in both modes, the trace; results as MessagePack."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    jobs = jobs_of(6)
    event = {"specversion": "1.0", "id": "5", "source": "/there", "type": "job", "data": jobs[5]}
    records = [
        ("k0", worker.pack(jobs[0])),
        ("k1", worker.pack(jobs[1]), {"content-type": "application/msgpack"}),
        (None, json.dumps(jobs[2]), {"content-type": "application/json; charset=utf-8", "idempotency-key": "k2"}),
        (None, json.dumps(jobs[3]), {"ce_id": "3", "ce_source": "/here", "ce_type": "job", "ce_specversion": "1.0", "content-type": "application/json"}),
        ("k4", json.dumps(jobs[4]), {"traceparent": trace, "tracestate": "a=b"}),
        (None, json.dumps(event), {"content-type": "application/cloudevents+json"}),
    ]
    keys = [b"k0", b"k1", b"k2", b"/here/3", b"k4", b"/there/5"]
    with ferry.Sim(*SIM) as sim, Site(broker, sim, results={"encoding": "msgpack"}) as site:
        broker.produce(site.jobs, records)
        with Worker() as one:
            site.wait_done(6, [one])
            one.stop()
        assert sim.stats()["executed"] == 6
        results = {record.key: (record, message) for record, message in site.read_results()}
        assert sorted(results) == sorted(keys), results
        for record, _ in results.values():
            assert worker.header(record, "content-type") == b"application/msgpack", record
        worker.check_answers(sim, [(job, results[key][1]) for job, key in zip(jobs, keys)])
        traced = results[b"k4"][0]
        assert worker.header(traced, "traceparent") == trace.encode() and worker.header(traced, "tracestate") == b"a=b", traced.headers
        assert worker.header(results[b"k0"][0], "traceparent") is None
        assert not site.read_dead_letters()


def duplicates():
    """By other partitioners, without a key, with the key in a header or in the job: one call and one result for each key."""
    seed = random.getrandbits(32)
    print(f"  seed {seed}")
    dice, jobs = random.Random(seed), jobs_of(2000)
    records = worker.scattered(jobs, dice)
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        with Worker() as one:
            for third, settings in enumerate(({"partitioner": "consistent_random"}, worker.JAVA, {"partitioner": "fnv1a"})):
                broker.produce(site.jobs, records[third::3], settings)
            site.wait_done(len(jobs), [one])
            broker.produce(site.jobs, worker.scattered(jobs[:50], dice))  # all have ended
            more = jobs_of(50, first=5000)
            site.send(more)
            site.wait_done(len(jobs) + 50, [one])
            one.wait_metrics(partition_window=0)
            # what was sent home comes a little later
            ferry.wait_for(lambda: one.metric("batchferry_duplicates_total") >= 400 + 50, "the duplicates")
            assert one.metric("batchferry_rehomed_total") > 500
            one.stop()
        assert sim.stats()["executed"] == len(jobs) + 50 and sim.stats()["repeated"] == 0, sim.stats()
        site.check_results(jobs + more)
        site.check_state(ferry.names(jobs + more))
        assert not site.read_dead_letters()


def lost_state():
    """The directory is gone, or belongs to another worker: the state topic knows all that was done."""
    jobs, bad = jobs_of(1000), ["rubbish", "{"]
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        site.send(jobs, keyed=True)
        broker.produce(site.jobs, [("bad", value) for value in bad])
        with Worker() as one:
            site.wait_done(len(jobs) + 2, [one])
            one.stop()
        assert sim.stats()["executed"] == len(jobs)
        for state, kill in (("second", True), ("third", False), ("state", False)):
            site.send(jobs, keyed=True)
            site.send(jobs[:100])
            with Worker("batchferry.yaml", state) as one:
                site.wait_committed([one])
                one.wait_metrics(duplicates_total=len(jobs) + 100, partition_window=0)
                if kill:
                    one.kill()
                else:
                    one.stop()
            assert sim.stats()["requests"] == len(jobs), sim.stats()
        more = jobs_of(10, first=9000)
        site.send(more)
        with Worker("batchferry.yaml", "fourth") as one:
            site.wait_done(len(jobs) + 2 + len(more), [one])
            one.stop()
        site.check_results(jobs + more)
        assert len(site.read_dead_letters()) == 2
        site.check_state(ferry.names(jobs + more))


def drain():
    """SIGTERM finishes what is under way and another worker goes on at once; a second SIGTERM stops, and nothing is lost."""
    jobs = jobs_of(400)
    with ferry.Sim("--dimensions", "8", "--latency", "fixed:700ms") as sim, Site(broker, sim, limits={"in_flight": 40}) as site:
        site.send(jobs)
        with Worker() as one:
            ferry.wait_for(lambda: sim.stats()["in_flight"] > 20, "calls")
            one.stop()
        stats = sim.stats()
        assert stats["in_flight"] == 0 and stats["clients_gone"] == 0 and stats["answered"] == stats["requests"], stats
        done = len(site.ended())
        assert done >= 20, done
        assert len(site.read_results()) == stats["answered"]
        with Worker("batchferry.yaml", "second") as two:
            site.wait_ended(done + 20, [two])
            two.signal(15)
            ferry.wait_for(lambda: "once more stops at once" in two.log(), "the sentence")
            two.stop(130)
        aborted = sim.stats()["clients_gone"]
        with Worker("batchferry.yaml", "second") as two:
            site.wait_done(len(jobs), [two])
            two.stop()
        calls = sim.calls()
        repeated = sum(call["seen"] - 1 for call in calls)
        print(f"  {repeated} calls came again, {aborted} were given up")
        twice = [call for call in calls if call["answered"] > 1]
        assert repeated <= 40 and len(twice) <= repeated - aborted, twice  # answered at the moment of the stop, and not read any more
        site.check_results(jobs)


def stopped_while_it_starts():
    """SIGTERM at any moment of the start is an orderly stop too, whatever a slow machine or broker makes of it."""
    with ferry.Sim("--dimensions", "8") as sim, Site(broker, sim) as site:
        for delay_ms in (0, 10, 30, 60, 100, 150, 250, 400):
            with Worker() as one:
                time.sleep(delay_ms / 1000)
                one.stop()
        jobs = jobs_of(20)
        site.send(jobs)
        with Worker() as one:
            site.wait_done(len(jobs), [one])
            one.stop()
        site.check_results(jobs)


def stopped_without_broker():
    """The broker is down, or answers no more, while results wait for it: two SIGTERM end the worker all the same, and nothing is lost."""
    if not broker.is_ours:
        return
    jobs = jobs_of(400)
    with ferry.Sim("--dimensions", "8", "--latency", "fixed:700ms") as sim, Site(broker, sim, limits={"in_flight": 40}) as site:
        site.send(jobs)
        for frozen in (False, True):
            node = int((broker.directory / "pid").read_text().split()[0])
            before = len(site.ended())
            with Worker() as one:
                site.wait_ended(before + 20, [one])
                answered = sim.stats()["answered"]
                broker.stop(kill=True) if not frozen else os.kill(node, signal.SIGSTOP)
                try:
                    ferry.wait_for(lambda: sim.stats()["answered"] > answered, "an answer that nobody takes")
                    time.sleep(1)
                    one.signal(signal.SIGTERM)
                    ferry.wait_for(lambda: "once more stops at once" in one.log(), "the sentence")
                    one.stop(130)
                finally:
                    broker.start() if not frozen else os.kill(node, signal.SIGCONT)
        with Worker() as two:
            site.wait_done(len(jobs), [two])
            two.stop()
        site.check_results(jobs)
        assert sim.stats()["repeated"] <= 80, sim.stats()


def handed_over():
    """A worker that comes and one that goes: partitions move, calls under way are kept or finished, and nothing is called twice."""
    jobs = jobs_of(3000)
    with ferry.Sim("--dimensions", "8", "--latency", "fixed:100ms") as sim, Site(broker, sim) as site:
        site.send(jobs)
        with Worker("batchferry.yaml", "a") as a:
            site.wait_ended(200, [a])
            with Worker("batchferry.yaml", "b") as b, Worker("batchferry.yaml", "c") as c:
                for one in (b, c):
                    one.wait_ready()
                site.wait_ended(1200, [a, b, c])
                a.stop()
                site.wait_ended(1800, [b, c])
                b.stop()
                site.wait_done(len(jobs), [c])
                c.stop()
        stats = sim.stats()
        print(f"  {stats['repeated']} calls came again, {stats['answered_repeated']} after an answer")
        assert stats["repeated"] == 0, stats
        site.check_results(jobs)
        site.check_state(ferry.names(jobs))


def long_calls():
    """Calls that take longer than max.poll.interval.ms, which fill the window: the worker stays in its group."""
    jobs = jobs_of(15)
    kafka_settings = {"max.poll.interval.ms": worker.SESSION_MS}
    with ferry.Sim("--dimensions", "8", "--latency", f"fixed:{worker.SESSION_MS + 2000}ms") as sim:
        with Site(broker, sim, partitions=1, kafka=kafka_settings, limits={"in_flight": len(jobs)}) as site:
            site.send(jobs)
            with Worker() as one:
                site.wait_done(len(jobs), [one])
                assert one.metric("batchferry_rebalances_total") == 1
                one.stop()
            assert sim.stats()["repeated"] == 0, sim.stats()
            site.check_results(jobs)


def drain_has_a_limit():
    """A call that would take longer than anybody waits here; its job is another worker's then."""
    job = ferry.embedding(0)
    with ferry.Sim("--dimensions", "8") as sim, Site(broker, sim, partitions=1, worker={"drain": "1s"}) as site:
        sim.set_faults(script=[{"match": "text 0", "fault": "hang", "times": 1}])
        site.send([job])
        with Worker() as one:
            ferry.wait_for(lambda: sim.stats()["in_flight"] == 1, "the call")
            one.stop(130)
        sim.set_faults()
        assert not site.ended()
        with Worker("batchferry.yaml", "second") as two:
            site.wait_done(1, [two])
            two.stop()
        site.check_results([job])


def straggler_of(site, sim, others):
    """A worker whose one slow job of a single partition was parked: the offsets have gone on without it."""
    slow = ferry.embedding(0, body={"model": "m", "input": "slowpoke"})
    sim.set_faults(script=[{"match": "slowpoke", "fault": "slow-body", "times": 1}])
    one = Worker()
    site.send([slow] + others)
    site.wait_done(len(others), [one])
    one.wait_metrics(partition_parked=1, calls_in_flight=1)
    state = site.read_state()[(0, b"job-000000")]
    assert [message["t"] for message in state] == ["p"] and json.loads(state[0]["rv"]) == slow, state
    site.send([slow])  # a duplicate of what is parked and under way
    site.wait_committed([one])
    return one, slow


def straggler_after_crash(state):
    others = jobs_of(300, first=1)
    with ferry.Sim("--dimensions", "8", "--slow-body-rate", "1") as sim, Site(broker, sim, partitions=1, worker={"park_after": "1s"}) as site:
        one, slow = straggler_of(site, sim, others)
        assert len(site.ended()) == len(others) and sim.stats()["executed"] == len(others) + 1
        one.kill()
        with Worker("batchferry.yaml", state) as two:
            site.wait_done(len(others) + 1, [two])
            two.wait_metrics(partition_parked=0)
            site.send([slow])
            site.wait_committed([two])
            two.stop()
        assert sim.stats()["executed"] == len(others) + 2, sim.stats()
        sim.set_faults()
        site.check_results([slow] + others)
        site.check_state(ferry.names([slow] + others))


def straggler():
    """One slow job does not hold the offsets behind it; after a crash it comes back from the store."""
    straggler_after_crash("state")


def straggler_without_store():
    """The same, from the state topic alone."""
    straggler_after_crash("another")


def reload():
    """SIGHUP: a catalog that follows is taken under way, a bad file is not; nothing is lost or called twice."""
    jobs = jobs_of(200)
    path = pathlib.Path("batchferry.yaml")
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        with Worker() as one:
            one.wait_ready()
            site.send(jobs[:100])
            site.wait_done(100, [one])
            path.write_text("providers: [")
            one.signal(signal.SIGHUP)
            ferry.wait_for(lambda: "was not reloaded" in one.log(), "the bad file to be refused")
            assert "batchferry.yaml:" in one.log(), one.log()
            site.configure(routing={"unknown_price": "allow", "spread": 0.5})
            one.signal(signal.SIGHUP)
            ferry.wait_for(lambda: " follows " in one.log(), "the new catalog to be taken")
            site.send(jobs[100:])
            site.wait_done(200, [one])
            one.stop()
        assert sim.stats()["repeated"] == 0
        site.check_results(jobs)
        catalogs = [message["receipt"]["decision"]["catalog"] for _, message in site.read_results()]
        assert sorted(catalogs.count(name) for name in set(catalogs)) == [100, 100], catalogs


if __name__ == "__main__":
    with broker:
        ferry.main([plain, encodings, duplicates, lost_state, drain, drain_has_a_limit, stopped_while_it_starts, stopped_without_broker, handed_over, long_calls, straggler, straggler_without_store, reload])
