#!/usr/bin/env python3
"""
audit.file: a record for each call and each refusal, costs that add up, a chain that survives SIGKILL, and tampering that is found.
KILLS says how often the loop kills (15), KILL_SEED repeats one.
"""
import collections
import decimal
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

KILLS = int(os.environ.get("KILLS", "15"))
SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
AUDIT = ("--set", "audit.file=audit.jsonl")
QUICK = ("--set", "retry.backoff.base=10ms", "--set", "retry.backoff.cap=40ms", "--set", "retry.attempts=100")
PRICED = {"model": "m", "price": {"input": 0.15, "output": 0.60}}


def exact(path):
    """JSON lines with amounts as they stand there."""
    return [json.loads(line, parse_float=decimal.Decimal, parse_int=decimal.Decimal) for line in pathlib.Path(path).read_text().splitlines()]


def verify(*files, code=0, more=()):
    out, _ = ferry.ferry("audit", "verify", "--json", *files, *more, code=code)
    return json.loads(out)


def kinds(records):
    return collections.Counter(record["kind"] for record in records)


def check_by_hand(path):
    """The chain as SECURITY.md describes it, without our program."""
    before = "0" * 64
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines()):
        record = json.loads(line)
        assert record["seq"] == number and record["prev"] == before, f"line {number + 1}: {line}"
        before = hashlib.sha256(line[: line.rindex(',"hash":"')].encode()).hexdigest()
        assert record["hash"] == before, f"line {number + 1}: {line}"
    return before


def everything():
    """Calls that succeed, that fail and are repeated, that are turned away; refusals by policy, deadline, conflict, and of what is no job."""
    with ferry.Sim("--fault", "500:0.2", "--fault", "429-seconds:0.1", "--fault", "400:0.1", "--retry-after", "0") as sim:
        ferry.configure(
            audit={"file": "audit.jsonl"}, retry={"backoff": {"base": "1ms", "cap": "5ms"}, "attempts": 100, "budget": "1000%"},
            providers=[ferry.provider("acme", sim, [PRICED], region="eu", data_policy={"zdr": False, "training": True})])
        good = [ferry.chat(number, workspace="research") for number in range(200)]
        refused = [
            ferry.chat(1000, routing={"zdr": True}), ferry.chat(1001, deadline="2020-01-01T00:00:00Z"), ferry.chat(1002, routing={"regions": ["us"]}),
            {**ferry.chat(1003), "body": {**good[0]["body"], "model": "another"}}, ferry.chat(1004, max_cost_usd=0.000000001), {**good[0], "body": good[1]["body"]},
            "{\"no\": \"job\"}"]
        ferry.write_jobs("jobs.jsonl", good + refused)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "-c", "batchferry.yaml", code=3)
        made = sim.stats()["requests"]
    results, records = exact("results.jsonl"), exact("audit.jsonl")
    head = check_by_hand("audit.jsonl")
    ferry.has(said, head)
    assert verify("audit.jsonl", more=("--head", head)) == {"records": len(records), "chains": 1, "whole": True, "head": head, "broken": None}
    count = kinds(records)
    print(f"  {dict(count)}, {made} requests")
    assert count["begin"] == 1 and count["call"] == made and count["unknown"] == 0
    calls = [record for record in records if record["kind"] == "call"]
    outcomes = {record["outcome"] for record in calls}
    assert {"ok", "retry", "throttled", "other_model"} <= outcomes, outcomes
    assert all(record["provider"] == "acme" and record["region"] == "eu" and record["workspace"] == "research" for record in calls)
    spent = collections.Counter()
    for record in calls:
        spent[record["job"]] += record["cost_usd"]
        assert record["cost_usd"] <= record["reserved_usd"]
    for result in results:
        assert spent[result["id"][3:]] == result["receipt"]["cost_usd"], f"{spent[result['id'][3:]]} in the audit: {result}"
        if result["receipt"]["attempts"] > 0:
            assert any(record["job"] == result["id"][3:] and record["policy"] == result["receipt"]["decision"]["policy"] for record in calls)
    refusals = {record["job"]: record["outcome"] for record in records if record["kind"] == "refusal"}
    assert refusals == {result["id"][3:]: result["error"]["code"] for result in results if result["error"]}
    assert sorted(refusals.values()) == sorted(
        ["excluded_by_policy", "deadline_exceeded", "excluded_by_policy", "no_provider", "max_cost_exceeded", "idempotency_conflict", "invalid_job"])
    text = pathlib.Path("audit.jsonl").read_text()
    assert "question" not in text and "job-0" not in text, "what a job says stands in the audit"


def off():
    """Without the setting nothing is written."""
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(1)])
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
    assert "audit" not in said and not list(pathlib.Path(".").rglob("*audit*"))


def killed():
    """Each call that was answered before a kill has its record, or one that says that nobody knows; each result's call stands there."""
    dice, kills = random.Random(SEED), 0
    jobs = KILLS * 150
    with ferry.Sim("--latency", "lognormal:60ms,0.8", "--fault", "500:0.03") as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(jobs)))
        arguments = ferry.command("jobs.jsonl", "results.jsonl", "--in-flight", "64", *AUDIT, *QUICK, sim=sim)
        while kills < KILLS:
            process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(dice.uniform(0.0, 0.06) if dice.random() < 0.3 else dice.uniform(0.06, 0.3))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                verify("audit.jsonl", code=None) if pathlib.Path("audit.jsonl").exists() else None
        assert kills > KILLS / 2, "it was done before it was killed often enough: too fast for this test"
        ferry.run("jobs.jsonl", "results.jsonl", "--in-flight", "64", *AUDIT, *QUICK, sim=sim)
        made = sim.stats()["requests"]
    results, records = ferry.lines("results.jsonl"), ferry.lines("audit.jsonl")
    ferry.check_succeeded(results, [f"job-{number:06}" for number in range(jobs)])
    check_by_hand("audit.jsonl")
    verify("audit.jsonl")
    count = kinds(records)
    print(f"  seed {SEED}: {kills} kills, {made} requests, {dict(count)}")
    assert count["begin"] == 1 and count["call"] <= made
    assert count["unknown"] <= kills * 64 * 2, "more attempts of unknown outcome than there can be"
    assert count["call"] + count["unknown"] >= made, "a call is in no record"
    done = collections.Counter(record["job"] for record in records if record["kind"] == "call" and record["outcome"] == "ok")
    assert all(done[result["id"][3:]] >= 1 for result in results), "a result without a record of its call"
    ended = [(record["job"], record["attempt"]) for record in records if record["kind"] == "unknown"]
    assert len(ended) == len(set(ended)), "the same attempt is said to be unknown twice"


def tampered():
    """Whatever is done to the file is found, said with its line, and not built on."""
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(20)))
        ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim)
        path, whole = pathlib.Path("audit.jsonl"), pathlib.Path("audit.jsonl").read_bytes()
        head = verify(path)["head"]
        lines = whole.splitlines(keepends=True)
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(25)))
        tampers = {
            "changed": [lines[:7] + [lines[7].replace(b'"attempt":1', b'"attempt":2')] + lines[8:], lines[:-1] + [lines[-1].replace(b'"ok"', b'"no"')]],
            "removed": [lines[:7] + lines[8:], lines[1:]],
            "reordered": [lines[:7] + [lines[8], lines[7]] + lines[9:]],
            "inserted": [lines[:7] + [lines[6]] + lines[7:]],
        }
        for what, files in tampers.items():
            for file in files:
                path.write_bytes(b"".join(file))
                found = verify(path, code=1)
                assert found["broken"]["what"] == what, found
                out, _ = ferry.ferry("audit", "verify", path, code=1)
                ferry.has(out, what, f"audit.jsonl, line {found['broken']['line']}")
                _, said = ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim, code=None)
                ferry.check_sentence(said, "audit verify", "Move it away")
                assert path.read_bytes() == b"".join(file), "what was tampered with was changed again"
        path.write_bytes(b"".join(lines[:-2]))  # off the end: only who kept the head knows
        verify(path)
        assert verify(path, code=1, more=("--head", head))["broken"]["what"] == "removed"
        assert sim.stats()["requests"] == 20
        path.write_bytes(b"these are somebody's notes")
        _, said = ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim, code=None)
        ferry.check_sentence(said, "no audit record")
        assert path.read_bytes() == b"these are somebody's notes"


def torn():
    """A write that was cut off is cut away, and the chain goes on from the last whole record."""
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(5)))
        ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim)
        path, whole = pathlib.Path("audit.jsonl"), pathlib.Path("audit.jsonl").read_bytes()
        for number, tail in enumerate([whole.splitlines()[2][:100], b"\0" * 4096, b"\0" * 100 + b"\n" + b"\0" * 10]):
            path.write_bytes(path.read_bytes() + tail)
            assert verify(path, code=1)["broken"]["what"] in ("torn", "changed")
            ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(6 + number)))
            ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim)
            assert verify(path)["records"] == 7 + number
            check_by_hand(path)
        path.write_bytes(whole.splitlines()[0][:30])  # the first write of all
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(10)))
        ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim)
        assert verify(path)["records"] == 3


def another_file():
    """A file that is moved away is followed by one with a chain of its own; both are verified together. Two runs on one file: the second is refused."""
    with ferry.Sim("--latency", "fixed:30ms") as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(1)])
        ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim)
        pathlib.Path("audit.jsonl").rename("old.jsonl")
        ferry.write_jobs("jobs.jsonl", [ferry.chat(1), ferry.chat(2)])
        ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim)
        found = verify("old.jsonl", "audit.jsonl")
        assert found["records"] == 4 and found["chains"] == 2
        ferry.write_jobs("more.jsonl", map(ferry.chat, range(500)))
        with ferry.start("more.jsonl", "more-results.jsonl", *AUDIT, "--in-flight", "4", sim=sim, state="more-state") as first:
            ferry.wait_for(lambda: sim.stats()["requests"] > 2, "the first run")
            _, said = ferry.run("jobs.jsonl", "results.jsonl", *AUDIT, sim=sim, code=None)
            ferry.check_sentence(said, "audit.jsonl", "another process")
            first.kill()
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--set", "audit.file=/dev/null", sim=sim, code=2)
        ferry.check_sentence(said, "audit.file", "no file")
        out, said = ferry.ferry("audit", "verify", "none.jsonl", code=1)
        ferry.check_sentence(said, "cannot read none.jsonl")
        pathlib.Path("emptied.jsonl").write_text("")
        ferry.has(ferry.ferry("audit", "verify", "emptied.jsonl", code=1)[0], "empty: emptied.jsonl: no record is there")
        assert verify("emptied.jsonl", code=1)["broken"]["what"] == "empty"
        ferry.ferry("audit", "verify", "audit.jsonl", "--head", "12", code=2)
        ferry.ferry("audit", "verify", code=2)


if __name__ == "__main__":
    ferry.main([everything, off, killed, tampered, torn, another_file])
