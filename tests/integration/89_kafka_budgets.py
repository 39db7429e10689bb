#!/usr/bin/env python3
"""
Budgets are bounds for all workers together: what the simulator counted is never above a budget, and never above what the state
topic answers for, also while workers are killed, started, stopped and paused; and what is over budget waits or fails. KILL_SEED repeats.
"""
import contextlib
import decimal
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
import worker
from worker import Site, Worker

broker = kafka.Kafka()
PRICES = ("--price-input", "2", "--price-output", "5")
MODEL = {"models": [{"model": "m", "price": {"input": 2, "output": 5}}]}
FAST = {"retry": {"backoff": {"base": "5ms", "cap": "50ms"}, "attempts": 50}}
SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
USD = decimal.Decimal


def report(*more):
    """Of each workspace, by period, as decimals."""
    said, _ = ferry.ferry("workspaces", "--json", "-c", "batchferry.yaml", *more)
    parsed = ferry.json.loads(said, parse_float=USD, parse_int=USD)
    return {one["name"]: {period["period"]: period for period in one["periods"]} for one in parsed["workspaces"] + parsed["providers"]}


def billed(sim):
    return ferry.json.loads(sim.get("/sim/stats"), parse_float=USD, parse_int=USD)["cost_usd"]


def receipts(site, workspace=None):
    found = [ferry.json.loads(record.value, parse_float=USD, parse_int=USD)["receipt"] for record, _ in site.read_results()]
    return sum((one["cost_usd"] or 0 for one in found if workspace in (None, one["workspace"])), USD(0))


def failures(site):
    return [message["error"]["code"] for _, message in site.read_results() if message["error"]]


def settled(name):
    """What stood as reserved has been said to be spent, or given back."""
    def said():
        return all(one["reserved_usd"] == 0 for one in report()[name].values())

    ferry.wait_for(said, f"{name}: nothing reserved")
    return report()[name]


def exact():
    """Within the budget all is well, and three ledgers agree to the picodollar, whoever did the work."""
    workspaces = [{"name": "a", "budget": {"lifetime": 10, "daily": 5}}, {"name": "b"}]
    with ferry.Sim(*PRICES) as sim, Site(broker, sim, provider=MODEL, workspaces=workspaces) as site:
        with Worker("batchferry.yaml", "one") as one, Worker("batchferry.yaml", "two") as two:
            site.send([ferry.chat(n, workspace="abc"[n % 3]) for n in range(300)])
            site.wait_done(300, [one, two])
            one.stop()
            site.send([ferry.chat(300 + n, workspace="abc"[n % 3]) for n in range(300)])
            site.wait_done(600, [two])
            assert not failures(site)
            for ours, theirs in (("a", "a"), ("b", "b"), ("default", "c")):
                now = settled(ours)
                assert now["lifetime"]["spent_usd"] == now["day"]["spent_usd"] == receipts(site, theirs) > 0, now
                assert now["lifetime"]["at_risk_usd"] == 0, now  # whoever left had said what was spent
            assert receipts(site) == billed(sim)
            assert report()["a"]["lifetime"]["left_usd"] == 10 - receipts(site, "a")
            two.stop()
        quoted(10 - receipts(site, "a"))
        local = report("--local", "--state", "two")
        assert local["a"]["lifetime"]["spent_usd"] <= receipts(site, "a")
        table, _ = ferry.ferry("workspaces", "-c", "batchferry.yaml")
        ferry.has(table, "workspace a", "lifetime", "left")


def quoted(left):
    """A quote of what workers will do knows what all of them have spent, or fails with a sentence; that of a run does not ask."""
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0, workspace="a")])
    def told(*more):
        return ferry.json.loads(ferry.ferry("quote", "jobs.jsonl", "--json", *more)[0], parse_float=USD, parse_int=USD)
    of = told()
    assert of["budgets_by"] == "state_topic" and of["budgets"][1]["period"] == "lifetime" and of["budgets"][1]["left_usd"] == left, of
    assert told("--local")["budgets_by"] == "nothing_spent" and told("--local", "--state", "two")["budgets_by"] == "state_directory"
    ferry.has(ferry.ferry("quote", "jobs.jsonl")[0], "by the state topic", "each partition")
    ferry.has(ferry.ferry("run", "jobs.jsonl", "-o", "none.jsonl", "--dry-run")[0], "There is no state directory")
    _, said = ferry.ferry("quote", "jobs.jsonl", "--set", "topics.state=nowhere", code=1)
    ferry.check_sentence(said, "state topic", "--local", "nowhere")


def fails():
    """Over budget: budget_exceeded, other workspaces go on, and a worker that starts knows what was spent."""
    workspaces = [{"name": "a", "budget": {"daily": 0.008}, "over_budget": "fail"}, {"name": "b"}]
    with ferry.Sim(*PRICES) as sim, Site(broker, sim, provider=MODEL, workspaces=workspaces) as site:
        with Worker("batchferry.yaml", "one") as one:
            ferry.wait_for(lambda: "is divided over 4 partitions: 0.002 USD" in one.log(), "a warning")
            site.send([ferry.chat(n, workspace="ab"[n % 2]) for n in range(400)])
            site.wait_done(400, [one])
            codes = failures(site)
            assert 0 < len(codes) < 200 and set(codes) == {"budget_exceeded"}, codes
            assert all("partition" in message["error"]["message"] for _, message in site.read_results() if message["error"])
            ferry.ferry("collect", "-c", "batchferry.yaml", "-o", "collected.jsonl", code=3)
            ferry.has(ferry.ferry("replay", "collected.jsonl")[0], "400 came out the same")  # with the parts of budgets that there were
            assert 0 < receipts(site, "a") <= USD("0.008"), receipts(site, "a")
            one.stop()
        before = billed(sim)
        with Worker("batchferry.yaml", "elsewhere") as other:
            site.send([ferry.chat(400 + n, workspace="a") for n in range(100)])
            site.wait_done(500, [other])
            assert receipts(site, "a") <= USD("0.008")
            assert receipts(site) == billed(sim) >= before
            assert settled("a")["day"]["spent_usd"] == receipts(site, "a")


def private(job):
    """Of zero retention, and so never parked."""
    job["body"]["provider"] = {"zdr": True}
    return job


def waits():
    """
    What the budget does not cover today waits, parked or, where that may not be, in memory, and goes on when the budget is raised
    (what is parked, within five minutes); a provider has a budget too.
    """
    workspaces = [{"name": "default", "budget": {"daily": 0.004}}, {"name": "b"}, {"name": "parks", "budget": {"daily": 0.004}}]
    budget = {**MODEL, "budget": {"monthly": 1}, "data_policy": {"zdr": True}}
    names = ["b", "default", "default", "default"]
    with ferry.Sim(*PRICES) as sim, Site(broker, sim, provider=budget, workspaces=workspaces) as site:
        with Worker("batchferry.yaml", "one") as one:
            site.send([private(ferry.chat(n, workspace=names[n % 4])) for n in range(200)])
            site.wait_ended(50 + 4, [one])
            time.sleep(2)
            ended = len(site.ended())
            assert ended < 200 and billed(sim) - receipts(site, "b") <= USD("0.004"), ended
            site.send([ferry.chat(200 + n, workspace="parks") for n in range(100)])
            ferry.wait_for(lambda: one.metric("batchferry_partition_parked") > 0, "parked jobs")
            assert receipts(site, "parks") <= USD("0.004")
            parked = 100 - (len(site.ended()) - ended)
            workspaces[0]["budget"]["daily"] = 4
            site.configure(workspaces=workspaces)
            one.signal(signal.SIGHUP)
            site.wait_ended(300 - parked, [one])
            assert not failures(site)
            assert settled("p")["month"]["spent_usd"] == receipts(site) == billed(sim)
            one.stop()


class Killing:
    """Workers that come and go as the dice say."""

    def __init__(self, site, sim, stack, budget):
        self.site, self.sim, self.stack, self.budget = site, sim, stack, budget
        self.dice, self.running, self.kills, self.pauses = random.Random(SEED), {}, 0, 0

    def check(self):
        """The bill is read first: what is answered for only ever covers more than was billed before."""
        bill, now = billed(self.sim), report()["default"]["lifetime"]
        counted = now["spent_usd"] + now["at_risk_usd"] + now["reserved_usd"]
        assert bill <= counted <= self.budget, (bill, now)

    def act(self):
        name = f"state-{self.dice.randrange(3)}"
        if name not in self.running:
            self.running[name] = self.stack.enter_context(Worker("batchferry.yaml", name))
        elif self.pauses < 2 and self.dice.random() < 0.2:
            self.pauses += 1
            self.running[name].pause()  # past its session: it is thrown out, and goes on with what it was allowed
            time.sleep(worker.SESSION_MS / 1000 + 2)
            self.running[name].resume()
        elif self.dice.random() < 0.7:
            self.running.pop(name).kill()
            self.kills += 1
        else:
            one = self.running.pop(name)
            one.url()  # before that a signal is not heard yet
            one.stop()

    def finish(self, count):
        if not self.running:
            self.running["last"] = self.stack.enter_context(Worker("batchferry.yaml", "last"))
        self.site.wait_done(count, list(self.running.values()))


def killed():
    """SIGKILL at random moments, with faults: never above the budget, and never above what the state topic says."""
    print(f"  seed {SEED}", flush=True)
    budget, count = USD("0.45"), 6000
    workspaces = [{"name": "default", "budget": {"lifetime": float(budget)}, "over_budget": "fail"}]
    faults = ("--latency", "lognormal:30ms,0.8", "--fault", "500:0.05", "--fault", "reset-after:0.02")
    with ferry.Sim(*PRICES, *faults) as sim, Site(broker, sim, partitions=6, provider=MODEL, workspaces=workspaces, **FAST) as site:
        site.send([ferry.chat(n) for n in range(count)])
        with contextlib.ExitStack() as stack:
            killing = Killing(site, sim, stack, budget)
            for _ in range(3):
                killing.act()
            for _ in range(16):
                time.sleep(killing.dice.uniform(0.3, 3))
                killing.act()
                killing.check()
            killing.finish(count)
            killing.check()
        codes, now = failures(site), report()["default"]["lifetime"]
        print(f"  {killing.kills} kills, {killing.pauses} pauses, {billed(sim)} billed, {now['spent_usd']} spent and {now['at_risk_usd']} at risk of {budget}, {len(codes)} failed")
        assert killing.kills > 0 and set(codes) <= {"budget_exceeded", "attempts_exhausted"}, set(codes)
        assert 0 < billed(sim) <= budget


if __name__ == "__main__":
    with broker:
        ferry.main([exact, fails, waits, killed])
