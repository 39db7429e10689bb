#!/usr/bin/env python3
"""
Budgets are bounds: what the simulator counted is what the receipts and `workspaces` say, and never above the budget,
also when the run is killed again and again. KILL_SEED repeats one.
"""
import decimal
import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

PRICES = ("--price-input", "2", "--price-output", "5")
SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
FAST = ("--set", "retry.backoff.base=5ms", "--set", "retry.backoff.cap=20ms", "--set", "retry.attempts=50")
USD = decimal.Decimal


def configure(sim, workspaces):
    model = {"model": "m", "price": {"input": 2, "output": 5}}
    ferry.configure("money.yaml", providers=[ferry.provider("one", sim, [model])], workspaces=workspaces)


def run(*more, code=0):
    return ferry.run("jobs.jsonl", "results.jsonl", "-c", "money.yaml", *FAST, *more, code=code)


def report():
    """Of each workspace, by period, as decimals."""
    said, _ = ferry.ferry("workspaces", "--json", "-c", "money.yaml", "--state", "state")
    parsed = ferry.json.loads(said, parse_float=USD, parse_int=USD)
    return {one["name"]: {period["period"]: period for period in one["periods"]} for one in parsed["workspaces"]}


def receipts(results, workspace=None):
    lines = [ferry.json.loads(line, parse_float=USD, parse_int=USD) for line in pathlib.Path(results).read_text().splitlines()]
    return sum((line["receipt"]["cost_usd"] or 0 for line in lines if workspace in (None, line["receipt"]["workspace"])), USD(0))


def billed(sim):
    return ferry.json.loads(sim.get("/sim/stats"), parse_float=USD, parse_int=USD)["cost_usd"]


def exact():
    """Within the budget all is well, and three ledgers agree to the picodollar."""
    with ferry.Sim(*PRICES) as sim:
        configure(sim, [{"name": "a", "budget": {"lifetime": 1}}, {"name": "b"}])
        ferry.write_jobs("jobs.jsonl", [ferry.chat(n, workspace=["a", "b", "c"][n % 3]) for n in range(300)])
        run()
        spent = report()
        assert set(spent) == {"default", "a", "b"}, spent
        for ours, theirs in (("a", "a"), ("b", "b"), ("default", "c")):
            assert spent[ours]["lifetime"]["spent_usd"] == receipts("results.jsonl", theirs) > 0, spent[ours]
            assert spent[ours]["day"]["reserved_usd"] == spent[ours]["day"]["at_risk_usd"] == 0, spent[ours]
        assert receipts("results.jsonl") == billed(sim)
        assert spent["a"]["lifetime"]["left_usd"] == 1 - spent["a"]["lifetime"]["spent_usd"]
        table, _ = ferry.ferry("workspaces", "-c", "money.yaml", "--state", "state")
        ferry.has(table, "workspace a", "lifetime", "left")


def fails():
    """Over budget: budget_exceeded, other workspaces go on; a new run still knows what was spent."""
    with ferry.Sim(*PRICES) as sim:
        configure(sim, [{"name": "a", "budget": {"daily": 0.002}, "over_budget": "fail"}, {"name": "b"}])
        ferry.write_jobs("jobs.jsonl", [ferry.chat(n, workspace="ab"[n % 2]) for n in range(200)])
        run(code=3)
        results = ferry.lines("results.jsonl")
        failed = [one for one in results if one["error"]]
        assert failed and all(one["error"]["code"] == "budget_exceeded" for one in failed), ferry.failures(results)
        assert all(one["receipt"]["workspace"] == "a" for one in failed)
        assert 0 < receipts("results.jsonl", "a") <= USD("0.002")
        ferry.write_jobs("jobs2.jsonl", [ferry.chat(1000 + n, workspace="a") for n in range(100)])
        before = billed(sim)
        ferry.run("jobs2.jsonl", "more.jsonl", "-c", "money.yaml", *FAST, code=3)
        spent = receipts("results.jsonl", "a") + receipts("more.jsonl", "a")
        assert spent <= USD("0.002") and spent - receipts("results.jsonl", "a") == billed(sim) - before
        assert report()["a"]["day"]["spent_usd"] == spent


def unbounded():
    """What has no bound is refused with a sentence that says what to do."""
    with ferry.Sim(*PRICES) as sim:
        ferry.configure("money.yaml", providers=[ferry.provider("one", sim)], workspaces=[{"name": "default", "budget": {"daily": 1}}])
        ferry.write_jobs("jobs.jsonl", [ferry.chat(1)])
        run(code=3)
        error = ferry.lines("results.jsonl")[0]["error"]
        assert error["code"] == "excluded_by_policy", error
        ferry.has(error["message"], "budget", "prices", "max_tokens")
        assert sim.stats()["requests"] == 0


def waits():
    """A job that the budget does not cover today waits; the program says so, and Ctrl-C keeps everything."""
    with ferry.Sim(*PRICES) as sim:
        configure(sim, [{"name": "default", "budget": {"daily": 0.0005}}])
        ferry.write_jobs("jobs.jsonl", [ferry.chat(n) for n in range(50)])
        process = ferry.start("jobs.jsonl", "results.jsonl", "-c", "money.yaml")
        said = ""
        while "a budget is used up" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(ferry.signal.SIGINT)
        process.communicate(timeout=ferry.WAIT_S)
        assert process.returncode == 130
        assert 0 < billed(sim) == receipts("results.jsonl") <= USD("0.0005")
        assert not ferry.failures(ferry.lines("results.jsonl"))


def killed():
    """SIGKILL at random moments, with faults: the money counted is never less than billed, and never above the budget."""
    dice, budget = random.Random(SEED), USD("0.25")
    print(f"  seed {SEED}", flush=True)
    with ferry.Sim(*PRICES, "--latency", "lognormal:15ms,0.8", "--fault", "500:0.05", "--fault", "reset-after:0.02") as sim:
        configure(sim, [{"name": "default", "budget": {"lifetime": float(budget)}}])
        ferry.write_jobs("jobs.jsonl", [ferry.chat(n) for n in range(6000)])
        kills = 0
        for _ in range(15):
            process = subprocess.Popen(
                ferry.command("jobs.jsonl", "results.jsonl", "-c", "money.yaml", "--in-flight", 32, *FAST),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(dice.uniform(0.02, 0.3))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            if not pathlib.Path("state/CURRENT").exists():
                continue  # it had not come so far
            now = report()["default"]["lifetime"]
            counted = now["spent_usd"] + now["at_risk_usd"] + now["reserved_usd"]
            assert billed(sim) <= counted <= budget, (billed(sim), now)
        run("--in-flight", 32, code=None)
        now = report()["default"]["lifetime"]
        print(f"  {kills} kills, {billed(sim)} billed, {now['spent_usd']} and {now['at_risk_usd']} at risk counted of {budget}")
        assert kills > 3 and now["reserved_usd"] == 0
        assert now["spent_usd"] <= billed(sim) <= now["spent_usd"] + now["at_risk_usd"] <= budget
        results = ferry.lines("results.jsonl")
        ferry.check_once(results, [f"job-{n:06}" for n in range(6000)])
        assert set(ferry.failures(results)) <= {"budget_exceeded", "unknown_outcome"}, ferry.failures(results)
        ferry.check_verified()


def fits():
    """`quote` and `run --dry-run` say whether it fits into what is left, in each period, of who would pay; and go where budgets let them."""
    def quoted(where):
        text, _ = ferry.ferry("run", "jobs.jsonl", "--dry-run", "-c", "money.yaml", "--state", where)
        told = ferry.json.loads(ferry.ferry("quote", "jobs.jsonl", "--json", "-c", "money.yaml", "--set", f"state={where}")[0], parse_float=USD, parse_int=USD)
        return text, {(one.get("workspace", one.get("provider")), one["period"]): one for one in told["budgets"]}, told
    def jobs(batch):
        return [{**ferry.chat(n, workspace="abc"[n % 3]), "batch": batch} for n in range(300)]
    with ferry.Sim(*PRICES) as sim:
        configure(sim, [{"name": "a", "budget": {"daily": 0.015, "lifetime": 1}}, {"name": "b"}, {"name": "c", "budget": {"monthly": 0.001}}])
        ferry.write_jobs("jobs.jsonl", jobs("first"))
        text, told, whole = quoted("nowhere")
        assert whole["budgets_by"] == "nothing_spent", whole
        assert not pathlib.Path("nowhere").exists() and set(told) == {("a", "day"), ("a", "lifetime"), ("c", "month")}, told
        assert told["a", "day"]["left_usd"] == USD("0.015") and told["a", "day"]["fits"] == "yes" and told["c", "month"]["fits"] == "no", told
        ferry.has(text, "nothing was spent yet", "workspace", "no\n")
        ferry.write_jobs("jobs.jsonl", [job for job in jobs("first") if job["workspace"] == "a"])
        run()
        left = report()["a"]["day"]["left_usd"]
        ferry.write_jobs("jobs.jsonl", [job for job in jobs("second") if job["workspace"] == "a"])
        text, told, whole = quoted("state")
        assert told["a", "day"]["left_usd"] == left < USD("0.015") and told["a", "day"]["jobs"] == 100, told
        assert told["a", "day"]["ceiling_usd"] == whole["total"]["ceiling_usd"] > left and told["a", "day"]["fits"] == "no" and told["a", "lifetime"]["fits"] == "yes", told
        ferry.has(text, "by the state directory")
        long = ferry.chat(1, workspace="a")
        ferry.write_jobs("jobs.jsonl", [{**long, "batch": "third", "body": {**long["body"], "max_tokens": 2500}}])
        assert quoted("state")[1]["a", "day"]["fits"] == "as_expected"  # it can cost more than is left today, less than a day has
        ferry.write_jobs("jobs.jsonl", [{"custom_id": "x", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role": "user", "content": "?"}]}, "workspace": "a"}])
        text, told, whole = quoted("state")  # no max_tokens, no output_max: nothing bounds it
        assert told == {} and whole["excluded_by"] == {"budget_price_unknown": 1}, whole


if __name__ == "__main__":
    ferry.main([exact, fails, unbounded, waits, killed, fits])
