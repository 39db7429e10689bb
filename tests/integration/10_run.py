#!/usr/bin/env python3
"""`batchferry run` as a user meets it: every kind of job, what its results say, running again, and every option."""
import base64
import functools
import http.server
import json
import os
import pathlib
import struct
import subprocess
import sys
import threading
import wave

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

CHAT = {"messages": [{"role": "user", "content": "hello"}]}


def job(name, url, **body):
    return {"custom_id": name, "url": "/v1/" + url, "body": {"model": "m", **body}, "metadata": {"of": name}}


def write_tone(path, seconds=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(struct.pack("<h", 1000) * 16000 * seconds)


def data_url(path):
    return "data:audio/wav;base64," + base64.b64encode(pathlib.Path(path).read_bytes()).decode()


def results_of(jobs, *more, sim, code=0):
    ferry.write_jobs("jobs.jsonl", jobs)
    ferry.run("jobs.jsonl", "results.jsonl", *more, sim=sim, code=code)
    results = ferry.lines("results.jsonl")
    ferry.check_once(results, ferry.names(jobs))
    return ferry.by_name("results.jsonl")


def check_result(job, result):
    """What every successful line has, whatever the kind."""
    assert result["id"].startswith("bf_") and len(result["id"]) == 35, result["id"]
    assert result["error"] is None, result
    assert result["response"]["status_code"] == 200, result
    assert result["response"]["request_id"].startswith("req_"), result
    assert result["metadata"] == job["metadata"], result
    receipt = result["receipt"]
    assert receipt["workspace"] == "default" and receipt["batch"] == "jobs.jsonl", receipt
    assert receipt["provider"] == "default" and receipt["model"] == "m" and receipt["mode"] == "sync", receipt
    assert receipt["attempts"] == 1 and not receipt["replayed"] and not receipt["cost_is_estimate"], receipt
    assert receipt["decision"]["chosen"] == "default/*", receipt
    assert receipt["decision"]["candidates"][0]["endpoint"] == "default/*", receipt


def bodies_of(jobs, *more, sim):
    results = results_of(jobs, *more, sim=sim)
    for one in jobs:
        check_result(one, results[one["custom_id"]])
    return {name: result["response"]["body"] for name, result in results.items()}, results


def text_jobs():
    jobs = [job("chat", "chat/completions", **CHAT), job("responses", "responses", input="hello"), job("completions", "completions", prompt="hello")]
    with ferry.Sim("--reply-tokens", "7") as sim:
        bodies, results = bodies_of(jobs, sim=sim)
    assert bodies["chat"]["object"] == "chat.completion" and bodies["chat"]["choices"][0]["message"]["content"]
    assert bodies["responses"]["object"] == "response" and bodies["responses"]["output"][0]["content"][0]["text"]
    assert bodies["completions"]["object"] == "text_completion" and bodies["completions"]["choices"][0]["text"]
    for name in ("chat", "responses", "completions"):
        receipt, usage = results[name]["receipt"], results[name]["receipt"]["usage"]
        assert "estimated_cost_usd" in receipt, receipt
        assert usage["output_tokens"] == 7 and usage["input_tokens"] > 0, usage


def embeddings():
    body = {"input": ["one", "two"], "dimensions": 8}
    jobs = [job("unsaid", "embeddings", **body), job("float", "embeddings", **body, encoding_format="float"), job("base64", "embeddings", **body, encoding_format="base64")]
    with ferry.Sim() as sim:
        bodies, _ = bodies_of(jobs, sim=sim)
    vectors = {name: [item["embedding"] for item in body["data"]] for name, body in bodies.items()}
    assert vectors["unsaid"] == vectors["float"], "what was not said must come back as numbers"
    unpacked = [list(struct.unpack("<8f", base64.b64decode(text))) for text in vectors["base64"]]
    for got, exact in zip(vectors["float"], unpacked):
        assert [struct.unpack("<f", struct.pack("<f", number))[0] for number in got] == exact, (got, exact)


def transcription_formats():
    write_tone("tone.wav")
    formats = ("json", "text", "srt", "vtt", "verbose_json")
    url = data_url("tone.wav")
    jobs = [job(name, "audio/transcriptions", file_url=url, response_format=name) for name in formats]
    jobs += [job("unsaid", "audio/transcriptions", file_url=url), job("translation", "audio/translations", file_url=url)]
    with ferry.Sim() as sim:
        bodies, results = bodies_of(jobs, sim=sim)
    text = bodies["json"]["text"]
    assert text and bodies["unsaid"]["text"] == text == bodies["translation"]["text"] == bodies["text"]["text"].rstrip("\n")
    assert " --> " in bodies["srt"]["text"] and text in bodies["srt"]["text"]
    assert bodies["vtt"]["text"].startswith("WEBVTT") and text in bodies["vtt"]["text"]
    assert bodies["verbose_json"]["duration"] == 2 and bodies["verbose_json"]["segments"][0]["text"] == text
    assert all(result["receipt"]["usage"]["audio_seconds"] == 2 for result in results.values()), "what is not said stands in the file"


class Files:
    """A web server with the current directory's files."""

    def __enter__(self):
        quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        handler = functools.partial(quiet, directory=os.getcwd())
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def audio_by_reference():
    pathlib.Path("media").mkdir()
    write_tone("media/tone.wav")
    pathlib.Path("outside.wav").write_bytes(b"RIFF")
    with ferry.Sim() as sim, Files() as web:
        urls = {
            "data": data_url("media/tone.wav"), "http": web + "/media/tone.wav",
            "file": "file://" + str(pathlib.Path("media/tone.wav").resolve()),
        }
        jobs = [job(name, "audio/transcriptions", file_url=url, response_format="text") for name, url in urls.items()]
        bodies, results = bodies_of(jobs, "--set", "fetch.allow=http,file", "--set", "fetch.private_addresses=allow", sim=sim)
        assert all(result["receipt"]["usage"]["audio_seconds"] == 2 for result in results.values()), "a text does not say it, the file does"
        assert bodies["data"]["text"] == bodies["file"]["text"] == bodies["http"]["text"], "the same audio, three ways"


def audio_that_may_not_be_fetched():
    """Each is refused as input_unavailable with a reason, and nobody is called."""
    pathlib.Path("media").mkdir()
    pathlib.Path("secret.wav").write_bytes(b"RIFF")
    os.symlink("../secret.wav", "media/link.wav")
    here = str(pathlib.Path().resolve())
    with ferry.Sim() as sim, Files() as web:
        urls = {
            "http": web + "/secret.wav", "outside": f"file://{here}/secret.wav", "dots": f"file://{here}/media/../secret.wav",
            "link": f"file://{here}/media/link.wav", "absent": f"file://{here}/media/none.wav", "metadata": "https://169.254.169.254/latest",
            "scheme": "gopher://127.0.0.1/", "s3": "s3://bucket/key", "spoiled": "data:audio/wav;base64,@@@@",
        }
        jobs = [job(name, "audio/transcriptions", file_url=url) for name, url in urls.items()]
        results = results_of(jobs, "--set", "fetch.allow=https,file", "--set", "retry.backoff.cap=10ms", "--set", "retry.backoff.base=1ms", sim=sim, code=3)
        for name, result in results.items():
            assert result["error"]["code"] in ("input_unavailable", "invalid_job"), (name, result["error"])
            assert len(result["error"]["message"]) > 10, (name, result["error"])
        assert sim.stats()["requests"] == 0


def audio_too_large():
    write_tone("tone.wav")
    with ferry.Sim() as sim:
        results = results_of([job("a", "audio/transcriptions", file_url=data_url("tone.wav"))], "--set", "fetch.bytes=1KiB", sim=sim, code=3)
    assert results["a"]["error"]["code"] == "input_too_large", results["a"]["error"]


def binary_answers():
    jobs = [job("speech", "audio/speech", input="say this", voice="alloy", response_format="wav"), job("image", "images/generations", prompt="a ferry", n=2)]
    with ferry.Sim() as sim:
        bodies, _ = bodies_of(jobs, sim=sim)
    sound = base64.b64decode(bodies["speech"]["b64"])
    assert sound[:4] == b"RIFF" and len(sound) == bodies["speech"]["bytes"], bodies["speech"].keys()
    assert bodies["speech"]["content_type"] == "audio/wav"
    pictures = [base64.b64decode(item["b64_json"]) for item in bodies["image"]["data"]]
    assert len(pictures) == 2 and all(picture.startswith(b"\x89PNG") for picture in pictures)


def image_edit():
    """Pictures by reference, as JSON."""
    jobs = [job("edit", "images/edits", prompt="with a flag", images=[{"image_url": "https://example.com/ferry.png"}, {"file_id": "file-1"}], n=2)]
    with ferry.Sim() as sim:
        bodies, _ = bodies_of(jobs, sim=sim)
    pictures = [base64.b64decode(item["b64_json"]) for item in bodies["edit"]["data"]]
    assert len(pictures) == 2 and all(picture.startswith(b"\x89PNG") for picture in pictures)


def rerank_and_moderation():
    jobs = [job("rerank", "rerank", query="sea", documents=["a ship", "a car", "a boat"]), job("moderation", "moderations", input="fine")]
    with ferry.Sim() as sim:
        bodies, _ = bodies_of(jobs, sim=sim)
    assert sorted(item["index"] for item in bodies["rerank"]["results"]) == [0, 1, 2]
    assert bodies["moderation"]["results"][0]["flagged"] is False


def priced():
    """Cost is an exact decimal: usage times price."""
    with ferry.Sim("--reply-tokens", "10") as sim:
        ferry.configure(providers=[ferry.provider("p", sim, [{"model": "m", "price": {"input": 0.15, "output": 0.60}}])])
        jobs = [ferry.chat(1)]
        ferry.write_jobs("jobs.jsonl", jobs)
        _, said = ferry.run("jobs.jsonl", "results.jsonl")
    text = pathlib.Path("results.jsonl").read_text()
    receipt = json.loads(text)["receipt"]
    picodollars = receipt["usage"]["input_tokens"] * 150000 + 10 * 600000
    amount = f"{picodollars / 1e12:.12f}".rstrip("0")
    assert f'"cost_usd":{amount},' in text.replace(": ", ":"), (amount, text)
    ferry.has(said, "p/m")


def openai_batch_file():
    """As in OpenAI's guide to its Batch API, unchanged."""
    lines = [
        '{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-3.5-turbo-0125", "messages": [{"role": "system", "content": "You are a helpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}',
        '{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-3.5-turbo-0125", "messages": [{"role": "system", "content": "You are an unhelpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}',
    ]
    with ferry.Sim() as sim:
        ferry.write_jobs("batchinput.jsonl", lines)
        ferry.run("batchinput.jsonl", "out.jsonl", sim=sim)
    ferry.check_succeeded(ferry.lines("out.jsonl"), ["request-1", "request-2"])


def vllm_run_batch_file():
    """As in the examples of vLLM's run-batch, unchanged: chat, embeddings, score by rerank, transcription by reference."""
    write_tone("tone.wav")
    lines = [
        '{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "meta-llama/Meta-Llama-3-8B-Instruct", "messages": [{"role": "system", "content": "You are a helpful assistant."},{"role": "user", "content": "Hello world!"}],"max_completion_tokens": 1000}}',
        '{"custom_id": "request-2", "method": "POST", "url": "/v1/embeddings", "body": {"model": "intfloat/e5-mistral-7b-instruct", "input": "You are a helpful assistant."}}',
        '{"custom_id": "request-3", "method": "POST", "url": "/v1/rerank", "body": {"model": "BAAI/bge-reranker-v2-m3", "query": "What is the capital of France?", "documents": ["The capital of Brazil is Brasilia.", "The capital of France is Paris."]}}',
        '{"custom_id": "request-4", "method": "POST", "url": "/v1/audio/transcriptions", "body": {"model": "openai/whisper-large-v3", "file_url": "%s", "response_format": "json"}}' % data_url("tone.wav"),
    ]
    with ferry.Sim() as sim:
        ferry.write_jobs("openai_example_batch.jsonl", lines)
        ferry.run("openai_example_batch.jsonl", "out.jsonl", sim=sim)
    ferry.check_succeeded(ferry.lines("out.jsonl"), [f"request-{i}" for i in range(1, 5)])


def again_does_nothing():
    jobs = [ferry.chat(i) for i in range(50)]
    with ferry.Sim() as sim:
        results_of(jobs, sim=sim)
        before = pathlib.Path("results.jsonl").read_bytes()
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_sentence(said, "nothing to do", "50", "jobs.jsonl", "results.jsonl")
        assert pathlib.Path("results.jsonl").read_bytes() == before
        assert sim.stats()["requests"] == 50
    ferry.check_verified()


def lines_added():
    with ferry.Sim() as sim:
        results_of([ferry.chat(i) for i in range(20)], sim=sim)
        results_of([ferry.chat(i) for i in range(30)], sim=sim)
        assert sim.stats()["requests"] == 30
        assert all(call["seen"] == 1 for call in sim.calls())


def last_line_without_newline():
    """The line is a job; when it gets its newline and others follow, only those run."""
    jobs = [json.dumps(ferry.chat(i)) for i in range(3)]
    with ferry.Sim() as sim:
        pathlib.Path("jobs.jsonl").write_text("\n".join(jobs[:2]))
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000", "job-000001"])
        pathlib.Path("jobs.jsonl").write_text("\n".join(jobs))
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{i:06}" for i in range(3)])
        assert sim.stats()["requests"] == 3


def earlier_part_changed():
    jobs = [ferry.chat(i) for i in range(20)]
    with ferry.Sim() as sim:
        results_of(jobs, sim=sim)
        new = [ferry.chat(100)] + jobs[1:]
        ferry.write_jobs("jobs.jsonl", new)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.has(said, "jobs.jsonl has changed since the last run")
        ferry.check_succeeded(ferry.lines("results.jsonl"), ferry.names(jobs) + ["job-000100"])
        assert sim.stats()["requests"] == 21


def pipes():
    jobs = [ferry.embedding(i) for i in range(300)]
    text = "".join(json.dumps(one) + "\n" for one in jobs)
    with ferry.Sim("--dimensions", "4") as sim:
        out, _ = ferry.run("-", "-", sim=sim, stdin=text)
        results = [json.loads(line) for line in out.splitlines()]
        ferry.check_succeeded(results, ferry.names(jobs))
        out, _ = ferry.run("-", "-", sim=sim, stdin=text)
        assert out == "" and sim.stats()["requests"] == 300, "settled lines of the same input come once"


def large_results():
    """Batches of many megabytes, one after the other."""
    jobs = [ferry.embedding(i) for i in range(600)]
    ferry.write_jobs("jobs.jsonl", jobs)
    with ferry.Sim("--dimensions", "3072", "--latency", "fixed:50ms") as sim:
        ferry.run("jobs.jsonl", "results.jsonl", "--in-flight", "300", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ferry.names(jobs))
    ferry.check_verified()


def slow_reader():
    """A pipe that is full stops nothing for good and loses nothing."""
    jobs = [ferry.embedding(i) for i in range(400)]
    ferry.write_jobs("jobs.jsonl", jobs)
    with ferry.Sim("--dimensions", "1536") as sim:
        process = ferry.start("jobs.jsonl", "-", "-q", sim=sim)
        ferry.wait_for(lambda: sim.stats()["answered"] > 10, "the first answers")
        out, said = process.communicate(timeout=ferry.WAIT_S)
        assert process.returncode == 0, said
        ferry.check_succeeded([json.loads(line) for line in out.splitlines()], ferry.names(jobs))


def reader_gone():
    """The lines that a closed pipe did not take come out of the store the next time; nobody is called again."""
    jobs = [ferry.embedding(i) for i in range(400)]
    ferry.write_jobs("jobs.jsonl", jobs)
    with ferry.Sim("--dimensions", "512", "--latency", "fixed:10ms") as sim:
        process = ferry.start("jobs.jsonl", "-", "--in-flight", "16", sim=sim)
        taken = [process.stdout.readline() for _ in range(3)]
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(ferry.WAIT_S) == 1, said
        ferry.has(said, "standard output")
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=2)
        ferry.check_sentence(said, "-o -", "--state")
        out, _ = ferry.run("jobs.jsonl", "-", "--in-flight", "16", sim=sim)
        second = [json.loads(line)["custom_id"] for line in out.splitlines()]
        seen = {json.loads(line)["custom_id"] for line in taken} | set(second)
        assert len(second) == len(set(second)), "a line came twice in one run"
        assert sim.stats()["answered_repeated"] == 0, "an answer was bought again"
        missing = set(ferry.names(jobs)) - seen
        print(f"  {len(missing)} lines were on their way in the pipe when its reader went away")


def errors_apart():
    jobs = [ferry.chat(i) for i in range(20)]
    rules = [{"match": "question 3\"", "fault": "400", "times": 0}, {"match": "question 5\"", "fault": "422", "times": 0}]
    with ferry.Sim() as sim:
        sim.set_faults(script=rules)
        ferry.write_jobs("jobs.jsonl", jobs + ["this is no job"])
        ferry.run("jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", sim=sim, code=3)
        good, bad = ferry.lines("results.jsonl"), ferry.lines("failed.jsonl")
        assert len(good) == 18 and len(bad) == 3, (len(good), len(bad))
        refused = {result["custom_id"]: result for result in bad if result["response"]}
        assert refused["job-000003"]["response"]["status_code"] == 400 and refused["job-000003"]["error"] is None
        assert refused["job-000005"]["response"]["status_code"] == 422
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", sim=sim)
        ferry.has(said, "nothing to do")


def limited():
    jobs = [ferry.chat(i) for i in range(30)]
    ferry.write_jobs("jobs.jsonl", jobs)
    with ferry.Sim() as sim:
        for expected in (10, 20, 30):
            ferry.run("jobs.jsonl", "results.jsonl", "--limit", "10", sim=sim)
            assert len(ferry.lines("results.jsonl")) == expected
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--limit", "10", sim=sim)
        ferry.has(said, "nothing to do")
        ferry.check_succeeded(ferry.lines("results.jsonl"), ferry.names(jobs))
        assert sim.stats()["requests"] == 30


def dry_run():
    jobs = [ferry.chat(i) for i in range(30)] + [ferry.embedding(99), "no job"]
    ferry.write_jobs("jobs.jsonl", jobs)
    with ferry.Sim() as sim:
        models = [{"model": "m", "price": {"input": 0.15, "output": 0.60}}]
        ferry.configure(providers=[ferry.provider("p", sim, models)])
        out, said = ferry.ferry("run", "jobs.jsonl", "--dry-run", "--state", "state")
        ferry.has(out, "p/m", "31", "$", "Nothing was called")
        ferry.has(said, "jobs.jsonl", "line 32")
        assert sim.stats()["requests"] == 0
    assert sorted(os.listdir()) == sorted(["batchferry.yaml", "jobs.jsonl"] + [name for name in os.listdir() if name.startswith("sim-")])


def strict():
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0), '{"custom_id": "x"}', ferry.chat(1)])
    with ferry.Sim() as sim:
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--strict", sim=sim, code=1)
        ferry.has(said, "line 2", "url", "nothing was called")
        assert sim.stats()["requests"] == 0 and not os.path.exists("results.jsonl") and not os.path.exists("state")
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0), ferry.chat(1)])
        ferry.run("jobs.jsonl", "results.jsonl", "--strict", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000", "job-000001"])


def in_flight():
    jobs = [ferry.chat(i) for i in range(60)]
    with ferry.Sim("--latency", "fixed:10ms") as sim:
        results_of(jobs, "--in-flight", "5", sim=sim)
        assert sim.stats()["in_flight_max"] <= 5, sim.stats()
        assert sim.stats()["limit_violations"]["concurrency"] == 0


def conflict():
    """Same key, another body: an error line, once; the first job is untouched."""
    one, other = ferry.chat(1, idempotency_key="k"), ferry.chat(2, idempotency_key="k")
    with ferry.Sim() as sim:
        results = results_of([one, other], sim=sim, code=3)
        assert [results[name]["error"] and results[name]["error"]["code"] for name in ("job-000001", "job-000002")] == [None, "idempotency_conflict"]
        ferry.write_jobs("jobs.jsonl", [one, other, ferry.chat(3)])
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.write_jobs("jobs.jsonl", [other, one, ferry.chat(3)])
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_once(ferry.lines("results.jsonl"), ["job-000001", "job-000002", "job-000003"])
        assert sim.stats()["requests"] == 2


def duplicates():
    """The same job ten times, in one file and over two runs: one call, one line. Key order and spaces do not matter."""
    one = json.dumps(ferry.chat(1))
    same = json.dumps(dict(reversed(ferry.chat(1).items())), indent=None, separators=(",", ":"))
    with ferry.Sim("--latency", "fixed:20ms") as sim:
        ferry.write_jobs("jobs.jsonl", [one] * 5 + [same] * 5)
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.write_jobs("jobs.jsonl", [one] * 5 + [same] * 6)
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000001"])
        assert sim.stats()["requests"] == 1


def many_inputs_in_one_state():
    with ferry.Sim() as sim:
        for name in ("a", "b"):
            ferry.write_jobs(name + ".jsonl", [ferry.chat(i) for i in range(10)])
            ferry.run(name + ".jsonl", name + ".out", sim=sim)
            ferry.check_succeeded(ferry.lines(name + ".out"), ferry.names(ferry.chat(i) for i in range(10)))
        assert sim.stats()["requests"] == 20, "the batch is part of a job's name"
    shown, _ = ferry.ferry("state", "show", "--state", "state")
    ferry.has(shown, "a.jsonl: finished, 10 jobs", "b.jsonl: finished, 10 jobs", "a.out")


def state_shows_a_job():
    with ferry.Sim() as sim:
        results = results_of([ferry.chat(1)], sim=sim)
    name = results["job-000001"]["id"]
    shown, _ = ferry.ferry("state", "show", name, "--state", "state")
    ferry.has(shown, name, "done", "status 200")
    stats, _ = ferry.ferry("state", "stats", "--state", "state")
    ferry.has(stats, "settled jobs", "on disk")
    _, said = ferry.ferry("state", "show", "bf_0123456789abcdef0123456789abcdef", "--state", "state", code=1)
    ferry.check_sentence(said, "nothing is known of bf_0123456789abcdef0123456789abcdef")
    _, said = ferry.ferry("state", "show", "job-000001", "--state", "state", code=2)
    ferry.check_sentence(said, "job-000001", "is no id")


def config_commands():
    with ferry.Sim() as sim:
        ferry.configure(providers=[ferry.provider("p", sim, api_key="${CANARY}")])
        env = {"CANARY": "sk-canary-1"}
        out, _ = ferry.ferry("config", "check", env=env)
        ferry.has(out, "batchferry.yaml", "fine", "1 provider")
        out, _ = ferry.ferry("config", "print", "--set", "limits.in_flight=7", env=env)
        ferry.has(out, "in_flight: 7", "***")
        assert "sk-canary-1" not in out


if __name__ == "__main__":
    ferry.main([
        text_jobs, embeddings, transcription_formats, audio_by_reference, audio_that_may_not_be_fetched, audio_too_large, binary_answers,
        image_edit, rerank_and_moderation, priced, openai_batch_file, vllm_run_batch_file, again_does_nothing, lines_added, last_line_without_newline,
        earlier_part_changed, large_results, pipes, slow_reader, reader_gone, errors_apart, limited, dry_run, strict, in_flight, conflict, duplicates,
        many_inputs_in_one_state, state_shows_a_job, config_commands,
    ])
