#!/usr/bin/env python3
"""A disk that is full in the middle: one sentence, the answers are held, and with space it goes on by itself; or it gives up and a later run completes."""
import contextlib
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

JOBS = 600
IN_FLIGHT = 32
NAMES = [f"job-{number:06}" for number in range(JOBS)]


@contextlib.contextmanager
def small_disk(path, size):
    pathlib.Path(path).mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode != 0:
        ferry.skip("needs root and mount(2): " + mounted.stderr.strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(path, leave):
    """Takes all space but `leave` bytes."""
    space = os.statvfs(path)
    with open(f"{path}/ballast", "wb") as file:
        file.write(bytes(max(0, space.f_bavail * space.f_bsize - leave)))


def free(path):
    os.remove(f"{path}/ballast")


def start(sim, results, state, *more):
    """Each answer is 24 KB or so, so the disk is full after a few dozen."""
    ferry.write_jobs("jobs.jsonl", map(ferry.embedding, range(JOBS)))
    return ferry.start("jobs.jsonl", results, "--in-flight", IN_FLIGHT, *more, sim=sim, state=state)


def wait_for_sentence(process):
    line = process.stderr.readline()
    ferry.has(line, "batchferry: ", "No space left on device", "waiting for space")
    return line


def finished(process, disk):
    said = process.stderr.read()
    assert process.wait(300) == 0, said
    ferry.has(said, "there is space again")


def goes_on(results, state):
    """Nothing is called while there is no space beyond what was under way; nothing is repeated or lost."""
    with small_disk("disk", "96m"), ferry.Sim("--dimensions", "2048", "--latency", "fixed:5ms") as sim:
        fill("disk", 4 << 20)
        process = start(sim, results, state)
        wait_for_sentence(process)
        ferry.wait_for(lambda: sim.stats()["in_flight"] == 0, "the calls under way")
        requests, written = sim.stats()["requests"], len(complete_lines(results))
        assert requests < JOBS, "it went on calling though there was no space for answers"
        free("disk")
        finished(process, "disk")
        ferry.check_succeeded(ferry.lines(results), NAMES)
        assert sim.stats()["repeated"] == 0 and sim.stats()["requests"] == JOBS, sim.stats()
        print(f"  held with {requests} called and {written} written")
        ferry.check_verified(state)


def complete_lines(path):
    return [line for line in pathlib.Path(path).read_bytes().split(b"\n") if line.endswith(b"}")] if os.path.exists(path) else []


def output_is_full():
    goes_on("disk/results.jsonl", "state")


def state_is_full():
    """The state is small, so the disk must be nearly full from the start."""
    with small_disk("disk", "8m"), ferry.Sim("--dimensions", "8", "--latency", "fixed:2ms") as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.embedding, range(JOBS)))
        ferry.run("jobs.jsonl", "results.jsonl", "--limit", "1", sim=sim, state="disk/state")
        fill("disk", 8192)
        process = ferry.start("jobs.jsonl", "results.jsonl", "--in-flight", IN_FLIGHT, sim=sim, state="disk/state")
        ferry.wait_for(lambda: process.poll() is not None or sim.stats()["in_flight"] == 0, "it to stop or to hold")
        free_when_held(process)
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim, state="disk/state", code=None)
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim, state="disk/state")
        ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES)
        assert sim.stats()["answered_repeated"] <= 2 * IN_FLIGHT, sim.stats()
        ferry.check_verified("disk/state")


def free_when_held(process):
    """It may hold, or have refused to open: a sentence either way, and never a crash."""
    said = process.stderr.readline()
    assert said.startswith("batchferry: "), said
    free("disk")
    process.stderr.read()
    assert process.wait(300) in (0, 1), process.returncode


def both_are_full():
    goes_on("disk/results.jsonl", "disk/state")


def patience_ends():
    """limits.disk_patience: exit code 1 and a sentence; a later run completes, and repeats no more than was held."""
    with small_disk("disk", "96m"), ferry.Sim("--dimensions", "2048", "--latency", "fixed:5ms") as sim:
        fill("disk", 4 << 20)
        process = start(sim, "disk/results.jsonl", "state", "--set", "limits.disk_patience=1s")
        _, said = process.communicate(timeout=300)
        assert process.returncode == 1, (process.returncode, said)
        last = said.splitlines()[-1]
        ferry.has(last, "batchferry: ", "No space left on device", "nothing is lost")
        answered, written = sim.stats()["answered"], len(complete_lines("disk/results.jsonl"))
        assert written < answered < JOBS
        free("disk")
        ferry.run("jobs.jsonl", "disk/results.jsonl", "--in-flight", IN_FLIGHT, sim=sim)
        results = ferry.lines("disk/results.jsonl")
        ferry.check_succeeded(results, NAMES)
        repeated = sim.stats()["answered_repeated"]
        print(f"  {answered} answered, {written} written when it gave up; {repeated} repeated")
        assert repeated <= answered - written, (repeated, answered, written)


def interrupted_while_full():
    """Ctrl-C twice gives up at once; what was written stays, the rest runs later."""
    with small_disk("disk", "96m"), ferry.Sim("--dimensions", "2048", "--latency", "fixed:5ms") as sim:
        fill("disk", 4 << 20)
        process = start(sim, "disk/results.jsonl", "state")
        wait_for_sentence(process)
        process.terminate()
        ferry.has(process.stderr.readline(), "finishing the calls under way")
        process.terminate()
        said = process.stderr.read()
        assert process.wait(ferry.WAIT_S) in (1, 130), said
        free("disk")
        ferry.run("jobs.jsonl", "disk/results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("disk/results.jsonl"), NAMES)


if __name__ == "__main__":
    if os.geteuid() != 0:
        ferry.skip("needs root, to mount a small disk")
    ferry.main([output_is_full, state_is_full, both_are_full, patience_ends, interrupted_while_full])
