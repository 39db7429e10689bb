#!/usr/bin/env python3
"""
Workers killed, stopped past their session and continued, ended and started, and the broker restarted, while jobs come in every
way that clients send them: one result or dead letter for each key, equal to what was asked, and no answer bought again but those
that were on their way at such a moment. CHAOS_JOBS says how many jobs (2000), CHAOS_SEED repeats one.
"""
import collections
import json
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
JOBS = int(os.environ.get("CHAOS_JOBS", "2000"))
SEED = int(os.environ.get("CHAOS_SEED", random.getrandbits(32)))
WORKERS = 3
IN_FLIGHT = max(4, JOBS // 400)  # so that there is work all the time
PAUSE_S = worker.SESSION_MS / 1000 + 2
ACTIONS = ["kill"] * 6 + ["pause"] * 2 + ["stop"] * 3 + ["wipe"] * 2 + ["restart", "crash"]
LATENCY = ("--dimensions", "8", "--latency", "lognormal:200ms,0.8")


class Chaos:
    """The workers, and what is done to them."""

    def __init__(self, site, sim, dice):
        self.site, self.sim, self.dice = site, sim, dice
        self.workers = [None] * WORKERS
        self.down_since = [0] * WORKERS
        self.paused_at = {}
        self.uncertain, self.done = 0, collections.Counter()

    def up(self):
        return [number for number, one in enumerate(self.workers) if one and not one.paused]

    def running(self):
        return [one for one in self.workers if one]

    def start(self, number):
        self.workers[number] = Worker("batchferry.yaml", f"state-{number}")

    def expose(self, committed):
        """What had been called and was not committed: it may be called again, once."""
        self.uncertain += self.sim.stats()["identities"] - committed
        for one in self.running():
            one.check_alive()

    def act(self, action):
        committed = len(self.site.tails["results"].read_on())
        if action in ("restart", "crash"):
            if not broker.is_ours:
                return
            broker.restart(kill=action == "crash")
        elif not self.up():
            return
        else:
            self.strike(action, self.dice.choice(self.up()))
        self.done[action] += 1
        self.expose(committed)

    def strike(self, action, number):
        one = self.workers[number]
        if action == "pause":
            one.pause()
            self.paused_at[number] = time.monotonic()
            return
        if action == "stop":
            one.stop()
        else:
            one.kill()
        if action == "wipe":
            shutil.rmtree(one.state)
        self.workers[number] = None

    def recover(self, all_of_them=False):
        """Continues those that were stopped for long enough, and starts others again, mostly."""
        for number in list(self.paused_at):
            if time.monotonic() - self.paused_at[number] > PAUSE_S:
                committed = len(self.site.tails["results"].read_on())
                self.workers[number].resume()
                del self.paused_at[number]
                self.expose(committed)
        for number in range(WORKERS):
            if not self.workers[number] and (all_of_them or not self.up() or self.dice.random() < 0.6):
                self.start(number)


def bad_records(count):
    """Dead letters to be: no jobs, and jobs that nobody here can do."""
    records = [(f"rubbish-{number}", f"rubbish {number}") for number in range(count)]
    for number in range(count):
        job = ferry.embedding(900000 + number, body={"model": "nobody", "input": "a"})
        records.append((job["custom_id"], json.dumps(job)))
    return records


def batches(records, count):
    return [records[number::count] for number in range(count)]


def run_chaos(chaos, site, records):
    actions = ACTIONS[:]
    chaos.dice.shuffle(actions)
    partitioners = [None, worker.JAVA, {"partitioner": "fnv1a"}]
    chaos.start(0)
    broker.produce(site.jobs, records[::2], worker.JAVA)
    for batch, action in zip(batches(records[1::2], len(actions)), actions):
        broker.produce(site.jobs, batch, chaos.dice.choice(partitioners))
        time.sleep(chaos.dice.uniform(0.3, 2.0))
        chaos.act(action)
        site.ended()
        chaos.recover()
    ferry.wait_for(lambda: chaos.recover(True) or not chaos.paused_at, "the pauses")


def check_letters(site, bad):
    """Each once, though its record may have been sent on to another partition at such a moment."""
    places = collections.defaultdict(list)
    for letter in site.read_dead_letters():
        origin = [worker.header(letter, "batchferry-origin-" + name).decode() for name in ("partition", "offset")]
        places[letter.value.decode()].append((origin, letter.partition, letter.offset))
    missing = {value for _, value in bad} - set(places)
    assert not missing and len(places) == len(bad), f"no dead letters of {missing}; others: {set(places) - {value for _, value in bad}}"
    twice = {value: found for value, found in places.items() if len(found) > 1}
    assert not twice, f"more than one dead letter of {len(twice)} records, (their origin, partition, offset): {list(twice.items())[:5]}"


def check_calls(calls, chaos):
    answered = sum(call["answered"] - 1 for call in calls if call["answered"] > 1)
    print(f"  {dict(chaos.done)}; {answered} answers were bought again, {chaos.uncertain} were on their way at such moments", flush=True)
    assert answered <= chaos.uncertain
    return answered


def check_unseen(site):
    """A reader that was there all the time has seen the same; there were aborted ones to be seen."""
    seen = sorted((record.partition, record.offset) for record in site.tails["results"].read_on())
    final = [(record.partition, record.offset) for record in broker.read_committed(site.results)]
    assert seen == final, f"{len(seen)} were seen while it went on, {len(final)} at the end"
    print(f"  {len(broker.read_all(site.results)) - len(final)} aborted results, never seen")


def chaos():
    print(f"  seed {SEED}", flush=True)
    dice = random.Random(SEED)
    jobs, bad = [ferry.embedding(number) for number in range(JOBS)], bad_records(JOBS // 100)
    records = worker.scattered(jobs, dice) + bad
    dice.shuffle(records)
    with ferry.Sim(*LATENCY) as sim, Site(broker, sim, limits={"in_flight": IN_FLIGHT}, retry={"attempts": 20}) as site:
        storm = Chaos(site, sim, dice)
        try:
            run_chaos(storm, site, records)
            site.wait_done(len(jobs) + len(bad), storm.running())
            ferry.wait_for(lambda: len(site.tails["results"].read_on()) >= len(jobs), "the last results")
            for one in storm.running():
                one.stop()
        finally:
            for one in storm.running():
                one.kill()
        check_calls(sim.calls(), storm)
        site.check_results(jobs)
        site.check_state(ferry.names(jobs))
        check_unseen(site)
        for number in range(WORKERS):
            ferry.check_verified(f"state-{number}")
        check_letters(site, bad)


if __name__ == "__main__":
    with broker:
        ferry.main([chaos])
