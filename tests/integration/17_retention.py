#!/usr/bin/env python3
"""idempotency.retention in `run`: old keys are forgotten once all inputs are finished; what a finished file has is never called again, what is added is."""
import pathlib
import re
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

SOON = ("--set", "idempotency.retention=1s")
JOBS = 50


def settled():
    """Rows in the state, which must be whole."""
    said, _ = ferry.ferry("state", "verify", "--state", "state")
    return int(next(line.split()[-1] for line in said.splitlines() if line.startswith("settled jobs")))


def run_until_forgotten(jobs, sim, *more):
    """The same command again and again, until there is no key any more; gives how many it said had gone."""
    count = 0

    def is_done():
        nonlocal count
        _, said = ferry.run(jobs + ".jsonl", jobs + ".out", *SOON, *more, sim=sim)
        ferry.has(said, "nothing to do")
        count += sum(int(number) for number in re.findall(r"(\d+) keys are forgotten", said))
        return settled() == 0

    ferry.wait_for(is_done, "all keys to be forgotten")
    return count


def forgotten():
    """A finished file has nothing to do, with or without its keys; of added lines those with a key that is forgotten are new jobs."""
    jobs = [ferry.chat(i) for i in range(JOBS)]
    with ferry.Sim() as sim:
        ferry.write_jobs("a.jsonl", jobs)
        ferry.run("a.jsonl", "a.out", sim=sim)
        _, said = ferry.run("a.jsonl", "a.out", sim=sim)
        ferry.check_sentence(said, "nothing to do")
        assert settled() == JOBS
        before = pathlib.Path("a.out").read_bytes()
        assert run_until_forgotten("a", sim) == JOBS
        _, said = ferry.run("a.jsonl", "a.out", *SOON, sim=sim)
        ferry.check_sentence(said, "nothing to do", str(JOBS))
        assert pathlib.Path("a.out").read_bytes() == before and sim.stats()["requests"] == JOBS
        new = [ferry.chat(JOBS + i) for i in range(10)]
        ferry.write_jobs("a.jsonl", jobs + new + [jobs[7]])
        ferry.run("a.jsonl", "a.out", sim=sim)
        ferry.write_jobs("a.jsonl", jobs + new + [jobs[7]] + new)
        ferry.run("a.jsonl", "a.out", sim=sim)
        assert sim.stats()["requests"] == JOBS + 11
    results = ferry.lines("a.out")
    ferry.check_succeeded(results[:JOBS], ferry.names(jobs))
    ferry.check_succeeded(results[JOBS:], ferry.names(new + [jobs[7]]))
    assert settled() == 11


def changed():
    """A line is put into what was done long ago: what the output says is known again, and only the new job is run."""
    jobs = [ferry.chat(i) for i in range(JOBS)]
    bad = ferry.chat(901, deadline="2020-01-01T00:00:00Z")
    with ferry.Sim() as sim:
        ferry.write_jobs("a.jsonl", jobs + [bad])
        ferry.run("a.jsonl", "a.out", "--errors", "a.err", code=3, sim=sim)
        assert settled() == JOBS + 1
        run_until_forgotten("a", sim, "--errors", "a.err")
        ferry.write_jobs("a.jsonl", jobs[:20] + [ferry.chat(900)] + jobs[20:] + [bad])
        _, said = ferry.run("a.jsonl", "a.out", "--errors", "a.err", sim=sim)
        ferry.has(said, "only new jobs are run", f"{JOBS + 1} results")
        assert sim.stats()["requests"] == JOBS + 1
        ferry.check_succeeded(ferry.lines("a.out"), ferry.names(jobs + [ferry.chat(900)]))
        assert len(ferry.lines("a.err")) == 1
        assert settled() == JOBS + 2


def unfinished():
    """While another input is interrupted all keys stay, and what it had answers to is not called again; then the old ones go."""
    first, second = [ferry.chat(i) for i in range(JOBS)], [ferry.chat(1000 + i) for i in range(2000)]
    ferry.write_jobs("a.jsonl", first)
    ferry.write_jobs("b.jsonl", second)
    with ferry.Sim("--latency", "lognormal:20ms,0.5") as sim:
        ferry.run("a.jsonl", "a.out", sim=sim)
        process = ferry.start("b.jsonl", "b.out", "--in-flight", "32", *SOON, sim=sim)
        ferry.wait_for(lambda: sim.stats()["answered"] >= JOBS + 100, "some answers")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=ferry.WAIT_S)
        assert process.returncode == 130, said
        known = JOBS + len(ferry.lines("b.out"))
        assert known < JOBS + len(second) and settled() == known, (known, settled())
        ferry.wait_for(lambda: "stay known" in ferry.run("a.jsonl", "a.out", "-v", *SOON, sim=sim)[1], "keys that are old")
        assert settled() == known and sim.stats()["requests"] == known
        ferry.run("b.jsonl", "b.out", "--in-flight", "512", *SOON, sim=sim)
        ferry.check_succeeded(ferry.lines("b.out"), ferry.names(second))
        assert sim.stats()["requests"] == JOBS + len(second) and sim.stats()["repeated"] == 0
        run_until_forgotten("b", sim)
        for jobs in ("a", "b"):
            _, said = ferry.run(jobs + ".jsonl", jobs + ".out", *SOON, sim=sim)
            ferry.check_sentence(said, "nothing to do")
        assert sim.stats()["requests"] == JOBS + len(second)


def by_parts():
    """Of a file that is done in parts no key goes before its end; the output is a pipe."""
    jobs, results = [ferry.chat(i) for i in range(2000)], []
    ferry.write_jobs("a.jsonl", jobs)

    def run(*more):
        out, said = ferry.run("a.jsonl", "-", *SOON, *more, sim=sim)
        results.extend(ferry.json.loads(line) for line in out.splitlines())
        return said

    with ferry.Sim() as sim:
        ferry.wait_for(lambda: "stay known" in run("--limit", "1", "-v"), "keys that are old")
        assert settled() == len(results) == sim.stats()["requests"]
        ferry.wait_for(lambda: "keys are forgotten" in run() and settled() == 0, "all keys to be forgotten")
        ferry.check_succeeded(results, ferry.names(jobs))
        assert sim.stats()["requests"] == len(jobs)


if __name__ == "__main__":
    ferry.main([forgotten, changed, unfinished, by_parts])
