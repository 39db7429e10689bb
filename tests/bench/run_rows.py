"""The rows of scripts/bench on `batchferry run`: a file of jobs in, a file of results out."""
import contextlib
import os
import pathlib
import re
import subprocess

from harness import ALL_WELL, BODY, JOBS_FAILED, Figure, Sampler, Sim, Trouble, median, rounded

LINE = '{"custom_id": "job-%08d", "method": "POST", "url": "/v1/chat/completions", "body": %s}\n'
BAD_LINE = '{"custom_id": "bad-%08d", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}\n'


# --- files ---------------------------------------------------------------------------------------------------------------


def write_jobs(path, count, bad=False):
    with open(path, "w") as out:
        for number in range(count):
            out.write(BAD_LINE % number if bad else LINE % (number, BODY % number))
    return path


def edit_first_line(path):
    """A space more between two members and one less before the end: the same job, the same length, another line."""
    with open(path, "r+b") as file:
        line = file.readline()
        edited = line.replace(b', "method"', b',  "method"', 1).replace(b'": {"model"', b'":{"model"', 1)
        assert len(edited) == len(line) and edited != line
        file.seek(0)
        file.write(edited)


# --- rows ----------------------------------------------------------------------------------------------------------------


def row_cpu(bench):
    jobs, floors, runs = bench.size("cpu_jobs"), [], []
    file = write_jobs(bench.work / "cpu.jsonl", jobs)
    body = bench.work / "body.json"
    body.write_text(BODY % 0)
    one = write_jobs(bench.work / "one.jsonl", 1)
    with Sim(bench) as sim:
        url = f"{sim.url}/v1/chat/completions"
        for number in range(bench.size("rounds")):
            steps = [
                lambda: floors.append(bench.http(url, jobs, 64, "--only", "floor", "--body-file", str(body))),
                lambda: runs.append(bench.run(file, jobs, sim, 64)),
            ]
            for step in steps if number % 2 == 0 else reversed(steps):
                step()
        start = bench.run(one, 1, sim, 64)
    ratios = [run.cpu_us / floor["cpu_us"] for run, floor in zip(runs, floors)]
    ratio, run_us, floor_us = median(ratios), median(r.cpu_us for r in runs), median(f["cpu_us"] for f in floors)
    yield Figure(
        "cpu",
        "CPU per job over the floor's per request, 64 in flight",
        f"{ratio:.2f} ({run_us:.1f} over {floor_us:.1f} us)",
        "<= 1.6",
        ratio <= 1.6,
        {
            "ratios": rounded(ratios),
            "run_us": rounded(r.cpu_us for r in runs),
            "floor_us": [f["cpu_us"] for f in floors],
            "run_jobs_per_s": rounded((jobs / r.seconds for r in runs), 0),
            "floor_requests_per_s": [f["requests_per_s"] for f in floors],
            "peak_mb": rounded((r.peak_kb / 1024 for r in runs), 1),
            "jobs": jobs,
            "run_of_one_job_cpu_ms": round(start.cpu_s * 1e3, 1),
        },
    )
    speeds = [median(jobs / r.seconds for r in runs), median(f["requests_per_s"] for f in floors)]
    yield Figure("cpu", "  jobs/s, floor's requests/s; peak memory", f"{speeds[0]:,.0f}, {speeds[1]:,.0f}/s; "
                 f"{median(r.peak_kb for r in runs) / 1024:.0f} MB")  # fmt: skip


def row_many(bench):
    jobs, few, many = bench.size("many_jobs"), [], []
    file = write_jobs(bench.work / "many.jsonl", jobs)
    with Sim(bench) as quick, Sim(bench, "--latency", "fixed:400ms") as slow:
        for _ in range(bench.size("many_rounds")):
            few.append(bench.run(file, jobs, quick, 64))
            many.append(bench.run(file, jobs, slow, 4000))
        peak = slow.stats()["in_flight_max"]
    ratios = [b.cpu_us / a.cpu_us for a, b in zip(few, many)]
    few_us, many_us = median(r.cpu_us for r in few), median(r.cpu_us for r in many)
    yield Figure(
        "many",
        "CPU per job at 4,000 in flight over that at 64",
        f"{median(ratios):.2f} ({many_us:.1f} over {few_us:.1f} us; the server held {peak:,})",
        "<= 1.8",
        median(ratios) <= 1.8 and peak >= 3600,
        {
            "ratios": rounded(ratios),
            "us_at_64": rounded(r.cpu_us for r in few),
            "us_at_4000": rounded(r.cpu_us for r in many),
            "jobs_per_s_at_4000": rounded((jobs / r.seconds for r in many), 0),
            "in_flight_max": peak,
            "jobs": jobs,
        },
    )


def calls_in_flight(bench, latency_s, jobs):
    """10,000 calls in flight against a server with that latency, and the rate in the middle of the run."""
    calls = 10_000
    file = write_jobs(bench.work / "in-flight.jsonl", jobs)
    with Sim(bench, "--latency", f"fixed:{latency_s * 1000:.0f}ms") as sim, bench.directory() as directory:
        run, sampler = bench.run_in(directory, file, jobs, sim, calls, watch=lambda pid: Sampler(sim, pid))
        held = sim.stats()["in_flight_max"]
    first, last = sampler.steady(jobs, latency_s)
    seconds, answered = last["at"] - first["at"], last["answered"] - first["answered"]
    threads = {name: cpu - first["run"].get(name, 0) for name, cpu in last["run"].items()}
    run_s, sim_s = sum(threads.values()), last["sim"] - first["sim"]
    others = max(0, (last["machine"] - first["machine"] - run_s - sim_s) / seconds)
    allowed = {
        "Little's law allows": calls / latency_s,
        "the cores allow": (os.cpu_count() - others) * answered / (run_s + sim_s),
        "the one thread of the shard allows": answered / max(threads.values()),
    }
    return {
        "held_max": held,
        "connections_max": max(sample["connections"] for sample in sampler.samples),
        "jobs_per_s": round(answered / seconds),
        "allowed_jobs_per_s": {name: round(value) for name, value in allowed.items()},
        "share": answered / seconds / min(allowed.values()),
        "bound": min(allowed, key=allowed.get),
        "cpu_us_per_job": {
            "run": round(run_s / answered * 1e6, 1),
            "busiest thread": round(max(threads.values()) / answered * 1e6, 1),
            "sim": round(sim_s / answered * 1e6, 1),
        },
        "cores_used_by_others": round(others, 2),
        "whole_run_jobs_per_s": round(jobs / run.seconds),
        "peak_mb": round(run.peak_kb / 1024),
        "jobs": jobs,
    }


def row_in_flight(bench):
    """With 200 ms it takes 50,000 calls/s to keep 10,000 in flight; with 1.5 s 6,700, which one core can do."""
    for latency_s, jobs in zip((1.5, 0.2), bench.size("in_flight_jobs")):
        got = calls_in_flight(bench, latency_s, jobs)
        provider = f"provider of {latency_s * 1000:.0f} ms"
        if latency_s > 1:
            name = f"in flight in one process, {provider}, as the server counted"
            yield Figure("in-flight", name, f"{got['held_max']:,}", ">= 10,000", got["held_max"] >= 10_000)
        yield Figure(
            "in-flight",
            f"jobs/s with --in-flight 10000, {provider}",
            f"{got['jobs_per_s']:,}/s, {got['share']:.0%} of what {got['bound']}",
            ">= 90 %",
            got["share"] >= 0.9,
            got,
        )


def row_memory(bench):
    calls, few = bench.size("memory_calls"), 64
    jobs = 3 * calls
    file = write_jobs(bench.work / "memory.jsonl", jobs)
    with Sim(bench) as quick, Sim(bench, "--latency", "fixed:1500ms") as slow:
        low = bench.run(file, jobs, quick, few)
        high = bench.run(file, jobs, slow, calls)
        peak = slow.stats()["in_flight_max"]
    each = (high.peak_kb - low.peak_kb) / (calls - few)
    yield Figure(
        "memory",
        "memory per call in flight, plain HTTP, payload included",
        f"{each:.1f} KB ({high.peak_kb / 1024:.0f} MB at {peak:,}, {low.peak_kb / 1024:.0f} at {few})",
        "<= 24 KB",
        each <= 24 and peak >= calls,
        {"kb_per_call": round(each, 2), "high_kb": high.peak_kb, "low_kb": low.peak_kb, "in_flight_max": peak},
    )


def row_file(bench):
    """The smaller file is long enough to fill the store's write buffers and cache, which are bounded."""
    with Sim(bench) as sim:
        for what, sizes, bad in (("lines that are no jobs", "lines", True), ("calls", "calls", False)):
            peaks, runs = [], []
            for jobs in bench.size(sizes) or ():
                file = write_jobs(bench.work / "file.jsonl", jobs, bad)
                runs.append(bench.run(file, jobs, sim, 64, bad=bad))
                peaks.append(runs[-1].peak_kb)
                file.unlink()
            if not runs:
                continue
            growth = peaks[1] / peaks[0] - 1
            small, big = bench.size(sizes)
            yield Figure(
                "file",
                f"peak memory with {small:,} and {big:,} {what}",
                f"{peaks[0] / 1024:.0f} and {peaks[1] / 1024:.0f} MB ({growth:+.0%})",
                "<= 10 % more",
                growth <= 0.1,
                {"growth": round(growth, 3), "kb": peaks, "us_per_line": rounded(run.cpu_us for run in runs)},
            )


def row_resume(bench):
    jobs = bench.size("resume_jobs")
    with Sim(bench) as sim, bench.directory() as directory:
        file = write_jobs(pathlib.Path(directory) / "jobs.jsonl", jobs)
        first = bench.run_in(directory, file, jobs, sim, 64)[0]
        again = [bench.run_in(directory, file, jobs, sim, 64)[0] for _ in range(5)]
        edit_first_line(file)
        slow = bench.run_in(directory, file, jobs, sim, 64)[0]
        calls = sim.stats()["executed"]
    cpu, wall = median(jobs / run.cpu_s for run in again), median(jobs / run.seconds for run in again)
    yield Figure(
        "resume",
        f"skipping {jobs:,} finished lines, start and end included",
        f"{cpu:,.0f} lines per CPU second, {wall:,.0f}/s",
        ">= 500,000/s",
        cpu >= 500_000 and wall >= 500_000 and calls == jobs,
        {
            "lines_per_cpu_s": [round(jobs / run.cpu_s) for run in again],
            "lines_per_s": [round(jobs / run.seconds) for run in again],
            "peak_kb": again[0].peak_kb,
            "first_run_peak_kb": first.peak_kb,
            "calls_again": calls - jobs,
        },
    )
    yield Figure(
        "resume",
        "  the same after an edit of the first line: each is looked up",
        f"{jobs / slow.cpu_s:,.0f} lines per CPU second, {jobs / slow.seconds:,.0f}/s",
        numbers={"lines_per_cpu_s": round(jobs / slow.cpu_s), "lines_per_s": round(jobs / slow.seconds)},
    )


def make_certificate(bench):
    """A certificate, its key, and a bundle as large as the system's that trusts it."""
    cert, key, bundle = (bench.work / name for name in ("cert.pem", "key.pem", "bundle.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    bundle.write_text((system.read_text() if system.exists() else "") + cert.read_text())
    return cert, key, bundle


def row_tls(bench):
    connections, rounds = bench.size("tls_connections"), []
    cert, key, bundle = make_certificate(bench)
    options = ["--only", "ours", "--ca", str(bundle), "--body", "200"]
    body = bench.work / "tls-body.json"
    body.write_text(BODY % 0)
    options += ["--body-file", str(body)]
    with Sim(bench, "--tls-cert", cert, "--tls-key", key, tls=True) as sim:
        for _ in range(3):
            rounds.append(bench.http(f"{sim.url}/v1/chat/completions", 2 * connections, connections, *options))
    cpu_us, kb = median(r["connect_us"] for r in rounds), median(r["rss_kb_per_call"] for r in rounds)
    bundle_kb = bundle.stat().st_size / 1024
    numbers = {"rounds": rounds, "connections": connections, "bundle_kb": round(bundle_kb)}
    name = f"a new TLS connection with its first request, bundle of {bundle_kb:.0f} KB"
    yield Figure("tls", f"CPU of {name}", f"{cpu_us / 1e3:.2f} ms", "<= 2 ms", cpu_us <= 2000, numbers)
    yield Figure("tls", "  its memory, with the call", f"{kb:.0f} KB", "<= 120 KB", kb <= 120)


def engine_bench(bench, *arguments):
    return subprocess.run([bench.tools / "engine-bench", *arguments], capture_output=True, text=True, check=True).stdout


def row_decision(bench):
    """
    CPU time of route_rank(), in a catalogue of 400 models and 2,000 endpoints; and of what the engine does around it for a job:
    the rest of the way of a job with one endpoint is taken off.
    """
    found, jobs = [], []
    pattern = r"([0-9.]+) candidates.* (\d+) ns a decision, (\d+) bytes allocated; (\d+) ns the first"
    for _ in range(3):
        found.append(re.search(pattern, engine_bench(bench, "decision", "1000000")).groups())
        alone, choosing = (re.search(r"(\d+) ns a job", engine_bench(bench, *of)).group(1) for of in (["500000"], ["choosing", "200000"]))
        jobs.append((int(alone), int(choosing)))
    decision_ns, allocated = median(int(one[1]) for one in found), max(int(one[2]) for one in found)
    numbers = {"rounds_ns": [int(one[1]) for one in found], "candidates": float(found[0][0])}
    name = f"one decision of {found[0][0]} candidates, 400 models, 2,000 endpoints"
    yield Figure("decision", name, f"{decision_ns / 1e3:.2f} us", "<= 2 us", decision_ns <= 2000, numbers)
    yield Figure("decision", "  memory that it allocates", f"{allocated} bytes", "0 bytes", allocated == 0)
    first_ns = median(int(one[3]) for one in found)
    yield Figure("decision", "  the first of its class, with finding the candidates", f"{first_ns / 1e3:.0f} us")
    around_ns = median(choosing - alone for alone, choosing in jobs)
    yield Figure("decision", "  in the engine, with the endpoints' states and its record", f"{around_ns / 1e3:.1f} us", numbers={"jobs_ns": jobs})


ROWS = {
    "decision": row_decision,
    "cpu": row_cpu,
    "many": row_many,
    "in-flight": row_in_flight,
    "memory": row_memory,
    "file": row_file,
    "resume": row_resume,
    "tls": row_tls,
}
