#!/usr/bin/env python3
"""SIGHUP: a run takes a new configuration without losing a job, or keeps the old one when the new one is bad."""
import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

JOBS = 400
NAMES = [f"job-{number:06}" for number in range(JOBS)]
SLOW = ("--latency", "fixed:20ms")


def model(price, name="m"):
    return {"model": name, "price": {"input": price, "output": price}}


def start(sim, *more, **settings):
    """A run of which some calls were answered at `sim`, and many jobs still wait."""
    ferry.configure("ferry.yaml", **settings)
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    process = ferry.start("jobs.jsonl", "results.jsonl", "-c", "ferry.yaml", "--in-flight", "4", *more)
    ferry.wait_for(lambda: sim.stats()["answered"] >= 8, "the first answers")
    return process


def reload(process, *parts):
    """Sends SIGHUP and gives what is said of it, up to the line with these parts."""
    process.send_signal(signal.SIGHUP)
    said = ""
    while not said or not all(part in said for part in parts):
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def finish(process, code=0):
    _, said = process.communicate(timeout=ferry.WAIT_S)
    assert process.returncode == code, (process.returncode, said)
    return said


def check_all():
    results = ferry.lines("results.jsonl")
    ferry.check_succeeded(results, NAMES)
    ferry.check_verified()
    return results


def price():
    """Another provider is the cheaper one from then on; each receipt names the catalog under which it was decided, and costs what that says."""
    with ferry.Sim(*SLOW) as one, ferry.Sim(*SLOW) as two:
        def providers(first, second):
            return [ferry.provider("one", one, [model(first)]), ferry.provider("two", two, [model(second)])]
        process = start(one, providers=providers(2, 3))
        ferry.configure("ferry.yaml", providers=providers(2000, 1))
        said = reload(process, "follows")
        new, old = said.split("catalog ")[1].split(" follows ")
        old = old.split(",")[0]
        finish(process)
        chosen = {}
        for result in check_all():
            receipt = result["receipt"]
            chosen.setdefault(receipt["decision"]["catalog"], set()).add(receipt["provider"])
            tokens = receipt["usage"]["input_tokens"] + receipt["usage"]["output_tokens"]
            micros = tokens * (2 if receipt["provider"] == "one" else 1)
            assert round(receipt["cost_usd"] * 1e6, 6) == micros, receipt
        assert chosen == {old: {"one"}, new: {"two"}}, (chosen, said)
        assert one.stats()["requests"] + two.stats()["requests"] == JOBS


def mend(refusing, before, sim, after):
    """A provider that refuses the key is paused for long; what mends it takes effect at once. Gives what was said."""
    with ferry.Sim("--fault", "503:1") as other:
        def settings(provider):
            return {"providers": [provider, ferry.provider("two", other, [{"model": "n"}])],
                    "retry": {"attempts": 100, "backoff": {"cap": "20ms", "base": "5ms"}}}
        ferry.configure("ferry.yaml", **settings(before))
        last = ferry.chat(JOBS - 1)  # there is hope until the end, so the run goes on
        last["body"]["model"] = "n"
        ferry.write_jobs("jobs.jsonl", [*map(ferry.chat, range(JOBS - 1)), last])
        process = ferry.start("jobs.jsonl", "results.jsonl", "-c", "ferry.yaml")
        ferry.wait_for(lambda: refusing.stats()["requests"] >= 1 and refusing.stats()["in_flight"] == 0, "the refusal")
        ferry.configure("ferry.yaml", **settings(after))
        said = reload(process, "follows")
        ferry.wait_for(lambda: sim.stats()["executed"] >= 1, "an answer")
        other.set_faults()
        said += finish(process)
        check_all()
        return said


def elsewhere():
    with ferry.Sim("--fault", "401:1") as wrong, ferry.Sim(*SLOW) as right:
        mend(wrong, ferry.provider("one", wrong), right, ferry.provider("one", right))
        assert right.stats()["requests"] == JOBS - 1


def key():
    """The next calls carry the new key, which is never told."""
    with ferry.Sim(*SLOW, "--require-key", "sk-another-key") as sim:
        said = mend(sim, ferry.provider("one", sim, api_key="sk-the-first-key"), sim, ferry.provider("one", sim, api_key="sk-another-key"))
        assert "sk-" not in said, said


def gone():
    """One provider goes, and another comes: jobs that wait for the one go to the other."""
    with ferry.Sim(*SLOW) as one, ferry.Sim(*SLOW) as two:
        process = start(one, providers=[ferry.provider("one", one, [model(1)])])
        ferry.configure("ferry.yaml", providers=[ferry.provider("two", two, [model(5)])])
        reload(process, "follows")
        summary = finish(process)
        check_all()
        assert two.stats()["requests"] > 0 and one.stats()["requests"] + two.stats()["requests"] == JOBS
        ferry.has(summary, "two/m")


def bad():
    """What is wrong is told with its place, and the run goes on as it was."""
    with ferry.Sim(*SLOW) as sim:
        process = start(sim, providers=[ferry.provider("one", sim)])
        for text, part in (('providers:\n  - name: one\n    limit: 3\n', "ferry.yaml:3:5"), ("providers: [\n", "ferry.yaml:"),
                           ("providers: []\n", "no provider"), ("shards: 3\nproviders: []\n", "shards"), (None, "cannot read ferry.yaml")):
            if text is None:
                pathlib.Path("ferry.yaml").unlink()
            else:
                pathlib.Path("ferry.yaml").write_text(text)
            ferry.has(reload(process, "stays in force"), part)
        finish(process)
        check_all()
        assert sim.stats()["requests"] == JOBS


def same():
    """Nothing to do is said, and so is what must wait for the next start."""
    with ferry.Sim(*SLOW) as sim:
        settings = {"providers": [ferry.provider("one", sim)]}
        process = start(sim, **settings)
        reload(process, "nothing has changed")
        ferry.configure("ferry.yaml", limits={"memory": "1GiB"}, **settings)
        said = reload(process, "next start")
        ferry.has(said, "nothing has changed", "limits.memory")
        finish(process)
        check_all()


def budget():
    """Jobs that wait for a budget go when it is raised."""
    with ferry.Sim("--price-input", "2", "--price-output", "5") as sim:
        def settings(dollars):
            return {"providers": [ferry.provider("one", sim, [{"model": "m", "price": {"input": 2, "output": 5}}])],
                    "workspaces": [{"name": "a", "budget": {"daily": dollars}}]}
        ferry.configure("ferry.yaml", **settings(0.002))
        ferry.write_jobs("jobs.jsonl", [ferry.chat(n, workspace="a") for n in range(JOBS)])
        process = ferry.start("jobs.jsonl", "results.jsonl", "-c", "ferry.yaml")
        line = process.stderr.readline()
        while "a budget is used up" not in line:
            assert line
            line = process.stderr.readline()
        assert 0 < len(ferry.lines("results.jsonl")) < JOBS
        ferry.configure("ferry.yaml", **settings(1))
        reload(process, "follows")
        finish(process)
        check_all()


def new_workspace():
    """A workspace that comes with a reload has its budget from the next job on; one that was there keeps its spend."""
    with ferry.Sim("--price-input", "2", "--price-output", "5", *SLOW) as sim:
        providers = [ferry.provider("one", sim, [{"model": "m", "price": {"input": 2, "output": 5}}])]
        ferry.configure("ferry.yaml", providers=providers, workspaces=[{"name": "a"}])
        process = ferry.start("-", "results.jsonl", "-c", "ferry.yaml", stdin=ferry.subprocess.PIPE)

        def give(numbers, workspace):
            for number in numbers:
                process.stdin.write(ferry.json.dumps(ferry.chat(number, workspace=workspace)) + "\n")
            process.stdin.flush()

        give(range(20), "a")
        ferry.wait_for(lambda: ferry.count_lines("results.jsonl") == 20, "the first results")
        ferry.configure("ferry.yaml", providers=providers,
                        workspaces=[{"name": "b", "budget": {"daily": 0.0005}, "over_budget": "fail"}, {"name": "a"}])
        reload(process, "follows")
        ferry.wait_for(lambda: sim.stats()["in_flight"] == 0, "quiet")
        give(range(20, 60), "b")
        give(range(60, 80), "a")
        process.stdin.close()
        process.stdin = None
        finish(process, code=3)
        results = ferry.by_name("results.jsonl")
        failed = [one for one in results.values() if one["error"]]
        assert failed and all(one["error"]["code"] == "budget_exceeded" for one in failed), failed
        assert all(one["receipt"]["workspace"] == "b" for one in failed) and len(results) == 80
        spent = sum(one["receipt"]["cost_usd"] for one in results.values() if one["receipt"]["workspace"] == "a")
        said, _ = ferry.ferry("workspaces", "--json", "-c", "ferry.yaml", "--state", "state")
        a = next(one for one in ferry.json.loads(said)["workspaces"] if one["name"] == "a")
        day = next(period for period in a["periods"] if period["period"] == "day")
        assert abs(day["spent_usd"] - spent) < 1e-9 and day["reserved_usd"] == 0, (day, spent)


def decided_again():
    """Everybody costs the same, so it is drawn; a reload puts all in another place, one goes and one comes: `replay` has nothing but the new file, and comes to the same."""
    with ferry.Sim(*SLOW) as one, ferry.Sim(*SLOW) as two, ferry.Sim(*SLOW) as three:
        sims = {"a": one, "b": two, "c": three, "d": one}
        def settings(names, workspaces):
            return {"providers": [ferry.provider(name, sims[name], [model(2)]) for name in names],
                    "workspaces": [{"name": name, "budget": {"daily": 1 + number}} for number, name in enumerate(workspaces)]}
        ferry.configure("ferry.yaml", **settings("abc", ["default", "x", "y"]))
        ferry.write_jobs("jobs.jsonl", [ferry.chat(number, workspace=["default", "x", "y"][number % 3]) for number in range(JOBS)])
        process = ferry.start("jobs.jsonl", "results.jsonl", "-c", "ferry.yaml", "--in-flight", "4")
        # what was learned of one of them makes jobs there look cheaper, so it is learned of all
        ferry.wait_for(lambda: all(sim.stats()["answered"] >= 4 for sim in (one, two, three)), "answers of all three")
        ferry.configure("ferry.yaml", **settings("cdb", ["default", "y", "x"]))
        reload(process, "follows")
        finish(process)
        results = check_all()
    used = {result["receipt"]["provider"] for result in results[JOBS // 2:]}
    assert {"b", "c"} <= used and "a" not in used, used
    pathlib.Path("batchferry.yaml").write_text(pathlib.Path("ferry.yaml").read_text())
    told = json.loads(ferry.ferry("replay", "results.jsonl", "--json")[0])
    assert told["same"] > JOBS // 2 and told["different"] == told["unreadable"] == 0 and told["same"] + told["other_catalog"] == JOBS, told


if __name__ == "__main__":
    ferry.main([price, elsewhere, key, gone, bad, same, budget, new_workspace, decided_again])
