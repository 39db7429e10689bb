#!/usr/bin/env python3
"""A provider's limits hold for all workers together, however many there are, while partitions move between them."""
import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
from worker import SESSION_MS, Site, Worker

broker = kafka.Kafka()
PER_MINUTE = 400
SESSION_S = SESSION_MS / 1000


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


def settled(sim, seconds=4.0):
    """The calls when there were no more for a while: what is left of the limit is gone."""
    last, since = sim.stats()["requests"], time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.05)
        now = sim.stats()["requests"]
        if now != last:
            last, since = now, time.monotonic()
    return last


@contextlib.contextmanager
def days(limit):
    """A site under a limit of the day, that the simulator holds too, with three times the work; gives it, the simulator, and what starts a worker."""
    limits = {"limits": {"requests_per_day": limit}}
    with ferry.Sim("--dimensions", "8", "--rpm", str(limit + 1), "--limit-window", "24h", "--latency", "fixed:150ms") as sim, \
            Site(broker, sim, partitions=6, provider=limits) as site, contextlib.ExitStack() as stack:
        def start(state):
            return stack.enter_context(Worker("batchferry.yaml", state, "--set", "limits.in_flight=4")).wait_ready()

        def reach(percent):
            ferry.wait_for(lambda: sim.stats()["requests"] >= limit * percent // 100, f"{percent} % of the limit")

        site.send([ferry.embedding(number) for number in range(3 * limit)])
        yield sim, start, reach


def per_day():
    """
    A day's limit through a rolling restart, with the state of before and with a new one, and workers that come: released in good order, what is
    left of each part can be used at once, and no more.
    """
    limit = 600
    with days(limit) as (sim, start, reach):
        first = start("a")
        reach(10)
        second = start("b")
        reach(25)
        first.stop()
        first = start("a")
        reach(45)
        second.stop()
        start("another")
        reach(60)
        start("c")
        first.stop()
        reach(70)
        start("a")
        total = settled(sim)
        assert total <= limit, sim.stats()
        check_violations(sim, limit * 95 // 100)


def per_day_and_kills():
    """A kill takes what the killed one's parts had left, and no more is used than there is."""
    limit = 600
    with days(limit) as (sim, start, reach):
        first, second = start("a"), start("b")
        reach(30)
        first.kill()
        first = start("a")
        reach(35)
        second.stop()
        start("b")
        assert settled(sim, SESSION_S + 4) <= limit, sim.stats()
        check_violations(sim, limit * 35 // 100)


if __name__ == "__main__":
    with broker:
        ferry.main([per_minute, concurrency, per_day, per_day_and_kills])
