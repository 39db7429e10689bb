#!/usr/bin/env python3
"""A provider's limits hold for all workers together, however many there are, while partitions move between them."""
import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
from worker import Site, Worker

broker = kafka.Kafka()
PER_MINUTE = 400


def check_violations(sim, executed):
    stats = sim.stats()
    print(f"  {stats['executed']} calls, {stats['limit_violations']}, {stats['in_flight_max']} at a time")
    assert not any(stats["limit_violations"].values()), stats
    assert stats["executed"] >= executed, f"a limit is there to be used: {stats['executed']} calls"


def moving(site, seconds):
    """One, two, three, two workers, and one in the end that takes over from a killed one."""
    with contextlib.ExitStack() as stack:
        running, begun = {}, time.monotonic()

        def start(name):
            running[name] = stack.enter_context(Worker("batchferry.yaml", name)).wait_ready()

        steps = [lambda: start("a"), lambda: start("b"), lambda: start("c"), lambda: running["b"].stop(), lambda: running["a"].kill()]
        for number, step in enumerate(steps, 1):
            step()
            ferry.wait_for(lambda: time.monotonic() > begun + number * seconds / len(steps), "the next step")
            site.ended()
        running["c"].stop()


def per_minute():
    """The strict window of the simulator slides over a minute and refuses none (one more, as in 35_limits)."""
    limits = {"limits": {"requests_per_minute": PER_MINUTE}}
    jobs = [ferry.embedding(number) for number in range(2 * PER_MINUTE)]
    with ferry.Sim("--dimensions", "8", "--rpm", str(PER_MINUTE + 1)) as sim, Site(broker, sim, partitions=6, provider=limits) as site:
        site.send(jobs)
        moving(site, 35)
        check_violations(sim, PER_MINUTE // 8)  # what a new owner cannot know of the last minute it takes for used


def concurrency():
    limits = {"limits": {"concurrency": 12}}
    jobs = [ferry.embedding(number) for number in range(3000)]
    with ferry.Sim("--dimensions", "8", "--concurrency", "12", "--latency", "lognormal:100ms,0.5") as sim, Site(broker, sim, partitions=6, provider=limits) as site:
        site.send(jobs)
        moving(site, 15)
        check_violations(sim, 200)
        assert sim.stats()["in_flight_max"] >= 6


if __name__ == "__main__":
    with broker:
        ferry.main([per_minute, concurrency])
