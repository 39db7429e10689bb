"""The rows of scripts/bench on the engine alone, without a store, a network or a disk."""
import re
import subprocess

from harness import Figure, Trouble, median

WAITING = (1000, 100_000)


def turn_ns(bench, jobs):
    done = subprocess.run([bench.tools / "waiting-bench", str(jobs)], capture_output=True, text=True)
    found = re.search(r"waiting: (\d+) ns a turn, (\d+) ns to take", done.stdout)
    if not found:
        raise Trouble(f"waiting-bench {jobs}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return int(found.group(1)), int(found.group(2))


def row_waiting(bench):
    rounds = [[turn_ns(bench, jobs) for jobs in WAITING] for _ in range(3 if bench.level == 0 else 7)]
    few, many = (median([one[i][0] for one in rounds]) for i in range(2))
    taken = [median([one[i][1] for one in rounds]) for i in range(2)]
    yield Figure(
        "waiting", "turn of the engine when none of 1,000; 100,000 jobs in 50 classes can move", f"{few:,.0f}; {many:,.0f} ns",
        "does not grow", many <= 1.25 * few + 100, {"rounds": rounds})  # fmt: skip
    yield Figure("waiting", "  to take a job in", f"{taken[0]:,.0f}; {taken[1]:,.0f} ns")


ROWS = {"waiting": row_waiting}
