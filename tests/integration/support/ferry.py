"""What the integration tests share: the program, the simulator as a process, job files, and reading what came out."""
import collections
import json
import os
import pathlib
import random
import signal
import ssl
import subprocess
import sys
import time
import traceback
import urllib.request

BATCHFERRY = os.environ["BATCHFERRY"]
WAIT_S = 60  # the longest that anything here waits for; no test asserts a time


def wait_for(condition, what):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {WAIT_S} s for {what}")
        time.sleep(0.01)


class Sim:
    """A running `batchferry sim`; use it with `with`."""

    def __init__(self, *arguments, tls=False):
        self.arguments, self.scheme = arguments, "https" if tls else "http"

    def __enter__(self):
        port_file = pathlib.Path(f"sim-{os.getpid()}-{random.getrandbits(32)}.port")
        command = [BATCHFERRY, "sim", "--port", "0", "--port-file", str(port_file), *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(lambda: port_file.exists() or self.process.poll() is not None, "the simulator")
        assert self.process.poll() is None, "the simulator ended at once"
        self.port = int(port_file.read_text())
        self.url = f"{self.scheme}://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_S)

    def ask(self, path, body=None):
        trusting = ssl._create_unverified_context() if self.scheme == "https" else None
        request = urllib.request.Request(f"{self.scheme}://127.0.0.1:{self.port}{path}", data=body)
        with urllib.request.urlopen(request, timeout=WAIT_S, context=trusting) as answer:
            return answer.read()

    def get(self, path):
        return self.ask(path)

    def post(self, path, body=b""):
        return self.ask(path, body)

    def set_faults(self, *faults, script=()):
        """Replaces the faults: ("500:0.1", ...) and rules of a script."""
        self.post("/sim/faults", json.dumps({"faults": list(faults), "script": list(script)}).encode())

    def stats(self):
        return json.loads(self.get("/sim/stats"))

    def calls(self):
        return [json.loads(line) for line in self.get("/sim/calls").splitlines()]


def chat(number, text=None, **more):
    body = {"model": "m", "messages": [{"role": "user", "content": text or f"question {number}"}], "max_tokens": 16}
    return {"custom_id": f"job-{number:06}", "method": "POST", "url": "/v1/chat/completions", "body": body, **more}


def embedding(number, **more):
    body = {"model": "m", "input": f"text {number}"}
    return {"custom_id": f"job-{number:06}", "method": "POST", "url": "/v1/embeddings", "body": body, **more}


def write_jobs(path, jobs):
    with open(path, "w") as file:
        for job in jobs:
            file.write((job if isinstance(job, str) else json.dumps(job)) + "\n")


def names(jobs):
    return [job["custom_id"] for job in jobs]


def provider(name, sim, models=({"model": "m"},), **more):
    """A provider of the configuration, served by a simulator."""
    return {"name": name, "kind": "openai", "base_url": sim.url, "models": list(models), **more}


def configure(path="batchferry.yaml", **settings):
    """Writes a configuration; JSON is YAML."""
    pathlib.Path(path).write_text(json.dumps(settings, indent=1))


def command(jobs, results, *more, sim=None, state="state"):
    line = [BATCHFERRY, "run", str(jobs), "-o", str(results), "--state", state]
    if sim:
        line += ["--base-url", sim.url]
    return line + [str(word) for word in more]


def start(jobs, results, *more, **kwargs):
    """The same as a process with pipes; the caller waits for it."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options.update({name: kwargs.pop(name) for name in list(kwargs) if name in ("stdin", "stdout", "stderr", "env", "text")})
    return subprocess.Popen(command(jobs, results, *more, **kwargs), **options)


def ferry(*words, code=0, env=None):
    """Any other command; gives (stdout, stderr)."""
    done = subprocess.run([BATCHFERRY, *map(str, words)], capture_output=True, text=True, timeout=300, env={**os.environ, **(env or {})})
    check_code(done, code)
    return done.stdout, done.stderr


def check_code(done, code):
    if code is not None and done.returncode != code:
        raise AssertionError(f"exit code {done.returncode}, not {code}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def run(jobs, results, *more, code=0, stdin=None, env=None, **kwargs):
    """Runs to the end; gives (stdout, stderr). The exit code must be `code` (None: any)."""
    done = subprocess.run(
        command(jobs, results, *more, **kwargs), input=stdin, capture_output=True, text=True, timeout=300,
        env={**os.environ, **(env or {})},
    )
    check_code(done, code)
    return done.stdout, done.stderr


def lines(path):
    path = pathlib.Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def count_lines(path):
    """Of a file that is being written: those that are whole."""
    path = pathlib.Path(path)
    return path.read_bytes().count(b"\n") if path.exists() else 0


def by_name(path):
    return {result["custom_id"]: result for result in lines(path)}


def failures(results):
    """How often each error code stands in the results."""
    return collections.Counter(result["error"]["code"] for result in results if result["error"])


def has(said, *parts):
    """Each part stands in what the program said."""
    for part in parts:
        assert part in said, f"{part!r} is not in {said!r}"


def check_sentence(said, *parts):
    """What the program said is one line with these parts."""
    has(said, *parts)
    assert len(said.splitlines()) == 1, f"more than one line: {said!r}"
    assert said.startswith("batchferry: "), said


def check_once(results, names):
    """Each of the names has exactly one line, and there is no other."""
    count = collections.Counter(result["custom_id"] for result in results)
    twice = [name for name, times in count.items() if times > 1]
    assert not twice, f"more than once in the output: {twice[:5]}"
    missing = set(names) - set(count)
    assert not missing, f"{len(missing)} jobs have no result, such as {sorted(missing)[:5]}"
    extra = set(count) - set(names)
    assert not extra, f"results of no job: {sorted(extra, key=str)[:5]}"


def check_succeeded(results, names):
    check_once(results, names)
    bad = [result for result in results if result["error"] or result["response"]["status_code"] != 200]
    assert not bad, f"{len(bad)} failed, such as {json.dumps(bad[0])[:1000]}"


def check_verified(state="state"):
    ferry("state", "verify", "--state", state)


def skip(why):
    print(why)
    sys.exit(77)


def run_one(test):
    """In a directory of its own. False when it failed."""
    before = os.getcwd()
    directory = pathlib.Path(test.__name__)
    directory.mkdir()
    os.chdir(directory)
    started = time.monotonic()
    try:
        test()
        print(f"{test.__name__}: passed ({time.monotonic() - started:.1f} s)", flush=True)
        return True
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"{test.__name__}: FAILED", flush=True)
        return False
    finally:
        os.chdir(before)


def main(tests):
    """Runs the given functions (or those named on the command line) and ends with 1 if one failed."""
    chosen = [test for test in tests if not sys.argv[1:] or test.__name__ in sys.argv[1:]]
    passed = [run_one(test) for test in chosen]
    sys.exit(0 if all(passed) else 1)
