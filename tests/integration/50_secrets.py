#!/usr/bin/env python3
"""A key goes to its provider and nowhere else: not into output, messages, results, the state, the command line, or the configuration as printed."""
import http.server
import json
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

CANARY = "7f3a9c1e5b8d2046-plain-and-not-like-any-vendors-key"


class Telltale(http.server.BaseHTTPRequestHandler):
    """A provider that repeats the key in whatever it says, as real ones have done."""

    protocol_version = "HTTP/1.1"
    status = 400

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        said = self.headers.get("Authorization", "nothing")
        self.server.keys.append(said)
        body = json.dumps({"error": {"message": f"I do not like this: {said}. You sent {said[7:]}", "type": "invalid_request_error", "code": f"bad {said[7:]}"}}).encode()
        self.send_response(self.status, f"No {said}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-request-id", said)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Provider:
    def __init__(self, status):
        self.status = status

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Telltale,), {"status": self.status}))
        self.server.keys = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def check_nowhere(*texts):
    for text in texts:
        assert CANARY not in text, "the key was printed: " + text[max(0, text.index(CANARY) - 200) :][:400]
    for path in pathlib.Path(".").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert CANARY.encode() not in data, f"the key stands in {path}: {data[max(0, data.index(CANARY.encode()) - 200):][:400]!r}"


def telltale(status, code):
    """Every kind of refusal, with the key in its sentence, code, header and status line."""
    ferry.write_jobs("jobs.jsonl", [ferry.chat(number) for number in range(3)])
    with Provider(status) as provider:
        out, said = ferry.run(
            "jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", "-v", "--set", "retry.attempts=2", "--set", "retry.backoff.base=1ms", sim=provider,
            code=code, env={"OPENAI_API_KEY": CANARY})
        assert provider.server.keys and all(key == "Bearer " + CANARY for key in provider.server.keys), "the provider must get the key"
    check_nowhere(out, said, *[text for words in (["show"], ["stats"], ["verify"]) for text in ferry.ferry("state", *words, "--state", "state")])


def refused_400():
    telltale(400, 3)


def refused_401():
    telltale(401, 1)


def no_credit_402():
    telltale(402, 1)


def broken_500():
    telltale(500, 3)


def not_on_the_command_line():
    """Nor in the environment of a child, nor, from a file, in the environment at all."""
    key = pathlib.Path("../key").resolve()
    key.write_text(CANARY + "\n")
    with ferry.Sim("--require-key", CANARY, "--fault", "hang:1") as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
        ferry.configure(providers=[ferry.provider("p", sim, api_key="${file:%s}" % key)])
        process = ferry.start("jobs.jsonl", "results.jsonl")
        ferry.wait_for(lambda: sim.stats()["requests"] == 1, "the call")
        for name in ("cmdline", "environ", "comm"):
            assert CANARY.encode() not in pathlib.Path(f"/proc/{process.pid}/{name}").read_bytes(), name
        sim.set_faults()
        process.kill()
        _, said = process.communicate()
        ferry.run("jobs.jsonl", "results.jsonl")
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000"])
    check_nowhere(said)


def wrong_configurations():
    """A mistake around a key is told without the key."""
    for text in (
        f"providers:\n  - name: p\n    kind: openai\n    base_url: http://127.0.0.1:1/v1\n    api_kee: {CANARY}\n    models: [{{model: m}}]\n",
        f"providers:\n  - name: p\n    kind: openai\n    base_url: http://127.0.0.1:1/v1\n    api_key: [{CANARY}]\n    models: [{{model: m}}]\n",
        f"providers:\n  - name: p\n    kind: openai\n    base_url: http://127.0.0.1:1/v1\n    api_key: {CANARY}\n    modells: [{{model: m}}]\n",
        f"providers:\n  - name: p\n    kind: openai\n    base_url: http://127.0.0.1:1/v1\n    api_key: \"{CANARY}\n    models: [{{model: m}}]\n",
        f"providers:\n  - name: p\n    kind: openai\n    base_url: http://user:{CANARY}@127.0.0.1:1/v1\n    models: [{{model: m}}]\n",
    ):
        pathlib.Path("../wrong.yaml").write_text(text)
        for words in (["check"], ["print"]):
            out, said = ferry.ferry("config", *words, "-c", "../wrong.yaml", code=None)
            check_nowhere(out, said)


def printed():
    pathlib.Path("../right.yaml").write_text(
        f"kafka: {{sasl.password: {CANARY}}}\nproviders:\n  - name: p\n    kind: openai\n    base_url: http://127.0.0.1:1/v1\n    api_key: {CANARY}\n    models: [{{model: m}}]\n")
    out, said = ferry.ferry("config", "print", "-c", "../right.yaml")
    ferry.has(out, "***")
    check_nowhere(out, said)


if __name__ == "__main__":
    ferry.main([refused_400, refused_401, no_credit_402, broken_500, not_on_the_command_line, wrong_configurations, printed])
