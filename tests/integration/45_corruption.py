#!/usr/bin/env python3
"""Damaged, cut off or missing files: the state and the output are either mended without another call, or refused with one sentence. Never silently wrong."""
import os
import pathlib
import random
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

JOBS = 60
NAMES = [f"job-{number:06}" for number in range(JOBS)]
SEED = int(os.environ.get("DAMAGE_SEED", random.getrandbits(32)))


def half_done(sim, results="results.jsonl"):
    """Two thirds of the jobs are done."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    ferry.run("jobs.jsonl", results, "--limit", JOBS * 2 // 3, sim=sim)
    assert len(ferry.lines(results)) == JOBS * 2 // 3


def complete(sim, results="results.jsonl"):
    _, said = ferry.run("jobs.jsonl", results, sim=sim)
    ferry.check_succeeded(ferry.lines(results), NAMES)
    return said


def state_is_gone():
    """The output tells what is done: its lines are adopted and nothing is called again."""
    with ferry.Sim() as sim:
        half_done(sim)
        shutil.rmtree("state")
        said = complete(sim)
        ferry.has(said, "40 results that the last run had written are taken over")
        assert sim.stats()["repeated"] == 0 and sim.stats()["requests"] == JOBS
    ferry.check_verified()


def output_is_gone():
    """The state says that results were written, and they are not there: refused, and the output is not made anew."""
    with ferry.Sim() as sim:
        half_done(sim)
        os.remove("results.jsonl")
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=1)
        ferry.check_sentence(said, "results.jsonl", "missing")
        assert sim.stats()["requests"] == JOBS * 2 // 3


def both_are_gone():
    with ferry.Sim() as sim:
        half_done(sim)
        os.remove("results.jsonl")
        shutil.rmtree("state")
        complete(sim)


def another_output():
    """To name another output for a file that was begun would leave its results in two places."""
    with ferry.Sim() as sim:
        half_done(sim)
        _, said = ferry.run("jobs.jsonl", "other.jsonl", sim=sim, code=2)
        ferry.check_sentence(said, "results.jsonl", "--state")
        complete(sim)


def output_is_cut():
    """At a line's end and in the middle of one: results that the state knows of are missing, which is said; nothing is overwritten."""
    for cut in ("line", "middle"):
        with ferry.Sim() as sim:
            half_done(sim)
            whole = pathlib.Path("results.jsonl").read_bytes()
            end = whole.rindex(b"\n", 0, -1) + 1
            shorter = whole[: end if cut == "line" else end + 20]
            pathlib.Path("results.jsonl").write_bytes(shorter)
            _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=1)
            ferry.check_sentence(said, "results.jsonl", "missing")
            assert pathlib.Path("results.jsonl").read_bytes() == shorter
            pathlib.Path("results.jsonl").write_bytes(whole)
            complete(sim)
            assert sim.stats()["repeated"] == 0
        shutil.rmtree("state")
        os.remove("results.jsonl")


def torn_end():
    """Half a line behind what the state knows, as a crash leaves it: cut, and its job runs."""
    with ferry.Sim() as sim:
        half_done(sim)
        line = pathlib.Path("results.jsonl").read_bytes().splitlines()[0]
        with open("results.jsonl", "ab") as file:
            file.write(line[: len(line) // 2])
        complete(sim)
        assert sim.stats()["repeated"] == 0


def zeros_at_the_end():
    """Blocks that a file system gave and never filled."""
    with ferry.Sim() as sim:
        half_done(sim)
        with open("results.jsonl", "ab") as file:
            file.write(bytes(5000))
        complete(sim)
        assert sim.stats()["repeated"] == 0


def foreign_line_in_the_output():
    """Somebody appended a line of his own: said, and kept."""
    with ferry.Sim() as sim:
        half_done(sim)
        with open("results.jsonl", "ab") as file:
            file.write(b'{"note": "checked by Ann"}\n')
        before = pathlib.Path("results.jsonl").read_bytes()
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=1)
        ferry.check_sentence(said, "results.jsonl", "changed by somebody else")
        assert pathlib.Path("results.jsonl").read_bytes() == before


def flip(path, dice):
    data = bytearray(path.read_bytes())
    if not data:
        return
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def damaged_once(dice, number, sim):
    """One bit of one file of the state is turned over. The run may refuse with a sentence, or complete; never end well with a job missing or twice."""
    for path in ("state", "results.jsonl"):
        shutil.rmtree(path, ignore_errors=True) if path == "state" else pathlib.Path(path).unlink(missing_ok=True)
    shutil.copytree("good/state", "state")
    shutil.copy("good/results.jsonl", "results.jsonl")
    files = sorted(path for path in pathlib.Path("state").iterdir() if path.is_file() and not path.name.startswith(("LOG", "OPTIONS")))
    chosen = dice.choice(files)
    flip(chosen, dice)
    _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=None)
    results = ferry.lines("results.jsonl")
    if len(results) == JOBS and "failed" not in said.replace("0 failed", ""):
        ferry.check_succeeded(results, NAMES)
        return "completed"
    assert said.splitlines()[-1].startswith("batchferry: ") and chosen is not None, (number, chosen, said)
    ferry.check_once(results, [result["custom_id"] for result in results])
    return "refused"


def bits_turn_over():
    dice, outcomes = random.Random(SEED), {"completed": 0, "refused": 0}
    with ferry.Sim() as sim:
        half_done(sim)
        pathlib.Path("good").mkdir()
        shutil.copytree("state", "good/state")
        shutil.copy("results.jsonl", "good/results.jsonl")
        for number in range(40):
            outcomes[damaged_once(dice, number, sim)] += 1
    print(f"  seed {SEED}: {outcomes}")


def verify_finds_damage():
    """`state verify` reads everything."""
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(3000)))
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
    ferry.check_verified()
    for path in sorted(pathlib.Path("state").glob("*.sst")) + sorted(pathlib.Path("state").glob("*.log")):
        data = path.read_bytes()
        if len(data) < 1000:
            continue
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :])
        out, said = ferry.ferry("state", "verify", "--state", "state", code=1)
        assert "all parts agree" not in out, (path, out, said)
        path.write_bytes(data)
    ferry.check_verified()


if __name__ == "__main__":
    ferry.main([
        state_is_gone, output_is_gone, both_are_gone, another_output, output_is_cut, torn_end, zeros_at_the_end, foreign_line_in_the_output,
        bits_turn_over, verify_finds_damage,
    ])
