"""What the rows of scripts/bench share: processes that are measured, the simulator, and how a figure is said."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

BODY = '{"model": "m", "messages": [{"role": "user", "content": "question %08d: why is the sky blue?"}], "max_tokens": 64}'
ALL_WELL, JOBS_FAILED = 0, 3
RUN_LIMIT_S = 1800

SIZES = {  # quick, default, full
    "rounds": (5, 7, 9),
    "cpu_jobs": (30_000, 100_000, 200_000),
    "many_rounds": (2, 3, 5),
    "many_jobs": (100_000, 200_000, 400_000),  # 4,000 new connections cost 0.4 s: many jobs to each
    "in_flight_jobs": ((60_000, 120_000), (120_000, 300_000), (300_000, 1_000_000)),  # 1.5 s, 200 ms
    "memory_calls": (4_000, 10_000, 10_000),
    "lines": ((500_000, 1_500_000), (1_000_000, 4_000_000), (1_000_000, 10_000_000)),
    "calls": (None, (400_000, 1_200_000), (400_000, 4_000_000)),
    "resume_jobs": (100_000, 400_000, 1_000_000),
    "tls_connections": (300, 500, 1_000),
    "kafka_rounds": (1, 3, 5),
    "kafka_jobs": (100_000, 200_000, 400_000),
    "kafka_rate_jobs": (60_000, 150_000, 400_000),
    "kafka_latency_s": (15, 25, 60),
    "kafka_warm_ups": (1, 8, 8),
    "kafka_states": (1_000_000, 1_000_000, 1_000_000),
    "kafka_takeovers": (1, 3, 5),
}


class Trouble(Exception):
    """A row that cannot be measured, and why."""


@dataclasses.dataclass
class Figure:
    row: str
    name: str
    measured: str
    reach: str = ""
    reached: bool | None = None
    numbers: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Run:
    jobs: int
    seconds: float
    cpu_s: float
    peak_kb: int

    @property
    def cpu_us(self):
        return self.cpu_s * 1e6 / self.jobs


def median(values):
    return statistics.median(values)


def rounded(values, digits=2):
    return [round(value, digits) for value in values]


def count_lines(path):
    lines = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            lines += chunk.count(b"\n")
    return lines


def thread_seconds(pid):
    """CPU of each thread so far."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            seconds[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def process_seconds(pid):
    """CPU of a whole process so far, ended threads and all; in steps of 10 ms."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_seconds():
    """CPU that anything has used so far, over all cores."""
    ticks = [int(word) for word in open("/proc/stat").readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


class Sim:
    """`batchferry sim` on a free port, as a context."""

    def __init__(self, bench, *arguments, tls=False):
        self.port_file = pathlib.Path(tempfile.mkdtemp(dir=bench.work)) / "port"
        self.log = open(self.port_file.with_name("log"), "w+")
        command = [bench.binary, "sim", "--port", "0", "--port-file", self.port_file, *arguments]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.scheme = "https" if tls else "http"

    def __enter__(self):
        until = time.monotonic() + 20
        while not (self.port_file.exists() and self.port_file.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > until:
                self.log.seek(0)
                self.__exit__()
                raise Trouble(f"the simulator did not start: {self.log_text()}")
            time.sleep(0.02)
        self.url = f"{self.scheme}://127.0.0.1:{self.port_file.read_text().strip()}"
        return self

    def log_text(self):
        return self.port_file.with_name("log").read_text().strip()[-500:]

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stats(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/sim/stats", timeout=60) as answer:
            return json.load(answer)


class Sampler:
    """Looks at a run and its simulator now and then, for what happens between start and end."""

    def __init__(self, sim, pid):
        self.sim, self.pid, self.samples = sim, pid, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.stopping.wait(0.25):
            with contextlib.suppress(OSError, ValueError):
                stats = self.sim.stats()
                self.samples.append(
                    {
                        "at": time.monotonic(),
                        "answered": stats["answered"],
                        "connections": stats["connections_open"] - 1,  # this look is one
                        "run": thread_seconds(self.pid),
                        "sim": sum(thread_seconds(self.sim.process.pid).values()),
                        "machine": machine_seconds(),
                    }
                )

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def steady(self, jobs, period_s):
        """Two samples between a quarter and 85 % of the jobs, whole periods apart: answers come in waves."""
        steady = [sample for sample in self.samples if 0.25 * jobs <= sample["answered"] <= 0.85 * jobs]
        for last in reversed(steady):
            periods = (last["at"] - steady[0]["at"]) / period_s
            if periods >= 2 and abs(periods - round(periods)) < max(0.1, 0.15 / period_s):
                return steady[0], last
        raise Trouble("the run was too short to look at its middle")


class Bench:
    def __init__(self, options, work):
        self.work, self.binary, self.tools = work, options.binary, options.tools
        self.settings = options.set  # of workers
        self.kafka, self.million, self.rate = None, None, 0  # of kafka_rows.py
        self.level = 0 if options.quick else 2 if options.full else 1
        self.environment = {**os.environ, "OPENAI_API_KEY": "0123456789" * 4, "XDG_CONFIG_HOME": str(work)}

    def close(self):
        if self.kafka:
            self.kafka.stop()

    def size(self, name):
        return SIZES[name][self.level]

    def directory(self):
        """A new one, gone with the block."""
        return tempfile.TemporaryDirectory(dir=self.work, ignore_cleanup_errors=True)

    def measured(self, command, jobs, codes=(ALL_WELL,), watch=None):
        errors = self.work / "stderr"
        with open(errors, "w") as stderr:
            start = time.monotonic()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, cwd=self.work, env=self.environment
            )
            killer = threading.Timer(RUN_LIMIT_S, process.kill)
            killer.start()
            watcher = watch(process.pid) if watch else None
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            finally:
                killer.cancel()
                if watcher:
                    watcher.stop()
            seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            raise Trouble(f"exit code {process.returncode}: {errors.read_text().strip()[-500:]}")
        return Run(jobs, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss), watcher

    def run_in(self, directory, jobs_file, jobs, sim, in_flight, bad=False, watch=None):
        """`batchferry run` with its state and output in the directory."""
        output = pathlib.Path(directory) / "results.jsonl"
        command = [self.binary, "run", jobs_file, "-o", output, "--state", pathlib.Path(directory) / "state", "-q"]
        command += ["--base-url", f"{sim.url}/v1", "--in-flight", str(in_flight)]
        run, watcher = self.measured(command, jobs, (JOBS_FAILED if bad else ALL_WELL, ALL_WELL), watch)
        if (lines := count_lines(output)) != jobs:
            raise Trouble(f"{lines} result lines for {jobs} jobs")
        return run, watcher

    def run(self, *arguments, **more):
        with self.directory() as directory:
            return self.run_in(directory, *arguments, **more)[0]

    def http(self, url, requests, in_flight, *options):
        """One line of http-bench as a dictionary."""
        command = [self.tools / "http-bench", url, str(requests), "1", str(in_flight), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S)
        fields = {name: float(value) for name, value in re.findall(r"(\w+)=\s*([\d.]+)", done.stdout)}
        if done.returncode != 0 or fields.get("failed") != 0:
            raise Trouble(f"http-bench: {done.stdout} {done.stderr}")
        return fields
