"""The row `day`: what the engine paid for a day of mixed work (tests/bench/day_bench.c), over the least that it could have cost.

The least comes from a linear program that knows the whole day beforehand: how many jobs of each group go to which place in which
hour, within the hours of the group and the hourly limits of the places, failed calls included. It is a lower bound: hours are cut
in the jobs' favour, and parts of a job may go to different places. GLPK's glpsol solves it (package glpk-utils).
"""
import json
import re
import shutil
import subprocess

from harness import Figure, Trouble

PICO = 1e12


def cells(day):
    """(group, place, hour, cost of a job in USD) wherever a group may go."""
    for number, group in enumerate(day["groups"]):
        for place, costs in enumerate(group["costs"]):
            for hour in range(group["first"], group["last"] + 1):
                if costs[hour] >= 0:
                    yield number, place, hour, costs[hour] / PICO


def program(day):
    """In CPLEX's LP format."""
    name = "x_{}_{}_{}".format
    done, used, total = {}, {}, []
    for group, place, hour, cost in cells(day):
        total.append(f"{cost:.12f} {name(group, place, hour)}")
        done.setdefault(group, []).append(name(group, place, hour))
        used.setdefault((place, hour), []).append(name(group, place, hour))
    lines = ["Minimize", " cost: " + "\n + ".join(total), "Subject To"]
    for group, names in done.items():
        lines.append(f" done_{group}: " + "\n + ".join(names) + f" = {day['groups'][group]['count']}")
    for (place, hour), names in used.items():
        most = day["places"][place]["hourly"] * day["success"]
        lines.append(f" most_{place}_{hour}: " + "\n + ".join(names) + f" <= {most:.3f}")
    return "\n".join(lines + ["End", ""])


def least_usd(day, directory):
    if not shutil.which("glpsol"):
        raise Trouble("glpsol is not installed; run: apt-get install glpk-utils")
    model, answer = directory / "day.lp", directory / "day.sol"
    model.write_text(program(day))
    command = ["glpsol", "--lp", model, "--output", answer]
    said = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^Status: +OPTIMAL$.*?^Objective: +cost = ([0-9.e+-]+)", answer.read_text() if answer.exists() else "", re.S | re.M)
    if said.returncode != 0 or not found:
        raise Trouble(f"glpsol found no optimum: {said.stdout[-400:]}")
    return float(found.group(1))


def row_day(bench):
    day = json.loads(subprocess.run([bench.tools / "day-bench"], check=True, capture_output=True, text=True).stdout)
    paid, least = day["paid"] / PICO, least_usd(day, bench.work)
    ratio = paid / least
    calls = ", ".join(f"{place['name']} {place['calls']:,}" for place in day["places"])
    yield Figure("day", "cost of a mixed day over the least possible", f"{ratio:.3f} ({paid:.2f} over {least:.2f} USD)", "<= 1.10",
                 ratio <= 1.10 and day["failed"] == 0, day)  # fmt: skip
    yield Figure("day", "  jobs that failed; calls", f"{day['failed']}; {calls}")


ROWS = {"day": row_day}
