#!/usr/bin/env python3
"""
The audit topic: a record for each call and refusal in whole chains, also through SIGKILL; a forged record is found. And zero retention on Kafka: of a job
with zdr nothing is on a disk of ours or in the state topic. KILL_SEED repeats one.
"""
import collections
import json
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
import worker
from worker import Site, Worker

broker = kafka.Kafka()
SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
KILLS = 6
MARK = "what-nobody-may-keep-5f1c"


def kinds(records):
    return collections.Counter(record["kind"] for record in records)


def settled(site, count, workers):
    site.wait_done(count, workers)


def everything():
    """One record per call and per refusal, by workspace, whatever the partition of the job."""
    jobs = [ferry.embedding(number, workspace=f"team-{number % 3}") for number in range(600)]
    refused = [ferry.embedding(1000 + number, routing={"zdr": True}) for number in range(5)] + [ferry.embedding(2000, deadline="2020-01-01T00:00:00Z")]
    with ferry.Sim("--dimensions", "8", "--fault", "500:0.1") as sim, Site(broker, sim, retry={"backoff": {"base": "1ms", "cap": "5ms"}, "attempts": 100, "budget": "1000%"}) as site:
        with Worker() as one:
            site.send(jobs + refused)
            settled(site, len(jobs + refused), [one])
            one.stop()
        records = site.check_audit()
        count = kinds(records)
        made = sim.stats()["requests"]
        print(f"  {dict(count)}, {made} requests")
        assert count["call"] == made and count["unknown"] == count["recovered"] == 0
        assert collections.Counter(record["outcome"] for record in records if record["kind"] == "refusal") == {"excluded_by_policy": 5, "deadline_exceeded": 1}
        assert {record["workspace"] for record in records if record["kind"] == "call"} == {"team-0", "team-1", "team-2"}
        keys = {(record.key.decode(), json.loads(record.value).get("workspace")) for record in broker.read_committed(site.audit)}
        assert all(key == workspace for key, workspace in keys if workspace), keys
        # Somebody writes a record of his own.
        last = max((record for record in broker.read_committed(site.audit)), key=lambda record: record.offset)
        broker.produce(site.audit, [(last.key, last.value)], worker.JAVA)
        out, _ = ferry.ferry("audit", "verify", "--from-topic", "-c", "batchferry.yaml", code=1)
        ferry.has(out, "inserted: ", f"{site.audit}, partition {last.partition}, offset ")


def off():
    """audit.topic: false needs no such topic and writes nothing."""
    with ferry.Sim("--dimensions", "8") as sim, Site(broker, sim, audit={"topic": False}) as site:
        site.configure(topics={**site.names, "audit": "there-is-no-such-topic"})
        with Worker() as one:
            site.send([ferry.embedding(1)])
            settled(site, 1, [one])
            one.stop()
        assert not broker.read_committed(site.audit)
        site.configure(topics={**site.names, "audit": "there-is-no-such-topic"}, audit={"topic": True})
        with Worker("batchferry.yaml", "other") as two:
            two.ended(2)
            ferry.has(two.log(), "there-is-no-such-topic", "topics create")


def killed():
    """Chains stay whole, and each result has a record: of its call, or that it was recovered."""
    dice = random.Random(SEED)
    jobs = [ferry.embedding(number) for number in range(1 + KILLS * 500)]
    with ferry.Sim("--dimensions", "8", "--latency", "lognormal:15ms,0.8") as sim, Site(broker, sim, retry={"attempts": 20}) as site:
        # Drained first: a kill before the store has noted where the first chain ends would leave the second without one to name.
        site.send(jobs[:1], keyed=True)
        with Worker() as one:
            settled(site, 1, [one])
            one.stop()
        for part in range(KILLS):
            with Worker() as one:
                one.wait_ready()
                site.send(jobs[1 + part :: KILLS], keyed=True)
                time.sleep(dice.uniform(0.0, 0.4))  # the moment of the kill
                one.kill()
        with Worker() as one:
            settled(site, len(jobs), [one])
            one.stop()
        results = [message for _, message in site.check_results(jobs)]
        records = site.check_audit()
        count = kinds(records)
        print(f"  seed {SEED}: {sim.stats()['requests']} requests, {dict(count)}")
        told = {record["job"] for record in records if record["kind"] == "recovered" or (record["kind"] == "call" and record["outcome"] == "ok")}
        missing = [result["id"] for result in results if result["id"][3:] not in told]
        assert not missing, f"{len(missing)} results without a record, such as {missing[:3]}"
        # Each start goes on from the end of the chain before it, so that none can be taken away whole.
        begins = [record for record in records if record["kind"] == "begin"]
        hashes = {record["hash"] for record in records}
        assert len(begins) == len({record["chain"] for record in records})
        assert sum("after_chain" not in record for record in begins) == 1, begins
        assert all(record["prev"] in hashes for record in begins if "after_chain" in record)


def check_nowhere(site, *states):
    for state in states:
        for path in pathlib.Path(state).rglob("*"):
            assert not path.is_file() or MARK.encode() not in path.read_bytes(), f"it stands in {path}"
    for topic in (site.state, site.audit):
        for record in broker.read_all(topic):
            assert MARK.encode() not in (record.value or b""), f"it stands in {topic}"
    for log in pathlib.Path(".").glob("*.log"):
        assert MARK not in log.read_text(), f"it stands in {log}"


def said(number, **more):
    """A job whose request has the mark; its answer has none, so that of answers any result's vector is looked for."""
    return ferry.chat(number, f"{MARK} {number}", **more)


def zero_retention():
    """Killed at random moments, and with a job that waits for long: no record of the state topic has them, no row, no log; and no mark passes them."""
    dice, zdr = random.Random(SEED), {"zdr": True}
    jobs = [said(number, routing=zdr) for number in range(1500)]
    attempts = {"attempts": 20}  # the same jobs may be under way at each of the kills
    more = {"worker": {"park_after": "1s"}, "log": {"level": "debug"}, "limits": {"in_flight": 16}, "retry": attempts}
    with ferry.Sim("--latency", "lognormal:60ms,0.8") as sim, Site(broker, sim, partitions=2, provider={"data_policy": {"zdr": True}}, **more) as site:
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        site.send([said(9000, not_before=later, routing=zdr), ferry.chat(9001, not_before=later)] + jobs, keyed=True)
        kills = 0
        while len(site.ended()) < len(jobs) and kills < KILLS:
            with Worker("batchferry.yaml", "state", "-v") as one:
                one.wait_ready()
                time.sleep(dice.uniform(0.1, 0.4))  # the moment of the kill
                one.kill()
                kills += 1
            check_nowhere(site, "state")
        with Worker("batchferry.yaml", "state", "-v") as one:
            site.wait_ended(len(jobs), [one])
            ferry.wait_for(lambda: one.is_alive() and site.parked(), "the other job that waits to be parked")
            one.stop()
        check_nowhere(site, "state")
        contents = {result["response"]["body"]["choices"][0]["message"]["content"].encode() for _, result in site.read_results()}
        for path in pathlib.Path("state").rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            assert not any(content in data for content in contents), f"an answer stands in {path}"
        print(f"  seed {SEED}: {kills} kills, {sim.stats()['requests']} requests for {len(jobs)} jobs, uncommitted {site.uncommitted()}")
        assert kills > 2, "it was done before it was killed often enough: too fast for this test"
        assert sum(site.parked().values()) == 1, "a job with zdr was parked"
        held = site.uncommitted()
        assert len(held) == 1 and all((committed or 0) == 0 for committed, _ in held.values()), f"the mark has passed the job that waits: {held}"
        site.check_audit()


def parked_without():
    """The same job without zdr is parked: what the test above looks for can be found."""
    with ferry.Sim() as sim, Site(broker, sim, partitions=1, worker={"park_after": "1s"}) as site:
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        site.send([said(9000, not_before=later)], keyed=True)
        with Worker() as one:
            ferry.wait_for(lambda: one.is_alive() and site.parked(), "the job to be parked")
            one.stop()
        assert any(MARK.encode() in (record.value or b"") for record in broker.read_all(site.state))


if __name__ == "__main__":
    with broker:
        ferry.main([everything, off, killed, zero_retention, parked_without])
