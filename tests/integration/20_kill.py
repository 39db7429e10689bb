#!/usr/bin/env python3
"""
SIGKILL at random moments, again and again, then to the end: each job once in the output, no answered call paid twice.
KILLS says how often each loop kills (20), KILL_SEED repeats one.
"""
import datetime
import os
import pathlib
import random
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

KILLS = int(os.environ.get("KILLS", "20"))
JOBS = max(2000, KILLS * 300)
IN_FLIGHT = 64
SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
LATENCY = ("--latency", "lognormal:15ms,0.8", "--dimensions", "8")
OPTIONS = ("--in-flight", IN_FLIGHT, "--set", "retry.backoff.base=10ms", "--set", "retry.backoff.cap=40ms", "--set", "retry.attempts=100")


def moment(dice):
    """Mostly in the middle of work; sometimes at once, while the program opens and recovers what the last kill left."""
    return dice.uniform(0.0, 0.06) if dice.random() < 0.35 else dice.uniform(0.06, 0.30)


def die_at(process, seconds):
    """False when it had ended before."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def kill_until_done(arguments, dice):
    for kills in range(KILLS):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if not die_at(process, moment(dice)):
            said = process.stderr.read().decode()
            assert process.returncode in (0, 3), f"ended with {process.returncode} after {kills} kills: {said}"
            return kills
        process.stderr.close()
    return KILLS


def loop(make, *faults, more=(), code=0):
    """Gives the simulator's calls, its statistics, and how often the run was killed."""
    dice = random.Random(SEED)
    with ferry.Sim(*LATENCY, *faults) as sim:
        ferry.write_jobs("jobs.jsonl", (make(number) for number in range(JOBS)))
        kills = kill_until_done(ferry.command("jobs.jsonl", "results.jsonl", *OPTIONS, *more, sim=sim), dice)
        print(f"  seed {SEED}: {kills} kills", flush=True)
        assert kills > KILLS / 2, "it was done before it was killed often enough: too fast for this test"
        ferry.run("jobs.jsonl", "results.jsonl", *OPTIONS, *more, sim=sim, code=code)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", *more, sim=sim)
        ferry.has(said, "nothing to do")
        ferry.check_verified()
        return sim.calls(), sim.stats(), kills


def check_calls(calls, results, kills):
    """A call can only be repeated if it was under way at a kill: at most as many as were in flight then, and its result says so."""
    repeated = sum(call["answered"] - 1 for call in calls if call["answered"] > 1)
    uncertain = sum(result["receipt"]["attempts"] > 1 or result["receipt"]["cost_is_estimate"] for result in results)
    print(f"  {len(calls)} jobs called, {repeated} answered again, {uncertain} marked")
    assert repeated <= kills * IN_FLIGHT, f"{repeated} answered calls were repeated in {kills} kills"
    assert repeated <= uncertain, f"{repeated} answered calls were repeated, but only {uncertain} results say so"


def names():
    return [f"job-{number:06}" for number in range(JOBS)]


def chat():
    calls, _, kills = loop(ferry.chat)
    results = ferry.lines("results.jsonl")
    ferry.check_succeeded(results, names())
    check_calls(calls, results, kills)


def embeddings_with_faults():
    calls, _, kills = loop(ferry.embedding, "--fault", "500:0.03", "--fault", "429-seconds:0.02", "--retry-after", "0")
    results = ferry.lines("results.jsonl")
    ferry.check_succeeded(results, names())
    check_calls(calls, results, kills)


def failures_apart():
    """With --errors a job stands in exactly one of the two files."""
    calls, _, kills = loop(ferry.chat, "--fault", "400:0.2", "--fault", "content-filter:0.05", more=("--errors", "failed.jsonl"), code=None)
    good, bad = ferry.lines("results.jsonl"), ferry.lines("failed.jsonl")
    ferry.check_once(good + bad, names())
    assert all(result["response"]["status_code"] == 200 and result["error"] is None for result in good)
    assert len(bad) > JOBS / 20 and not any(result["error"] is None and result["response"]["status_code"] == 200 for result in bad)
    check_calls(calls, good + bad, kills)


def image(number):
    return {"custom_id": f"job-{number:06}", "url": "/v1/images/generations", "body": {"model": "m", "prompt": f"ship {number}", "size": "16x16"}}


def images():
    """What may not be repeated is never called twice; what was under way at a kill ends as unknown_outcome."""
    calls, stats, kills = loop(image, code=None)
    results = ferry.lines("results.jsonl")
    ferry.check_once(results, names())
    unknown = [result for result in results if result["error"]]
    print(f"  {len(unknown)} of unknown outcome")
    assert all(result["error"]["code"] == "unknown_outcome" for result in unknown)
    assert len(unknown) <= kills * IN_FLIGHT
    assert stats["executions_max"] == 1, "an image was made twice"
    assert sum(call["answered"] for call in calls) >= JOBS - len(unknown)


def collect(stream, taken):
    for line in stream:
        if line.endswith(b"\n"):
            taken.append(line)


def pipe_once(arguments, taken, seconds):
    """Runs with a pipe as output until it ends or `seconds` have passed. True when it was killed."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    reader = threading.Thread(target=collect, args=(process.stdout, taken))
    reader.start()
    killed = die_at(process, seconds)
    reader.join()
    process.stdout.close()
    return killed


def pipe():
    """A pipe cannot be read back: a line that was written just before a kill may come again, but none is missing or bought again."""
    dice, taken, kills = random.Random(SEED), [], 0
    with ferry.Sim(*LATENCY) as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.embedding, range(JOBS)))
        arguments = ferry.command("jobs.jsonl", "-", *OPTIONS, sim=sim)
        while kills < KILLS and pipe_once(arguments, taken, moment(dice)):
            kills += 1
        assert not pipe_once(arguments, taken, ferry.WAIT_S)
        seen = {ferry.json.loads(line)["custom_id"]: ferry.json.loads(line) for line in taken}
        ferry.check_succeeded(list(seen.values()), names())
        print(f"  seed {SEED}: {kills} kills, {len(taken) - len(seen)} lines came again")
        check_calls(sim.calls(), list(seen.values()), kills)


def another_output():
    """The first job is not yet due, so nothing of the input is behind: killed then, only the output says what was bought."""
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
    with ferry.Sim("--latency", "fixed:5ms") as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0, not_before=later), *map(ferry.chat, range(1, 200))])
        process = ferry.start("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.wait_for(lambda: ferry.count_lines("results.jsonl") == 199, "199 results")
        process.kill()
        process.communicate()
        _, said = ferry.run("jobs.jsonl", "other.jsonl", sim=sim, code=None)
        ferry.check_sentence(said, "jobs.jsonl was run before", "results.jsonl: name that file again")
        assert not pathlib.Path("other.jsonl").exists() or not ferry.lines("other.jsonl")
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0), *map(ferry.chat, range(1, 200))])
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{number:06}" for number in range(200)])
        assert len(sim.calls()) == 200 and sum(call["answered"] for call in sim.calls()) == 200, "a call was paid twice"


if __name__ == "__main__":
    ferry.main([chat, embeddings_with_faults, failures_apart, images, pipe, another_output])
