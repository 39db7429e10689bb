"""The rows of scripts/bench on `batchferry worker` with a real Kafka: jobs from a topic, results in a topic, exactly once.

One node of scripts/kafka serves all rows. Its JVM is given the optimising compiler (-XX:TieredStopAtLevel=4) and 1 GB, which
tests do without. Worker, broker and simulator share this machine's cores; what each of them used is in the numbers.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

from harness import BODY, RUN_LIMIT_S, Figure, Sim, Trouble, machine_seconds, median, process_seconds, rounded, thread_seconds

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KAFKA_OPTIONS = {"KAFKA_OPTS": "-XX:TieredStopAtLevel=4", "KAFKA_HEAP_OPTS": "-Xms256m -Xmx1g"}
PARTITIONS = 4
INTERVAL_MS = 100  # commit.interval, its default
LATENCY_MS = 100  # of the provider of the rows on rate and latency
START_S, STALL_S = 60, 60
WARM_UP_S, AT_REST_CORES = 30, 0.04
RESTORED = re.compile(r"partition (\d+): (\d+) state records read in (\d+) ms")


class Cluster:
    """One node, from its first use to the end of the rows."""

    def __init__(self, bench):
        self.bench, self.directory, self.count = bench, bench.work / "kafka", 0
        environment = {**os.environ, **KAFKA_OPTIONS}
        command = [ROOT / "scripts/kafka", "start", "--dir", self.directory, "--until", str(os.getpid()), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=RUN_LIMIT_S)
        if done.returncode != 0:
            raise Trouble(f"no Kafka: {done.stderr.strip()[-300:]}")
        self.bootstrap = done.stdout.strip()
        self.pid = int((self.directory / "pid").read_text().split()[0])

    def stop(self):
        subprocess.run([ROOT / "scripts/kafka", "stop", "--dir", self.directory, "--quiet", "--kill"], timeout=60)

    def run(self, command, *arguments):
        done = subprocess.run(
            [self.bench.tools / "kafka-bench", command, self.bootstrap, *map(str, arguments)], capture_output=True, text=True, timeout=RUN_LIMIT_S
        )
        if done.returncode != 0:
            raise Trouble(f"kafka-bench {command}: {done.stderr.strip()}")
        return done.stdout

    def numbers(self, command, *arguments):
        return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", self.run(command, *arguments))}

    def place(self, sim, partitions=PARTITIONS, jobs_of=None):
        """New topics, group and directory; `jobs_of`: another place whose jobs are read."""
        self.count += 1
        place = Place(self, f"b{self.count}-", sim, jobs_of)
        command = [self.bench.binary, "topics", "create", "--partitions", str(partitions), "--replication", "1", "-c", place.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S)
        if done.returncode != 0:
            raise Trouble(f"topics create: {done.stdout} {done.stderr}")
        return place


def kafka_of(bench):
    if not bench.kafka:
        bench.kafka = Cluster(bench)
    return bench.kafka


class Place:
    """Where a worker works: topics, group, state directory."""

    def __init__(self, cluster, prefix, sim, jobs_of):
        self.cluster, self.prefix = cluster, prefix
        self.jobs = jobs_of.jobs if jobs_of else f"{prefix}jobs"
        self.results, self.state_topic = f"{prefix}results", f"{prefix}state"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="worker-", dir=cluster.bench.work))
        self.config = self.directory / "worker.yaml"
        self.use(sim)

    def use(self, sim):
        """As the provider."""
        prefix, cluster = self.prefix, self.cluster
        topics = {"results": self.results, "dead_letters": f"{prefix}dead-letters", "state": self.state_topic, "audit": f"{prefix}audit"}
        self.config.write_text(
            json.dumps(
                {
                    "kafka": {"bootstrap.servers": cluster.bootstrap, "group.id": prefix},
                    "topics": {"jobs": self.jobs, **topics},
                    "listen": {"port": 0},
                    "commit": {"interval": f"{INTERVAL_MS}ms"},
                    "providers": [
                        {"name": "sim", "kind": "openai", "base_url": f"{sim.url}/v1",
                         "models": [{"model": "m", "price": {"input": 1, "output": 2}}]}
                    ],
                },
                indent=1,
            )
        )  # fmt: skip

    def check(self, jobs):
        """Every job has one result, and nothing else is there."""
        got = self.cluster.numbers("results", self.results, jobs, 0)
        if (got["records"], got["distinct"], got["others"]) != (jobs, jobs, 0):
            raise Trouble(f"{jobs} jobs have {got['records']:.0f} results of {got['distinct']:.0f} jobs")


class Worker:
    """`batchferry worker`, as a context; it is asked to drain at the end."""

    def __init__(self, place, shards, in_flight, state="state", settings=()):
        self.place, self.lines, self.url = place, [], None
        bench = place.cluster.bench
        command = [bench.binary, "worker", "-c", place.config, "--state", place.directory / state]
        command += ["--set", f"shards={shards}", "--set", f"limits.in_flight={in_flight}"]
        command += [word for setting in (*settings, *bench.settings) for word in ("--set", setting)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=bench.environment
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line.strip())

    def __enter__(self):
        try:
            self.url = self.line(r"metrics: (\S+)").group(1)
        except Trouble:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def line(self, pattern):
        """Of the log; waits for it."""
        until = time.monotonic() + START_S
        while True:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None or time.monotonic() > until:
                raise Trouble(f"the worker did not say \"{pattern}\": {' / '.join(self.lines[-3:])}")
            time.sleep(0.01)

    def restored(self):
        """{partition: (records, milliseconds)}, of all partitions."""
        until = time.monotonic() + START_S
        while True:
            found = {}
            for line in list(self.lines):
                if match := RESTORED.search(line):
                    found[int(match.group(1))] = (int(match.group(2)), int(match.group(3)))
            if len(found) == PARTITIONS:
                return found
            if self.process.poll() is not None or time.monotonic() > until:
                raise Trouble(f"the worker has not taken its partitions over: {' / '.join(self.lines[-3:])}")
            time.sleep(0.01)

    def metric(self, name):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url, timeout=30) as answer:
            found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", answer.read().decode(), re.M)
        return sum(map(float, found))

    def memory_kb(self, *names):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return [int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) for name in names]


def look(worker, sim):
    """All at one time."""
    done = worker.metric("batchferry_jobs_succeeded_total")
    return {
        "at": time.monotonic(),
        "done": done,
        "worker": process_seconds(worker.process.pid),
        "threads": thread_seconds(worker.process.pid),
        "broker": process_seconds(worker.place.cluster.pid),
        "sim": process_seconds(sim.process.pid),
        "machine": machine_seconds(),
    }


def names_of_threads(pid):
    names = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            names[task.name] = (task / "comm").read_text().strip()
    return names


def by_thread(worker, first, last, jobs):
    """Microseconds per job by the name of the thread, dearest first."""
    sums, names = {}, names_of_threads(worker.process.pid)
    for number, seconds in last["threads"].items():
        name = names.get(number, "?")
        sums[name] = sums.get(name, 0) + (seconds - first["threads"].get(number, 0)) * 1e6 / jobs
    return {name: round(value, 2) for name, value in sorted(sums.items(), key=lambda item: -item[1]) if value >= 0.05}


def watch(worker, sim, jobs):
    """Looks from 10 % of the jobs to 90 %; start, restore and end do not count."""
    looks, moved = [], time.monotonic()
    while True:
        now = look(worker, sim)
        if looks and now["done"] > looks[-1]["done"]:
            moved = now["at"]
        looks.append(now)
        if now["done"] >= jobs:
            break
        if worker.process.poll() is not None or time.monotonic() - moved > STALL_S:
            raise Trouble(f"{now['done']:.0f} of {jobs} jobs done, then no more: {' / '.join(worker.lines[-3:])}")
        time.sleep(0.5)  # a look costs the worker 3 ms
    steady = [each for each in looks if 0.1 * jobs <= each["done"] <= 0.9 * jobs]
    if len(steady) < 3:
        raise Trouble("the run was too short to look at its middle")
    return steady[0], steady[-1]


def through(cluster, sim, source, jobs, shards, in_flight, settings=()):
    """All jobs of `source` through a new worker; per job and second what happened in the middle."""
    place = cluster.place(sim, jobs_of=source)
    with Worker(place, shards, in_flight, settings=settings) as worker:
        first, last = watch(worker, sim, jobs)
        done, seconds = last["done"] - first["done"], last["at"] - first["at"]
        used = {name: last[name] - first[name] for name in ("worker", "broker", "sim")}
        others = max(0.0, last["machine"] - first["machine"] - sum(used.values()))
        threads = by_thread(worker, first, last, done)
        commits = [worker.metric(f"batchferry_commit_seconds_{what}") for what in ("sum", "count")]
        aborted = worker.metric("batchferry_transactions_aborted_total")
        peak_kb = worker.memory_kb("VmHWM")[0]
    place.check(jobs)
    left_s = os.cpu_count() * seconds - used["broker"] - used["sim"] - others
    return {
        "jobs_per_s": round(done / seconds),
        "cpu_us": {name: round(value * 1e6 / done, 1) for name, value in used.items()},
        "worker_us": used["worker"] * 1e6 / done,
        "threads_us": threads,
        "others_cores": round(others / seconds, 2),
        "share_of_cpu_left": used["worker"] / left_s if left_s > 0 else 1.0,
        "commit_ms": round(1e3 * commits[0] / max(1, commits[1]), 1),
        "transactions": round(commits[1]),
        "aborted": round(aborted),
        "peak_mb": round(peak_kb / 1024),
        "shards": shards,
        "in_flight": in_flight,
    }


def each_us(got):
    return ", ".join(f"{name} {value:.0f}" for name, value in got["cpu_us"].items())


def with_jobs(cluster, sim, jobs):
    source = cluster.place(sim)
    cluster.run("jobs", source.jobs, jobs, 0)
    return source


WAYS = {  # of working: shards and settings
    "1 shard": (1, []),
    "2 shards": (2, []),
    "1 shard, without the audit": (1, ["audit.topic=false"]),
}


def row_cpu(bench):
    jobs, floors, runs = bench.size("kafka_jobs"), [], {way: [] for way in WAYS}
    cluster, body = kafka_of(bench), bench.work / "kafka-body.json"
    body.write_text(BODY % 0)
    with Sim(bench) as sim:
        url = f"{sim.url}/v1/chat/completions"
        source = with_jobs(cluster, sim, jobs)
        through(cluster, sim, source, jobs, 1, 64)  # the JVM compiles what it will need
        for _ in range(bench.size("kafka_rounds")):
            for way, (shards, settings) in WAYS.items():
                floors.append(bench.http(url, jobs // 2, 64, "--only", "floor", "--body-file", str(body))["cpu_us"])
                runs[way].append(through(cluster, sim, source, jobs, shards, 64, settings))
            floors.append(bench.http(url, jobs // 2, 64, "--only", "floor", "--body-file", str(body))["cpu_us"])
    for place, (way, got) in enumerate(runs.items()):
        # Each against the floors before and after it.
        at = range(place, len(floors) - 1, len(WAYS) + 1)
        ratios = [run["worker_us"] / ((floors[i] + floors[i + 1]) / 2) for i, run in zip(at, got)]
        ratio, middle = median(ratios), got[len(got) // 2]
        yield Figure(
            "kafka-cpu",
            f"worker's CPU per job over the floor's per request, 64 in flight, {way}",
            f"{ratio:.2f} ({median(run['worker_us'] for run in got):.1f} over {median(floors):.1f} us)",
            "<= 2.0",
            ratio <= 2.0,
            {"ratios": rounded(ratios), "floor_us": rounded(floors), "runs": got, "jobs": jobs},
        )
        yield Figure("kafka-cpu", "  jobs/s; CPU per job in us", f"{median(run['jobs_per_s'] for run in got):,.0f}/s; {each_us(middle)}")
        dearest = ", ".join(f"{name} {value:.1f}" for name, value in list(middle["threads_us"].items())[:7])
        yield Figure("kafka-cpu", "  by thread, in us", dearest)


def rate_of(bench, jobs, shards=1):
    cluster = kafka_of(bench)
    with Sim(bench, "--latency", f"fixed:{LATENCY_MS}ms") as sim:
        source = with_jobs(cluster, sim, jobs)
        return {**through(cluster, sim, source, jobs, shards, 4000), "jobs": jobs}


def row_rate(bench):
    for shards in (1, 2):
        got = rate_of(bench, bench.size("kafka_rate_jobs"), shards)
        name = f"jobs/s, provider of 100 ms, 4,000 in flight, {shards} shard{'s' * (shards > 1)}, broker and simulator on the same cores"
        measured = f"{got['jobs_per_s']:,}/s; CPU per job in us: {each_us(got)}"
        yield Figure("kafka-rate", name, measured, ">= 5,000/s", got["jobs_per_s"] >= 5000, got)
        bench.rate = max(bench.rate, got["jobs_per_s"])
        # A worker alone has all cores, and keeps as many calls waiting as before: Little's law bounds it too.
        bound, share = 1e6 / got["worker_us"], got["share_of_cpu_left"]
        yield Figure(
            "kafka-rate",
            "  share that the worker used of the CPU that broker, simulator and others left it",
            f"{share:.0%}; a core alone allows {bound:,.0f}/s (of that it has {got['jobs_per_s'] / bound:.0%})",
            ">= 60 %",
            share >= 0.6,
        )


def compiler_seconds(pid):
    """CPU of a JVM's compiler threads so far."""
    names, seconds = names_of_threads(pid), thread_seconds(pid)
    return sum(value for number, value in seconds.items() if re.match(r"C[12] Compiler", names.get(number, "")))


def at_rate(cluster, sim, rate, seconds):
    """What the other side saw, and how many cores the broker's compiler took."""
    place = cluster.place(sim)
    with Worker(place, 1, 4000) as worker:
        worker.restored()
        before, begun = compiler_seconds(cluster.pid), time.monotonic()
        text = cluster.run("latency", place.prefix, rate * seconds, rate)
        compiling = (compiler_seconds(cluster.pid) - before) / (time.monotonic() - begun)
    place.check(rate * seconds)
    return text, compiling


def row_latency(bench):
    """
    kafka_bench.c says what is added. One shard, so that no rebalance comes in between. First at the same rate until
    the compiler of the broker's JVM has come to rest: in its first minute it takes more of the two cores than the worker.
    """
    cluster, seconds = kafka_of(bench), bench.size("kafka_latency_s")
    most = bench.rate or rate_of(bench, bench.size("kafka_rate_jobs"))["jobs_per_s"]
    rate = most // 2
    with Sim(bench, "--latency", f"fixed:{LATENCY_MS}ms") as sim:
        for _ in range(bench.size("kafka_warm_ups")):
            if at_rate(cluster, sim, rate, WARM_UP_S)[1] < AT_REST_CORES:
                break
        text, compiling = at_rate(cluster, sim, rate, seconds)
    rows = dict(re.findall(r"^(\w+) (p50=.*)$", text, re.M))
    got = {row: {name: float(value) for name, value in re.findall(r"(\w+)=(-?[\d.]+)", values)} for row, values in rows.items()}
    numbers = {"milliseconds": got, "jobs_per_s": rate, "most_jobs_per_s": most, "interval_ms": INTERVAL_MS, "seconds": seconds, "compiler_cores": compiling}
    p50, p99 = got["added"]["p50"] - INTERVAL_MS, got["added"]["p99"] - INTERVAL_MS
    yield Figure(
        "kafka-latency",
        f"from submit to committed result at {rate:,} jobs/s, beyond the provider's {LATENCY_MS} ms and the commit interval of {INTERVAL_MS}: p50, p99",
        f"{p50:.1f}, {p99:.1f} ms",
        "<= 10, 50 ms",
        p50 <= 10 and p99 <= 50,
        numbers,
    )
    yield Figure("kafka-latency", "  with the interval; of it until the answer is settled; from there to the reader: p50, p99",
                 "; ".join(f"{got[row]['p50']:.1f}, {got[row]['p99']:.1f} ms" for row in ("added", "intake", "publish")))  # fmt: skip
    yield Figure("kafka-latency", "  of a core, taken by the compiler of the broker's JVM meanwhile", f"{compiling:.0%}")


def million(bench, sim):
    """A place whose partition 0 has that many records of finished jobs; made once."""
    if not bench.million:
        place = kafka_of(bench).place(sim)
        kafka_of(bench).run("settled", place.state_topic, bench.size("kafka_states"), 0)
        bench.million = place
    bench.million.use(sim)
    return bench.million


def row_takeover(bench):
    records, cold, warm, killed = bench.size("kafka_states"), [], [], []
    soon = ["kafka.session.timeout.ms=6000"]  # the group waits so long for one that was killed
    with Sim(bench) as sim:
        place = million(bench, sim)
        for number in range(bench.size("kafka_takeovers")):
            state = f"state-{number}"
            with Worker(place, 1, 64, state, soon) as worker:
                got = worker.restored()[0]
                if got[0] < records:
                    raise Trouble(f"only {got[0]} records were read")
                cold.append(got[1])
            with Worker(place, 1, 64, state, soon) as worker:
                warm.append(worker.restored()[0][1])
                worker.kill()
            with Worker(place, 1, 64, state, soon) as worker:
                killed.append(worker.restored()[0][1])
    yield Figure("kafka-takeover", f"a partition with {records:,} state records, nothing of it here", f"{median(cold) / 1e3:.2f} s",
                 "<= 5 s", median(cold) <= 5000, {"ms": cold})  # fmt: skip
    for name, values in (("after a stop", warm), ("after SIGKILL", killed)):
        name = f"  its state here, {name}"
        yield Figure("kafka-takeover", name, f"{median(values):.0f} ms", "<= 200 ms", median(values) <= 200, {"ms": values})


def row_memory(bench):
    """With jobs before and after, so that what a worker needs anyway is there, and the records have been looked for."""
    records, jobs, kb = bench.size("kafka_states"), bench.size("kafka_jobs"), {}
    cluster = kafka_of(bench)
    with Sim(bench) as sim:
        for name, place in (("without", cluster.place(sim)), ("with", million(bench, sim))):
            cluster.run("jobs", place.jobs, jobs, 0)
            with Worker(place, 1, 64, "state-memory") as worker:
                worker.restored()
                restored = worker.memory_kb("VmRSS", "VmHWM")
                watch(worker, sim, jobs)
                kb[name] = {"restored": restored, "end": worker.memory_kb("VmRSS", "VmHWM", "RssAnon")}
            place.check(jobs)
    bench.million = None  # it has more now
    rss, peak, _ = kb["with"]["end"]
    yield Figure(
        "kafka-memory",
        f"resident memory of a worker with {records:,} records, after {jobs:,} jobs",
        f"{rss / 1024:.0f} MB (peak {peak / 1024:.0f}; without the records {kb['without']['end'][0] / 1024:.0f})",
        "<= 300 MB",
        rss <= 300 * 1024,
        {"kb": kb, "columns": ["VmRSS", "VmHWM", "RssAnon"]},
    )


ROWS = {
    "kafka-cpu": row_cpu,
    "kafka-rate": row_rate,
    "kafka-latency": row_latency,
    "kafka-takeover": row_takeover,
    "kafka-memory": row_memory,
}
