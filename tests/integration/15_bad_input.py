#!/usr/bin/env python3
"""Whatever is wrong with the input, the outputs, the options or the configuration: one clear sentence, the right exit code, nothing lost."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

NOWHERE = ("--base-url", "http://127.0.0.1:1/v1")


def lines_that_are_no_jobs():
    """Each is one error line with its number and field, and the run goes on."""
    good = ferry.chat(0)

    def but(**changes):
        job = {**good, "custom_id": "bad"}
        job.update(changes)
        return json.dumps({name: value for name, value in job.items() if value is not None})

    body = good["body"]
    bad = [
        ("", "no"), ("[]", "object"), ("nonsense", ""), ('{"custom_id": "a"', ""), (but(custom_id=None), "custom_id"), (but(custom_id=""), "custom_id"),
        (but(custom_id="x" * 513), "custom_id"), (but(custom_id=7), "custom_id"), (but(url=None), "url"), (but(url="/v1/nothing"), "url"), (but(url=3), "url"),
        (but(method="GET"), "method"), (but(body=None), "body"), (but(body=[]), "body"), (but(body={}), "model"), (but(body={**body, "model": ""}), "model"),
        (but(body={**body, "stream": True}), "stream"), (but(colour="red"), "colour"), (but(priority=11), "priority"), (but(deadline="tomorrow"), "deadline"),
        (but(not_before=5), "not_before"), (but(max_cost_usd=-1), "max_cost_usd"), (but(on_unknown_outcome="maybe"), "on_unknown_outcome"),
        (but(metadata={"a": 1}), "metadata"), (but(metadata={str(i): "" for i in range(17)}), "metadata"), (but(routing={"ordr": []}), "ordr"),
        (but(idempotency_key=""), "idempotency_key"), ('{"custom_id": "a", "custom_id": "b", "url": "/v1/embeddings", "body": {"model": "m"}}', "custom_id"),
        (but(body={**body, "deep": json.loads("[" * 70 + "]" * 70)}), "body"),
    ]
    bad = [pair for pair in bad if pair[0]]
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", [good] + [line for line, _ in bad] + [ferry.chat(1)])
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", sim=sim, code=3)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000", "job-000001"])
        assert sim.stats()["requests"] == 2
    failed = sorted(ferry.lines("failed.jsonl"), key=lambda result: result["error"]["line"])
    assert [result["error"]["line"] for result in failed] == list(range(2, len(bad) + 2)), [result["error"]["line"] for result in failed]
    for result, (line, field) in zip(failed, bad):
        error = result["error"]
        assert result["response"] is None and error["code"] in ("invalid_job", "unsupported_endpoint"), (line, error)
        assert field in f"{error.get('field')} {error['message']}", (line, error)
        assert "\n" not in error["message"] and len(error["message"]) > 10, (line, error)
    ferry.has(said, "invalid_job")
    _, said = ferry.run("jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", *NOWHERE)
    ferry.has(said, "nothing to do")


def write_bytes(pieces):
    pathlib.Path("jobs.jsonl").write_bytes(b"".join(piece + b"\n" for piece in pieces))


def check_between(pieces, code="invalid_job"):
    """The pieces stand between two jobs: these run, each piece is one error line."""
    first, last = (json.dumps(ferry.chat(number)).encode() for number in (0, 1))
    with ferry.Sim() as sim:
        write_bytes([first, *pieces, last])
        ferry.run("jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", sim=sim, code=3)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000000", "job-000001"])
    failed = ferry.lines("failed.jsonl")
    assert len(failed) == len(pieces) and all(result["error"]["code"] == code for result in failed), failed[:3]
    ferry.check_verified()


def binary():
    check_between([bytes(range(1, 10)) + bytes(range(11, 256)), b"\xff\xfe{\x00}", b'{"custom_id": "\xff"}', b"\x1f\x8b\x08\x00", b"\xef\xbb\xbf" * 3])


def nul_bytes():
    check_between([b"\x00", b"\x00" * 5000, b'{"custom_id": "a\x00b", "url": "/v1/embeddings", "body": {"model": "m"}}', b'{}\x00'])


def too_long():
    """A line of 3 MiB, and one of 40: not read into memory as a whole, and the next line is found."""
    check_between([b'{"custom_id": "' + b"x" * size + b'"}' for size in (3 << 20, 40 << 20)], code="input_too_large")


def many_bad_lines():
    jobs = [f'{{"custom_id": "bad-{number}", "url": "/v1/nothing"}}' for number in range(10000)] + [ferry.chat(0)]
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", jobs)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--errors", "failed.jsonl", sim=sim, code=3)
    assert len(ferry.lines("failed.jsonl")) == 10000 and len(ferry.lines("results.jsonl")) == 1
    assert len(said.splitlines()) < 20, "ten thousand bad lines are not ten thousand sentences"


def same_bad_line_twice():
    """Two equal bad lines are two lines of the file: the count of results is the count of lines, or they are one; never lost."""
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", ["nonsense", "nonsense", ferry.chat(0)])
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=3)
        bad = [result["error"]["line"] for result in ferry.lines("results.jsonl") if result["error"]]
        assert 1 in bad and len(bad) == len(set(bad)), bad


def empty_file():
    for text in ("", "\n\n  \n"):
        pathlib.Path("jobs.jsonl").write_text(text)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", *NOWHERE)
        ferry.check_sentence(said, "nothing to do", "jobs.jsonl")


def windows_lines():
    """CR LF, a byte order mark and empty lines are no reason to fail."""
    with ferry.Sim() as sim:
        text = "\ufeff" + "\r\n\r\n".join(json.dumps(ferry.chat(number)) for number in range(3)) + "\r\n"
        pathlib.Path("jobs.jsonl").write_bytes(text.encode())
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{number:06}" for number in range(3)])


def refuse(*parts, code=1, jobs="jobs.jsonl", results="results.jsonl", more=NOWHERE, env=None):
    """The run is refused with one sentence, and no state comes of it."""
    _, said = ferry.run(jobs, results, *more, code=code, env=env)
    ferry.check_sentence(said, *parts)


def wrong_files():
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    pathlib.Path("directory").mkdir()
    refuse("none.jsonl", "No such file", jobs="none.jsonl")
    refuse("directory", "is a directory", jobs="directory")
    refuse("absent/results.jsonl", "absent", results="absent/results.jsonl")
    refuse("directory", "directory", results="directory")
    refuse("jobs.jsonl", results="jobs.jsonl")
    assert ferry.lines("jobs.jsonl") == [ferry.chat(0)], "the input was touched"
    refuse("absent", more=(*NOWHERE, "--errors", "absent/failed.jsonl"))


def output_of_somebody_else():
    """A file that holds something else is not overwritten."""
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    pathlib.Path("results.jsonl").write_text("my only copy\n")
    refuse("results.jsonl", "not empty", "something else than results")
    assert pathlib.Path("results.jsonl").read_text() == "my only copy\n"


def as_nobody(arguments):
    """None when nobody may not even start the program, since the repository is private."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, user=65534, timeout=ferry.WAIT_S)
    except PermissionError:
        return None


def not_writable():
    """Root may write everywhere, so the run is somebody else's."""
    if os.geteuid() != 0:
        return
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    pathlib.Path("results.jsonl").touch(mode=0o444)
    pathlib.Path("theirs").mkdir()
    os.chmod("theirs", 0o777)
    os.chmod(os.environ.get("TEST_DIR", ".."), 0o755)
    for results, state, part in (("results.jsonl", "theirs/state", "results.jsonl"), ("theirs/results.jsonl", "state", "state")):
        done = as_nobody(ferry.command("jobs.jsonl", results, *NOWHERE, state=state))
        if not done:
            print("  skipped: the program is where only root may go")
            return
        assert done.returncode == 1, done
        ferry.check_sentence(done.stderr, part, "Permission denied")


def state_in_use():
    with ferry.Sim("--fault", "hang:1") as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
        ferry.write_jobs("other.jsonl", [ferry.chat(1)])
        first = ferry.start("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.wait_for(lambda: sim.stats()["requests"] == 1, "the first run")
        refuse("state", "another process", jobs="other.jsonl", results="other.out")
        refuse("results.jsonl", "another process", more=(*NOWHERE, "--state", "second"))
        shown, _ = ferry.ferry("state", "show", "--state", "state")
        ferry.has(shown, "jobs.jsonl: not finished")
        first.kill()
        first.communicate()


def state_is_something_else():
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    pathlib.Path("state").write_text("a file")
    refuse("state")
    _, said = ferry.ferry("state", "show", "--state", "nothing-here", code=1)
    ferry.check_sentence(said, "nothing-here")
    assert not os.path.exists("nothing-here")


def wrong_usage():
    """Exit code 2, and the sentence names what is wrong."""
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    for words, part in (
        ([], "Usage"), (["runn"], "runn"), (["run"], "which jobs"), (["run", "jobs.jsonl"], "-o"), (["run", "jobs.jsonl", "-o", "x", "--in-flight", "0"], "--in-flight"),
        (["run", "jobs.jsonl", "-o", "x", "--in-flight", "many"], "many"), (["run", "jobs.jsonl", "-o", "x", "--no-such-option"], "no-such-option"),
        (["run", "a", "b", "-o", "x"], "second"), (["run", "jobs.jsonl", "-o", "x", *NOWHERE, "--set", "limits.inflight=3"], '"in_flight"'),
        (["run", "jobs.jsonl", "-o", "x", *NOWHERE, "--set", "limits.in_flight=lots"], "limits.in_flight"),
        (["run", "jobs.jsonl", "-o", "x", *NOWHERE, "--set", "nonsense"], "NAME=VALUE"), (["run", "jobs.jsonl", "-o", "x"], "no provider is configured"),
        (["run", "jobs.jsonl", "-o", "x", "--base-url", "ftp://x"], "http://"), (["run", "jobs.jsonl", "-o", "x", "-c", "none.yaml"], "none.yaml"),
        (["run", "jobs.jsonl", "-o", "x", "--errors", "x"], "same file"), (["state"], "show"), (["state", "shw"], "show"), (["sim", "--fault", "what:1"], "what"), (["config", "chek"], "chek"),
    ):
        out, said = ferry.ferry(*words, code=2)
        ferry.has(said, part)
        assert out == "" and not os.path.exists("x"), words


def help_is_there():
    for words in (["--help"], ["run", "--help"], ["state", "--help"], ["config", "--help"], ["sim", "--help"]):
        out, _ = ferry.ferry(*words)
        ferry.has(out, "Usage: batchferry")
    ferry.has(ferry.ferry("--version")[0], "batchferry ")


def wrong_configuration():
    """Refused with file, line, column and the nearest known name."""
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    provider = "providers:\n  - name: p\n    kind: openai\n    base_url: http://127.0.0.1:1/v1\n    models: [{model: m}]\n"
    for text, parts in (
        (provider + "limits:\n  in_flights: 3\n", ["batchferry.yaml:7:3", "in_flights", "in_flight"]),
        (provider + "limitz: {in_flight: 3}\n", ["batchferry.yaml:6:1", "limitz", "limits"]),
        (provider + "limits: {in_flight: many}\n", ["batchferry.yaml:6:21", "many"]),
        (provider + "limits: {in_flight: 0}\n", ["batchferry.yaml:6:21", "1"]),
        (provider.replace("base_url", "base_ulr"), ["batchferry.yaml:4:5", "base_ulr", "base_url"]),
        (provider.replace("kind: openai", "kind: opnai"), ["batchferry.yaml:3:11", "openai"]),
        (provider.replace("{model: m}", "{modell: m}"), ["batchferry.yaml:5:", "modell", "model"]),
        (provider + "retry: {budget: -1}\n", ["batchferry.yaml:6:17"]),
        ("providers: [\n", ["batchferry.yaml:"]), ("\tproviders: 1\n", ["batchferry.yaml:1:"]), ("- a\n", ["batchferry.yaml:1:1"]),
    ):
        pathlib.Path("batchferry.yaml").write_text(text)
        for words in (["run", "jobs.jsonl", "-o", "results.jsonl"], ["config", "check"]):
            out, said = ferry.ferry(*words, code=2)
            ferry.has(said, *parts)
            assert out == "" and not os.path.exists("results.jsonl") and not os.path.exists("batchferry-state"), words


def missing_key():
    """A variable that the configuration or --api-key-env names and that is not set: its name, and no call."""
    with ferry.Sim() as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
        env = {"HOME": os.environ.get("HOME", "/")}
        refuse("NO_SUCH_KEY", code=2, more=("--base-url", sim.url, "--api-key-env", "NO_SUCH_KEY"), env=env)
        text = f"providers:\n  - name: p\n    kind: openai\n    base_url: {sim.url}\n    api_key: ${{NO_SUCH_KEY}}\n    models: [{{model: m}}]\n"
        pathlib.Path("batchferry.yaml").write_text(text)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", code=2)
        ferry.has(said, "batchferry.yaml:5:", "NO_SUCH_KEY")
        pathlib.Path("batchferry.yaml").write_text(text.replace("${NO_SUCH_KEY}", "${file:/no/such/file}"))
        _, said = ferry.run("jobs.jsonl", "results.jsonl", code=2)
        ferry.has(said, "batchferry.yaml:5:", "/no/such/file")
        assert sim.stats()["requests"] == 0 and not os.path.exists("state")


def no_provider_for_the_model():
    with ferry.Sim() as sim:
        ferry.configure(providers=[ferry.provider("p", sim, [{"model": "known"}])])
        ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
        ferry.run("jobs.jsonl", "results.jsonl", code=3)
        result = ferry.lines("results.jsonl")[0]
        assert result["error"]["code"] == "no_provider" and result["response"] is None, result
        assert sim.stats()["requests"] == 0


if __name__ == "__main__":
    ferry.main([
        lines_that_are_no_jobs, binary, nul_bytes, too_long, many_bad_lines, same_bad_line_twice, empty_file, windows_lines, wrong_files,
        output_of_somebody_else, not_writable, state_in_use, state_is_something_else, wrong_usage, help_is_there, wrong_configuration, missing_key,
        no_provider_for_the_model,
    ])
