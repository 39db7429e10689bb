#!/usr/bin/env python3
"""
zdr: nothing that such a job says or is answered is written to the state directory, a log or the audit, however often the program is killed; also not when
its results go to a pipe. KILL_SEED repeats one.
"""
import collections
import http.server
import json
import os
import pathlib
import random
import select
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

SEED = int(os.environ.get("KILL_SEED", random.getrandbits(32)))
KILLS = int(os.environ.get("KILLS", "12"))
ASKED, ANSWERED = "what-nobody-may-keep-5f1c", "what-nobody-may-know-9be2"
FLOOD = 4096  # bytes of an answer: a pipe is full after a few
PIPE = 64 << 10  # what a pipe holds


class Oracle(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        self.server.asked.append(asked)
        time.sleep(self.server.latency_s)
        body = json.dumps({
            "id": "x", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": (ANSWERED + " ") * (FLOOD // 26) + asked[::-1]}}]}).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # it was killed

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass


class Provider:
    def __init__(self, latency_s=0.005):
        self.latency_s = latency_s

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), Oracle)
        self.server.asked, self.server.latency_s = [], self.latency_s
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def configure(provider, zdr=True, **more):
    ferry.configure(
        routing={"zdr": zdr}, audit={"file": "audit.jsonl"}, log={"level": "debug"}, retry={"attempts": 100},
        providers=[ferry.provider("p", provider, [{"model": "m", "price": {"input": 1, "output": 1}}], data_policy={"zdr": True})], **more)


def job(number, **more):
    return ferry.chat(number, f"{ASKED} {number}", **more)


def found(*places):
    """Files below these places in which something stands that was asked or answered."""
    marks = (ASKED.encode(), ANSWERED.encode(), ASKED[::-1].encode())
    for place in places:
        for path in [pathlib.Path(place), *pathlib.Path(place).rglob("*")]:
            if path.is_file() and any(mark in path.read_bytes() for mark in marks):
                yield path


def nowhere():
    left = list(found("state", "audit.jsonl", "said.txt"))
    assert not left, f"it stands in {left}"


class Pipe:
    """A run whose results go to a pipe that is read slowly."""

    def __init__(self, taken):
        self.process = subprocess.Popen(
            ferry.command("jobs.jsonl", "-", "-v", "-c", "batchferry.yaml", "--in-flight", "16"), stdout=subprocess.PIPE, stderr=open("said.txt", "ab"))
        self.taken, self.reader = taken, threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.taken.append(json.loads(line))
            time.sleep(0.001)

    def end(self, seconds):
        """True when it had to be killed."""
        try:
            self.process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return True
        finally:
            self.reader.join()
            self.process.stdout.close()


def is_full(pipe):
    """Of the end that is written: there is no room, however many bytes that are."""
    return not select.select([], [pipe], [], 0)[1]


def control():
    """Without zdr the state does hold it for a while: what the other tests look for can be found."""
    with Provider() as provider:
        configure(provider, zdr=False)
        ferry.write_jobs("jobs.jsonl", map(job, range(300)))
        process = subprocess.Popen(ferry.command("jobs.jsonl", "-", "-c", "batchferry.yaml"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ferry.wait_for(lambda: list(found("state")), "an answer in the state")
        process.kill()
        process.wait()
        process.stdout.close()


def pipe():
    """Killed at random moments: nothing is on the disk, every job comes out, and only what was under way is asked again."""
    dice, taken, kills = random.Random(SEED), [], 0
    jobs = KILLS * 40
    with Provider() as provider:
        configure(provider)
        ferry.write_jobs("jobs.jsonl", map(job, range(jobs)))
        while kills < KILLS and Pipe(taken).end(dice.uniform(0.02, 0.3)):
            kills += 1
            nowhere()
        assert not Pipe(taken).end(ferry.WAIT_S)
        nowhere()
        asked = len(provider.server.asked)
    ferry.check_succeeded({result["custom_id"]: result for result in taken}.values(), [f"job-{number:06}" for number in range(jobs)])
    print(f"  seed {SEED}: {kills} kills, {jobs} jobs, {asked} calls, {len(taken)} lines")
    assert kills > 2, "it was done before it was killed often enough: too fast for this test"
    # What is asked again was in flight, or answered and on its way through the pipe: 64 KiB of it and one batch.
    assert asked - jobs <= kills * (16 + PIPE // FLOOD + 16 * 4), "more is asked again than can have been under way"
    ferry.check_verified()


def stall(provider, taken):
    """Runs until the pipe is full and nothing moves any more, which is when more was answered than it holds; kills it, and takes what is in the pipe."""
    source, drain = os.pipe()
    process = subprocess.Popen(ferry.command("jobs.jsonl", "-", "-c", "batchferry.yaml", "--in-flight", "16"), stdout=drain, stderr=subprocess.DEVNULL)
    asked, since = -1, 0

    def stalled():
        nonlocal asked, since
        now = len(provider.server.asked)
        if now != asked or not is_full(drain):
            asked, since = now, time.monotonic()
        return process.poll() is not None or time.monotonic() - since > 0.3

    ferry.wait_for(stalled, "the pipe to be full")
    process.kill()
    process.wait()
    os.close(drain)
    with open(source, "rb") as lines:
        taken += [json.loads(line) for line in lines if line.endswith(b"\n")]


def never_twice():
    """With on_unknown_outcome: fail nothing is paid twice: what was lost with the process ends as unknown, with what it cost."""
    taken, jobs = [], 600
    with Provider() as provider:
        configure(provider)
        ferry.write_jobs("jobs.jsonl", (job(number, on_unknown_outcome="fail") for number in range(jobs)))
        for _ in range(8):
            stall(provider, taken)
            nowhere()
        assert not Pipe(taken).end(ferry.WAIT_S)
        nowhere()
        assert len(provider.server.asked) == len(set(provider.server.asked)), "a job was called twice"
    lost = [result for result in taken if result["error"]]
    known = sum(result["receipt"]["cost_usd"] == 0.000015 for result in lost)
    print(f"  {len(taken)} lines, {len(lost)} of unknown outcome, the cost of {known} is known")
    assert lost and all(result["error"]["code"] == "unknown_outcome" for result in lost)
    assert known > 0, "what was answered has a cost that is known"
    ferry.check_once({result["custom_id"]: result for result in taken}.values(), [f"job-{number:06}" for number in range(jobs)])


def reader_gone():
    """A pipe that is closed: its lines are nowhere, and their jobs are done again, because no mark has passed them."""
    taken = []
    with Provider() as provider:
        configure(provider)
        ferry.write_jobs("jobs.jsonl", map(job, range(100)))
        process = subprocess.Popen(ferry.command("jobs.jsonl", "-", "-c", "batchferry.yaml", "--in-flight", "8"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        taken.append(json.loads(process.stdout.readline()))
        process.stdout.close()
        assert process.wait(ferry.WAIT_S) == 1
        nowhere()
        assert not Pipe(taken).end(ferry.WAIT_S)
        nowhere()
    missing = {f"job-{number:06}" for number in range(100)} - {result["custom_id"] for result in taken}
    print(f"  {len(missing)} lines were on their way in the pipe when its reader went away")
    assert len(missing) <= PIPE // FLOOD + 8


def rules_hold_on_every_attempt():
    """Whatever fails where the rules allow it, no repetition goes where they do not; the audit says the same."""
    rules = [{"zdr": True}, {"data_collection": "deny"}, {"regions": ["eu"]}, {"only": ["closed"]}]
    faults = ["500:0.1", "503:0.05", "429-seconds:0.1", "reset-after:0.1"]
    cheap, dear = [{"model": "m", "price": {"input": price, "output": price}} for price in (0.1, 1)]
    with ferry.Sim() as open_to_all, ferry.Sim(*(word for fault in faults for word in ("--fault", fault)), "--retry-after", "0") as closed:
        ferry.configure(
            audit={"file": "audit.jsonl"}, retry={"attempts": 100, "budget": "1000%", "backoff": {"base": "1ms", "cap": "5ms"}},
            providers=[
                ferry.provider("open", open_to_all, [cheap], region="us", data_policy={"zdr": False, "training": True}),
                ferry.provider("closed", closed, [dear], region="eu", data_policy={"zdr": True, "training": False})])
        ferry.write_jobs("jobs.jsonl", (job(number, routing=rules[number % len(rules)]) for number in range(200)))
        ferry.run("jobs.jsonl", "results.jsonl", "-c", "batchferry.yaml", code=None)
        assert open_to_all.stats()["requests"] == 0, "a job went where its rules do not let it go"
        calls = [record for record in ferry.lines("audit.jsonl") if record["kind"] == "call"]
        assert len(calls) == closed.stats()["requests"] and {record["provider"] for record in calls} == {"closed"}
        assert {"retry", "throttled", "unknown"} <= {record["outcome"] for record in calls}, collections.Counter(record["outcome"] for record in calls)
        ferry.write_jobs("free.jsonl", map(ferry.chat, range(5)))  # without rules they do go there
        ferry.run("free.jsonl", "free-results.jsonl", "-c", "batchferry.yaml", state="free")
        assert open_to_all.stats()["requests"] == 5


def file():
    """The output is the user's, and the only place; adopted lines come from there."""
    dice, kills = random.Random(SEED), 0
    with Provider() as provider:
        configure(provider)
        ferry.write_jobs("jobs.jsonl", map(job, range(400)))
        arguments = ferry.command("jobs.jsonl", "results.jsonl", "-v", "-c", "batchferry.yaml", "--in-flight", "16")
        for _ in range(5):
            process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=open("said.txt", "ab"))
            try:
                process.wait(dice.uniform(0.05, 0.3))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            nowhere()
        ferry.run("jobs.jsonl", "results.jsonl", "-c", "batchferry.yaml")
        nowhere()
    ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{number:06}" for number in range(400)])
    assert list(found("results.jsonl")) and kills > 0


if __name__ == "__main__":
    ferry.main([control, pipe, never_twice, reader_gone, file, rules_hold_on_every_attempt])
