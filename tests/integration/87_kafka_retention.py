#!/usr/bin/env python3
"""
What is kept for how long: keys of finished jobs for idempotency.retention, in the state topic and on disk, also through SIGKILL; results for
results.retention, from which duplicates get theirs once more (idempotency.on_duplicate: republish). KILL_SEED repeats one.
"""
import collections
import os
import pathlib
import random
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
import worker
from worker import Site, Worker

broker = kafka.Kafka()
SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
SIM = ("--dimensions", "8")
SOON = ("--set", "idempotency.retention=1s")
JOBS, KILLS = 5000, 4


def is_known(site):
    """Keys of jobs and records of which the state topic still says something, and those that it has forgotten."""
    said = {key: messages[-1] for (_, key), messages in site.read_state().items() if not key.startswith(b"\0spend")}
    return sum(last is not None for last in said.values()), sum(last is None for last in said.values())


def settled_on_disk():
    said = ferry.ferry("state", "verify", "--state", "state")[0]
    return int(next(line.split()[-1] for line in said.splitlines() if line.startswith("settled jobs")))


def forgotten():
    """Old keys go everywhere, and no other; after that a job is new, for this worker and for one that begins with the state topic alone."""
    jobs = [ferry.embedding(number) for number in range(600)]
    other = [ferry.embedding(5000 + number, workspace="research") for number in range(50)]
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    with ferry.Sim(*SIM) as sim, Site(broker, sim, worker={"park_after": "1s"}) as site:
        with Worker() as one:
            site.send(jobs + other, keyed=True)
            site.send(jobs[:100] + other[:10], keyed=True)  # duplicates
            site.send([ferry.embedding(9000, not_before=later)], keyed=True)
            broker.produce(site.jobs, [("bad", "{")] * 10)
            site.wait_done(len(jobs + other) + 10, [one])
            ferry.wait_for(site.parked, "the job that waits to be parked")
            one.stop()
        known = len(jobs + other) + 10
        assert is_known(site) == (known + 1, 0), is_known(site)
        with Worker("batchferry.yaml", "state", *SOON) as one:
            one.wait_metrics(keys_forgotten_total=known)
            ferry.wait_for(lambda: is_known(site) == (1, known), "the tombstones")
            one.stop()
        assert settled_on_disk() == 0
        assert sum(site.parked().values()) == 1, "what is parked is not finished"
        with Worker() as one:
            site.send(jobs[:100], keyed=True)
            site.wait_done(known + 100, [one])
            one.stop()
        assert sim.stats()["requests"] == len(jobs + other) + 100
        shutil.rmtree("state")
        with Worker() as one:
            one.wait_ready()
            site.send(jobs[:150], keyed=True)
            site.wait_done(known + 150, [one])
            one.stop()
        assert sim.stats()["requests"] == len(jobs + other) + 150
        assert settled_on_disk() == 150


def killed():
    """Killed in the middle of forgetting, with jobs that go on: each has one result, nobody's key goes too early, and in the end all old ones have gone."""
    dice = random.Random(SEED)
    jobs = [ferry.embedding(number) for number in range(JOBS)]
    with ferry.Sim(*SIM) as sim, Site(broker, sim, limits={"in_flight": 256}) as site:
        with Worker() as one:
            site.send(jobs, keyed=True)
            site.wait_done(len(jobs), [one])
            one.stop()
        more = []
        for kill in range(KILLS):
            with Worker("batchferry.yaml", "state", *SOON) as one:
                fresh = [ferry.embedding(100_000 + 200 * kill + number) for number in range(200)]
                more += fresh
                site.send(fresh, keyed=True)
                ferry.wait_for(lambda: one.metric("batchferry_keys_forgotten_total") > 0, "the first old keys")
                time.sleep(dice.uniform(0, 0.1))  # the moment of the kill
                one.kill()
        known = is_known(site)
        with Worker("batchferry.yaml", "state", *SOON) as one:
            site.wait_done(len(jobs + more), [one])
            ferry.wait_for(lambda: is_known(site) == (0, len(jobs + more)), "the tombstones")
            one.stop()
        print(f"  seed {SEED}: after {KILLS} kills {known[1]} keys were forgotten, {known[0]} were not")
        assert known[0] > 0, "all was forgotten before it was killed often enough: too fast for this test"
        calls = sim.stats()["requests"]
        assert len(jobs + more) <= calls <= len(jobs + more) + KILLS * 256, calls
        site.check_results(jobs + more)
        assert settled_on_disk() == 0


def by_key(site):
    found = collections.defaultdict(list)
    for record, result in site.read_results():
        found[record.key].append(result)
    return found


def check_replayed(site, jobs, times):
    """The result of each, then so often the same, marked."""
    found = by_key(site)
    for job in jobs:
        first, *again = found[job["custom_id"].encode()]
        assert not first["receipt"]["replayed"] and len(again) == times, (len(again), times)
        for result in again:
            assert result["receipt"].pop("replayed") is True
            assert result["receipt"] == {name: value for name, value in first["receipt"].items() if name != "replayed"}
            assert {**result, "receipt": 0} == {**first, "receipt": 0}


def republished():
    """Each duplicate gets the result once more, once; not what is a job's own record read again, not what has no result, not what may not be kept."""
    jobs = [ferry.embedding(number) for number in range(60)]
    private = [ferry.embedding(500 + number, routing={"zdr": True}) for number in range(5)]
    republish = {"idempotency": {"on_duplicate": "republish"}, "results": {"retention": "1h"}}
    with ferry.Sim(*SIM) as sim, Site(broker, sim, provider={"data_policy": {"zdr": True}}, **republish) as site:
        with Worker() as one:
            site.send(jobs + private, keyed=True)
            site.wait_done(65, [one])
            site.send(jobs[:40] + private, keyed=True)
            site.send(jobs[:20])  # found elsewhere, and sent home
            site.wait_done(125, [one])
            one.wait_metrics(republished_total=60, republish_missing_total=5)
            one.kill()
        check_replayed(site, jobs[:20], 2)
        check_replayed(site, jobs[20:40], 1)
        check_replayed(site, jobs[40:] + private, 0)
        with Worker() as one:
            one.wait_ready()
            site.send(jobs[:10], keyed=True)
            site.wait_done(135, [one])
            one.stop()
        check_replayed(site, jobs[:10], 3)
        ferry.has(ferry.ferry("state", "verify", "--state", "state")[0], "kept results      60", "all parts agree")
        # Somebody else has never had them.
        with Worker("batchferry.yaml", "another") as one:
            one.wait_ready()
            site.send(jobs[:10], keyed=True)
            one.wait_metrics(republish_missing_total=10)
            site.wait_committed([one])
            one.stop()
        check_replayed(site, jobs[:10], 3)
        assert sim.stats()["requests"] == 65
        # What is kept no longer goes at once.
        with Worker("batchferry.yaml", "state", "--set", "results.retention=0s", "--set", "idempotency.on_duplicate=drop") as one:
            one.wait_ready()
            one.stop()
        ferry.has(ferry.ferry("state", "verify", "--state", "state")[0], "kept results      0")


def kept_for_a_time():
    with ferry.Sim(*SIM) as sim, Site(broker, sim, idempotency={"on_duplicate": "republish"}, results={"retention": "1s"}) as site:
        with Worker() as one:
            site.send([ferry.embedding(number) for number in range(10)], keyed=True)
            site.wait_done(10, [one])
            ferry.wait_for(lambda: "kept results      0" in ferry.ferry("state", "verify", "--state", "state")[0], "what was kept to go")
            site.send([ferry.embedding(number) for number in range(10)], keyed=True)
            one.wait_metrics(republish_missing_total=10)
            one.stop()
        assert len(site.read_results()) == 10


if __name__ == "__main__":
    with broker:
        ferry.main([forgotten, killed, republished, kept_for_a_time])
