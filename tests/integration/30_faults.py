#!/usr/bin/env python3
"""Every way in which a provider can fail: what may pass is tried again until each job has its one result, what may not ends as messages.md says."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

QUICK = ("--in-flight", "32", "--set", "retry.backoff.base=2ms", "--set", "retry.backoff.cap=20ms", "--set", "retry.attempts=50")
# What may pass, refused before anything was generated: an answer is never lost by it.
PASSING = [
    "429-seconds", "429-float", "429-http-date", "429-ms", "429-gemini-body", "429-message", "429-none", "429-garbage", "429-negative",
    "429-past-date", "408", "500", "502", "503", "503-slow-down", "504", "529", "498", "200-error", "html", "reset-before",
]
# What spoils an answer that was generated, and cannot be told from one that never was: tried again, and the receipt says estimate.
SPOILING = ["html-200", "empty-200", "not-json-200", "reset-after", "half-body", "truncated-json", "wrong-count"]
PERMANENT = {"400": 400, "404": 404, "413": 413, "422": 422}


def image(number):
    return {"custom_id": f"job-{number:06}", "url": "/v1/images/generations", "body": {"model": "m", "prompt": f"ship {number}", "size": "16x16"}}


def results_of(sim, jobs, *more, code=0, name="jobs"):
    ferry.write_jobs(name + ".jsonl", jobs)
    _, said = ferry.run(name + ".jsonl", name + ".out", *QUICK, *more, sim=sim, code=code)
    results = ferry.lines(name + ".out")
    return results, said


def each_passing_kind():
    """At a rate of 10 %: every job ends well, each once; no answered call is repeated."""
    with ferry.Sim("--retry-after", "0") as sim:
        for kind in PASSING:
            sim.post("/sim/reset")
            sim.set_faults(f"{kind}:0.1")
            jobs = [ferry.chat(number, f"{kind} {number}") for number in range(100)]
            results, _ = results_of(sim, jobs, name=kind)
            ferry.check_succeeded(results, ferry.names(jobs))
            stats = sim.stats()
            assert sum(stats["faults"].values()) > 0, f"{kind} never struck"
            assert stats["answered_repeated"] == 0 and stats["answered"] == 100, (kind, stats)


def all_passing_kinds_together():
    """Each at 1.5 %, for every job name a few times: a provider on a very bad day."""
    jobs = [ferry.chat(number) for number in range(200)]
    with ferry.Sim("--retry-after", "0", *[word for kind in PASSING for word in ("--fault", f"{kind}:0.015")]) as sim:
        results, _ = results_of(sim, jobs)
        ferry.check_succeeded(results, ferry.names(jobs))
        assert sim.stats()["answered_repeated"] == 0, sim.stats()


def each_spoiling_kind():
    """The first answer to every tenth job is spoiled, its repetition is not; what may have been billed twice says so."""
    with ferry.Sim() as sim:
        for kind in SPOILING:
            sim.post("/sim/reset")
            sim.set_faults(script=[{"match": f"{kind} {number}0\"", "fault": kind} for number in range(1, 10)])
            jobs = [ferry.embedding(number) for number in range(100)]
            for number, job in enumerate(jobs):
                job["body"]["input"] = f"{kind} {number}"
            results, _ = results_of(sim, jobs, name=kind)
            ferry.check_succeeded(results, ferry.names(jobs))
            again = [result for result in results if result["receipt"]["attempts"] > 1]
            assert len(again) == 9, (kind, len(again), sim.stats()["faults"])
            assert sim.stats()["executions_max"] <= 2


def permanent():
    """Status and body stand in the line, error is null, and the line goes to --errors; one call each."""
    with ferry.Sim() as sim:
        sim.set_faults(script=[{"match": f"say {kind}\"", "fault": kind, "times": 0} for kind in PERMANENT])
        jobs = [ferry.chat(number, f"say {kind}") for number, kind in enumerate([*PERMANENT, "hello"])]
        results, said = results_of(sim, jobs, "--errors", "failed.jsonl", code=3)
        failed = ferry.lines("failed.jsonl")
        ferry.check_succeeded(results, [f"job-{len(PERMANENT):06}"])
        statuses = {result["custom_id"]: result["response"]["status_code"] for result in failed}
        assert statuses == {f"job-{number:06}": status for number, status in enumerate(PERMANENT.values())}, statuses
        assert all(result["error"] is None and result["response"]["body"]["error"]["message"] for result in failed)
        assert all(call["seen"] == 1 for call in sim.calls())
        ferry.has(said, "4 failed", "provider_rejected")


def conflict_and_dependency():
    """409 and 424 are said by providers for what may pass and for what may not; either way each job ends once, with a result or a reason."""
    with ferry.Sim("--fault", "409:0.2", "--fault", "424:0.2") as sim:
        jobs = [ferry.chat(number) for number in range(100)]
        results, _ = results_of(sim, jobs, code=None)
        ferry.check_once(results, ferry.names(jobs))
        assert sim.stats()["answered_repeated"] == 0


def attempts_exhausted():
    """A provider that is broken for good for one job: the last answer stands in the line, with the code."""
    with ferry.Sim() as sim:
        sim.set_faults(script=[{"match": "question 0\"", "fault": "500", "times": 0}])
        jobs = [ferry.chat(number) for number in range(50)]
        results, _ = results_of(sim, jobs, "--set", "retry.attempts=3", code=3)
        ferry.check_once(results, ferry.names(jobs))
        bad = [result for result in results if result["error"]]
        assert [result["custom_id"] for result in bad] == ["job-000000"], bad
        assert bad[0]["error"]["code"] == "attempts_exhausted" and bad[0]["response"]["status_code"] == 500, bad[0]
        assert bad[0]["receipt"]["attempts"] == 3
        assert [call["seen"] for call in sim.calls() if call["seen"] > 1] == [3]


def stops_and_goes_on(fault, *parts):
    """The run ends with 1 and a sentence that names the provider and what it said; nothing is lost."""
    with ferry.Sim("--fault", f"{fault}:1") as sim:
        ferry.configure(providers=[ferry.provider("acme", sim, api_key="sk-test-key-of-acme")])
        jobs = [ferry.chat(number) for number in range(200)]
        ferry.write_jobs("jobs.jsonl", jobs)
        _, said = ferry.run("jobs.jsonl", "results.jsonl", *QUICK, code=1)
        ferry.has(said, "acme", "everything is kept", *parts)
        assert ferry.lines("results.jsonl") == [], "no job may fail because of the account"
        sim.set_faults()
        ferry.run("jobs.jsonl", "results.jsonl", *QUICK)
        ferry.check_succeeded(ferry.lines("results.jsonl"), ferry.names(jobs))
        assert sim.stats()["answered_repeated"] == 0


def unauthorized():
    stops_and_goes_on("401", "401")


def forbidden():
    stops_and_goes_on("403", "403")


def payment_required():
    stops_and_goes_on("402", "402")


def insufficient_quota():
    stops_and_goes_on("429-quota", "insufficient_quota")


def retry_after_of_years():
    """An absurd wait is believed up to a month and ends the run with a sentence."""
    stops_and_goes_on("429-huge")


def wrong_key():
    with ferry.Sim("--require-key", "right") as sim:
        ferry.write_jobs("jobs.jsonl", [ferry.chat(1)])
        env = {"OPENAI_API_KEY": "wrong-key-0123456789"}
        _, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=1, env=env)
        ferry.has(said, "401")
        assert "wrong-key-0123456789" not in said
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim, env={"OPENAI_API_KEY": "right"})
        ferry.check_succeeded(ferry.lines("results.jsonl"), ["job-000001"])


def hang():
    """No answer within timeouts.total is an unknown outcome: a chat is repeated and says estimate, an image is called once and fails."""
    with ferry.Sim() as sim:
        sim.set_faults(script=[{"match": "question 0\"", "fault": "hang"}, {"match": "ship 1\"", "fault": "hang"}])
        ferry.configure(providers=[ferry.provider("p", sim, [{"model": "m", "price": {"input": 1, "output": 1, "image": 0.01}}])])
        jobs = [ferry.chat(0), image(1), ferry.chat(2), image(3)]
        ferry.write_jobs("jobs.jsonl", jobs)
        ferry.run("jobs.jsonl", "results.jsonl", *QUICK, "--set", "timeouts.total=1s", code=3)
        results = ferry.by_name("results.jsonl")
        ferry.check_once(ferry.lines("results.jsonl"), ferry.names(jobs))
        chat, picture = results["job-000000"], results["job-000001"]
        assert chat["error"] is None and chat["receipt"]["attempts"] == 2 and chat["receipt"]["cost_is_estimate"], chat["receipt"]
        assert picture["error"]["code"] == "unknown_outcome" and picture["response"] is None, picture
        assert picture["receipt"]["cost_is_estimate"] and picture["receipt"]["cost_usd"] >= 0.01, picture["receipt"]
        assert not results["job-000002"]["receipt"]["cost_is_estimate"] and not results["job-000003"]["receipt"]["cost_is_estimate"]
        assert sorted(call["seen"] for call in sim.calls()) == [1, 1, 1, 2]


def lost_answers_of_images():
    """The connection breaks after the image was made: exactly one call each."""
    jobs = [image(number) for number in range(50)]
    with ferry.Sim("--fault", "reset-after:0.3") as sim:
        results, _ = results_of(sim, jobs, code=3)
        ferry.check_once(results, ferry.names(jobs))
        codes = ferry.failures(results)
        assert set(codes) == {"unknown_outcome"} and codes["unknown_outcome"] == sim.stats()["faults"]["reset-after"], codes
        assert sim.stats()["executions_max"] == 1 and sim.stats()["requests"] == 50, sim.stats()


def on_unknown_outcome_says_otherwise():
    jobs = [dict(ferry.chat(0), on_unknown_outcome="fail"), dict(image(1), on_unknown_outcome="retry")]
    with ferry.Sim() as sim:
        sim.set_faults(script=[{"match": "question 0\"", "fault": "reset-after"}, {"match": "ship 1\"", "fault": "reset-after"}])
        results, _ = results_of(sim, jobs, code=3)
        codes = {result["custom_id"]: result["error"] and result["error"]["code"] for result in results}
        assert codes == {"job-000000": "unknown_outcome", "job-000001": None}, codes


def usage_lies():
    """Whatever a provider says of its usage, no cost is negative or absurd."""
    for kind in ("usage-absent", "usage-zero", "usage-negative", "usage-huge", "usage-lie:1000"):
        with ferry.Sim("--fault", f"{kind}:1") as sim:
            name = kind.replace(":", "-")
            ferry.configure(name + ".yaml", providers=[ferry.provider("p", sim, [{"model": "m", "price": {"input": 1, "output": 2}}])])
            jobs = [ferry.chat(number) for number in range(20)]
            ferry.write_jobs(name + ".jsonl", jobs)
            ferry.run(name + ".jsonl", name + ".out", "-c", name + ".yaml", state=name)
            results = ferry.lines(name + ".out")
            ferry.check_succeeded(results, ferry.names(jobs))
            for result in results:
                receipt = result["receipt"]
                assert receipt["cost_usd"] is None or 0 <= receipt["cost_usd"] < 1, (kind, receipt)
                assert all(value >= 0 for value in receipt["usage"].values()), (kind, receipt["usage"])


def bounded():
    """Bodies that grow without end, packed or not, are cut off at limits.response_bytes; the other jobs do not notice."""
    for kind in ("huge-body:100000000", "gzip-bomb:1000000000"):
        with ferry.Sim() as sim:
            sim.set_faults(script=[{"match": "question 0\"", "fault": kind, "times": 0}])
            name = kind.split(":")[0]
            jobs = [ferry.chat(number) for number in range(20)]
            results, _ = results_of(sim, jobs, "--set", "limits.response_bytes=1MiB", code=3, name=name)
            ferry.check_once(results, ferry.names(jobs))
            bad = [result for result in results if result["error"]]
            assert [result["custom_id"] for result in bad] == ["job-000000"] and bad[0]["error"]["code"] == "provider_error", bad
            assert pathlib.Path(name + ".out").stat().st_size < 3 << 20


def slow_body():
    """Slow is not broken: the answer is taken."""
    with ferry.Sim("--slow-body-rate", "2000") as sim:
        sim.set_faults("slow-body:1")
        results, _ = results_of(sim, [ferry.chat(number) for number in range(5)])
        ferry.check_succeeded(results, [f"job-{number:06}" for number in range(5)])


def refusals():
    """A refusal of content is the provider's answer; it is not bought again."""
    with ferry.Sim() as sim:
        sim.set_faults(script=[{"match": "question 0\"", "fault": "content-filter", "times": 0}, {"match": "question 1\"", "fault": "refusal", "times": 0}])
        jobs = [ferry.chat(number) for number in range(3)]
        results, _ = results_of(sim, jobs, code=None)
        ferry.check_once(results, ferry.names(jobs))
        assert all(result["response"]["status_code"] == 200 for result in results)
        assert all(call["seen"] == 1 for call in sim.calls())


def nobody_listens():
    """A port that nobody listens on: the jobs wait for it with back-off, and end as attempts_exhausted with a reason."""
    with ferry.Sim() as sim:
        pass
    results, _ = results_of(sim, [ferry.chat(number) for number in range(3)], "--set", "retry.attempts=3", code=3)
    assert ferry.failures(results) == {"attempts_exhausted": 3}, ferry.failures(results)
    assert all(len(result["error"]["message"]) > 10 and result["receipt"]["cost_usd"] == 0 for result in results), results[0]


if __name__ == "__main__":
    ferry.main([
        each_passing_kind, all_passing_kinds_together, each_spoiling_kind, permanent, conflict_and_dependency, attempts_exhausted, unauthorized,
        forbidden, payment_required, insufficient_quota, retry_after_of_years, wrong_key, hang, lost_answers_of_images,
        on_unknown_outcome_says_otherwise, usage_lies, bounded, slow_body, refusals, nobody_listens,
    ])
