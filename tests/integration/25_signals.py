#!/usr/bin/env python3
"""Ctrl-C and SIGTERM: the first finishes what is under way, a second one stops at once; both keep everything, and the next run completes."""
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

JOBS = 2000
NAMES = [f"job-{number:06}" for number in range(JOBS)]


def start(sim, *more):
    """A run of which some answers are there and many more are not."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    process = ferry.start("jobs.jsonl", "results.jsonl", "--in-flight", "32", *more, sim=sim)
    ferry.wait_for(lambda: sim.stats()["answered"] >= 100 and sim.stats()["in_flight"] > 0, "the first answers")
    return process


def interrupted(process):
    _, said = process.communicate(timeout=ferry.WAIT_S)
    assert process.returncode == 130, (process.returncode, said)
    ferry.has(said, "run the same command again")
    return said


def complete(sim):
    ferry.run("jobs.jsonl", "results.jsonl", "--in-flight", "512", sim=sim)
    ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES)
    ferry.check_verified()


def drain(number):
    with ferry.Sim("--latency", "lognormal:20ms,0.5") as sim:
        process = start(sim)
        process.send_signal(number)
        said = interrupted(process)
        ferry.has(said, "finishing the calls under way")
        stats, written = sim.stats(), len(ferry.lines("results.jsonl"))
        assert stats["answered"] == stats["requests"] == written < JOBS, (stats, written)
        complete(sim)
        assert sim.stats()["repeated"] == 0 and sim.stats()["requests"] == JOBS, "a drained run leaves nothing to repeat"


def interrupt():
    drain(signal.SIGINT)


def terminate():
    drain(signal.SIGTERM)



def twice():
    """The calls under way are let go: at most these are repeated."""
    with ferry.Sim("--latency", "fixed:100ms") as sim:
        process = start(sim)
        process.send_signal(signal.SIGINT)
        ferry.has(process.stderr.readline(), "finishing the calls under way")
        process.send_signal(signal.SIGINT)
        interrupted(process)
        requests, written = sim.stats()["requests"], len(ferry.lines("results.jsonl"))
        assert written < requests <= written + 32, (written, requests)
        complete(sim)
        assert sim.stats()["answered_repeated"] <= 32
        assert sim.stats()["requests"] <= JOBS + 32


def while_nothing_answers():
    """A provider that hangs: one signal waits, the second ends it, and the jobs are kept."""
    with ferry.Sim("--fault", "hang:1") as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(10)))
        process = ferry.start("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.wait_for(lambda: sim.stats()["requests"] == 10, "ten calls that hang")
        process.send_signal(signal.SIGTERM)
        ferry.has(process.stderr.readline(), "finishing the calls under way")
        process.send_signal(signal.SIGTERM)
        interrupted(process)
        sim.set_faults()
        shown, _ = ferry.ferry("state", "show", "--state", "state")
        assert shown.count("unknown outcome: bf_") == 10, shown
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES[:10])
        assert all(result["receipt"]["attempts"] == 2 for result in ferry.lines("results.jsonl"))


def while_backing_off():
    """Jobs that wait for another try do not hold up the end."""
    with ferry.Sim("--fault", "503:1") as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(10)))
        process = ferry.start("jobs.jsonl", "results.jsonl", "--set", "retry.backoff.base=60s", "--set", "retry.backoff.cap=1h", sim=sim)
        ferry.wait_for(lambda: sim.stats()["requests"] >= 3 and sim.stats()["in_flight"] == 0, "calls that failed")
        process.send_signal(signal.SIGINT)
        interrupted(process)
        sim.set_faults()
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES[:10])


def while_input_is_silent():
    """Standard input that has nothing to say and does not end."""
    with ferry.Sim() as sim:
        process = ferry.start("-", "results.jsonl", sim=sim, stdin=ferry.subprocess.PIPE)
        process.stdin.write(ferry.json.dumps(ferry.chat(0)) + "\n")
        process.stdin.flush()
        ferry.wait_for(lambda: ferry.count_lines("results.jsonl") == 1, "the first result")
        process.send_signal(signal.SIGINT)
        assert process.wait(ferry.WAIT_S) == 130, process.stderr.read()


def while_nobody_reads():
    """The output is a pipe that is full: the second one ends the run, and the next gives every job."""
    names = {f"job-{number:06}" for number in range(JOBS)}
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
        process = ferry.start("jobs.jsonl", "-", sim=sim)

        def waits():
            before = sim.stats()["answered"]
            time.sleep(0.5)
            return before == sim.stats()["answered"] > 500

        ferry.wait_for(waits, "a run that waits for the pipe")
        process.send_signal(signal.SIGTERM)
        process.stderr.readline()

        def ended():  # who asks again and again does not put it off
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        ferry.wait_for(ended, "its end")
        assert process.returncode == 130
        taken = process.stdout.read().splitlines()
        out, _ = ferry.run("jobs.jsonl", "-", sim=sim)
    results = [ferry.json.loads(line) for line in out.splitlines()]
    first = {ferry.json.loads(line)["custom_id"] for line in taken if line.endswith("}")}
    assert {result["custom_id"] for result in results} | first == names
    ferry.check_verified()


if __name__ == "__main__":
    ferry.main([interrupt, terminate, twice, while_nothing_answers, while_backing_off, while_input_is_silent, while_nobody_reads])
