#!/usr/bin/env python3
"""
What a limit has given outlives the process: killed and started again, with another configuration as well, it is never exceeded in any window,
and nearly all of it can be used. QUOTA_SEED repeats one.
"""
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

SEED = int(os.environ.get("QUOTA_SEED", random.getrandbits(32)))
MODEL = {"model": "m", "price": {"input": 0.1, "output": 0.1}}
LATENCY = ("--latency", "lognormal:15ms,0.5", "--dimensions", "8")


def configure(sim, where, limits):
    """The limits at the provider, at its model, or at the workspace."""
    model = dict(MODEL, **({"limits": limits} if where == "model" else {}))
    provider = ferry.provider("p", sim, [model], **({"limits": limits} if where == "provider" else {}))
    workspaces = [{"name": "default", "limits": limits}] if where == "workspace" else []
    ferry.configure(providers=[provider], **({"workspaces": workspaces} if workspaces else {}))


def begin(jobs, state):
    return ferry.start(jobs, "results.jsonl", "-q", "--in-flight", "4", state=state)


def kill(process):
    process.kill()
    process.communicate()


def used(sim):
    return sim.stats()["requests"]


def settle(sim, seconds=2.0):
    """Until nothing was called for a while: what is left of the limit is gone."""
    last, since = used(sim), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.05)
        if used(sim) != last:
            last, since = used(sim), time.monotonic()
    return last


def fresh():
    for path in pathlib.Path(".").glob("results.jsonl*"):
        path.unlink()


def killed(where):
    """Three kills on the way, and one when all is gone."""
    limit, dice, state = 400, random.Random(SEED), f"killed-{where}"
    ferry.write_jobs("jobs.jsonl", (ferry.embedding(number) for number in range(2 * limit)))
    fresh()
    with ferry.Sim(*LATENCY, "--rpm", str(limit + 1), "--limit-window", "24h") as sim:
        configure(sim, where, {"requests_per_day": limit})
        for part in range(3):
            goal = used(sim) + dice.randrange(20, limit // 4)
            process = begin("jobs.jsonl", state)
            ferry.wait_for(lambda: used(sim) >= goal, f"{goal} calls")
            kill(process)
        for _ in range(2):
            process = begin("jobs.jsonl", state)
            total = settle(sim)
            kill(process)
        stats = sim.stats()
        print(f"  {where}, seed {SEED}: {total} of {limit} calls, {stats['limit_violations']}")
        assert total <= limit, stats
        assert total >= limit * 95 // 100, stats
        assert not any(stats["limit_violations"].values()), stats
        ferry.check_verified(state)


def provider():
    killed("provider")


def model():
    killed("model")


def workspace():
    killed("workspace")


def stopped():
    """In good order nothing is lost. A limit that is another now keeps what was used; so does a model whose place is another."""
    jobs = [ferry.embedding(number) for number in range(300)]
    ferry.write_jobs("jobs.jsonl", jobs)
    fresh()
    with ferry.Sim(*LATENCY) as sim, ferry.Sim() as other:
        configure(sim, "model", {"requests_per_day": 100})
        process = begin("jobs.jsonl", "stopped")
        ferry.wait_for(lambda: used(sim) >= 40, "40 calls")
        process.terminate()
        process.communicate()
        process = begin("jobs.jsonl", "stopped")
        assert settle(sim) == 100, sim.stats()
        process.terminate()
        process.communicate()
        providers = [ferry.provider("another", other, [{"model": "another"}]), ferry.provider("p", sim, [dict(MODEL, limits={"requests_per_day": 150})])]
        ferry.configure(providers=providers)
        process = begin("jobs.jsonl", "stopped")
        assert settle(sim) == 150, sim.stats()
        kill(process)
        configure(sim, "model", {"requests_per_day": 120})
        process = begin("jobs.jsonl", "stopped")
        assert settle(sim) == 150, sim.stats()
        kill(process)
        configure(sim, "model", {})
        ferry.run("jobs.jsonl", "results.jsonl", state="stopped")
        ferry.check_succeeded(ferry.lines("results.jsonl"), ferry.names(jobs))


def a_minute():
    """A strict window of a minute, over a kill: what was used before counts."""
    limit = 120
    ferry.write_jobs("jobs.jsonl", (ferry.embedding(number) for number in range(limit + 20)))
    fresh()
    with ferry.Sim("--dimensions", "8", "--rpm", str(limit + 1)) as sim:
        configure(sim, "provider", {"requests_per_minute": limit})
        for goal in (20, 45, 70):
            process = begin("jobs.jsonl", "minute")
            ferry.wait_for(lambda: used(sim) >= goal, f"{goal} calls")
            kill(process)
        process = begin("jobs.jsonl", "minute")
        process.communicate(timeout=300)
        assert process.returncode == 0
        assert not any(sim.stats()["limit_violations"].values()), sim.stats()


if __name__ == "__main__":
    ferry.main([provider, model, workspace, stopped, a_minute])
