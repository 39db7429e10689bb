#!/usr/bin/env python3
"""Limits are bounds in every window, the cheapest provider comes first and another one when it breaks, deadlines and not_before hold."""
import datetime
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

CHEAP = {"model": "m", "price": {"input": 0.1, "output": 0.1}}
DEAR = {"model": "m", "price": {"input": 1, "output": 1}}


def start_limited(name, sim, jobs, **limits):
    """A run whose configuration has the limits that the simulator enforces."""
    ferry.configure(name + ".yaml", providers=[ferry.provider("p", sim, [CHEAP], limits=limits)])
    ferry.write_jobs(name + ".jsonl", jobs)
    return ferry.start(name + ".jsonl", name + ".out", "-c", name + ".yaml", "-q", state=name)


def check_limited(name, sim, process, jobs):
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    ferry.check_succeeded(ferry.lines(name + ".out"), ferry.names(jobs))
    stats = sim.stats()
    assert stats["limit_violations"] == {"requests": 0, "tokens": 0, "concurrency": 0}, (name, stats)
    assert set(stats["statuses"]) == {"200"} and stats["repeated"] == 0, (name, stats["statuses"])


def per_minute():
    """
    More jobs than a minute takes, by requests and by tokens, so that the window slides; the strict window of the simulator refuses none. It
    allows one request more, since with "remaining: 0" it would ask for a pause of a whole minute.
    """
    jobs = [ferry.chat(number) for number in range(330)]
    tokens = [ferry.chat(number, f"{number} " + "word " * 40) for number in range(330)]
    with ferry.Sim("--rpm", "300") as by_requests, ferry.Sim("--tpm", "20000", "--reply-tokens", "16") as by_tokens:
        first = start_limited("requests", by_requests, jobs, requests_per_minute=299)
        second = start_limited("tokens", by_tokens, tokens, tokens_per_minute=20000)
        check_limited("requests", by_requests, first, jobs)
        check_limited("tokens", by_tokens, second, tokens)


def concurrency():
    jobs = [ferry.chat(number) for number in range(300)]
    with ferry.Sim("--concurrency", "7", "--latency", "lognormal:10ms,0.5") as sim:
        check_limited("concurrency", sim, start_limited("concurrency", sim, jobs, concurrency=7), jobs)
        assert sim.stats()["in_flight_max"] == 7, "a limit is there to be used"


def limits_that_are_not_known():
    """The provider's limit is tighter than anybody said: its 429s teach, and each job ends once all the same."""
    for name, count, limits in (("rate", 150, ("--rpm", "50", "--limit-window", "500ms")), ("concurrency", 12, ("--concurrency", "4"))):
        jobs = [ferry.chat(number) for number in range(count)]
        ferry.write_jobs(name + ".jsonl", jobs)
        with ferry.Sim("--latency", "fixed:5ms", *limits) as sim:
            ferry.run(name + ".jsonl", name + ".out", sim=sim)
            ferry.check_succeeded(ferry.lines(name + ".out"), ferry.names(jobs))
            stats = sim.stats()
            assert stats["statuses"]["429"] > 0 and stats["answered_repeated"] == 0, stats


def run_two(jobs, cheap, dear, code=0, **more):
    ferry.configure(providers=[ferry.provider("dear", dear, [DEAR]), ferry.provider("cheap", cheap, [CHEAP])], **more)
    ferry.write_jobs("jobs.jsonl", jobs)
    ferry.run("jobs.jsonl", "results.jsonl", code=code)
    return ferry.by_name("results.jsonl")


def cheapest_first():
    jobs = [ferry.chat(number) for number in range(50)]
    with ferry.Sim() as cheap, ferry.Sim() as dear:
        results = run_two(jobs, cheap, dear)
        assert cheap.stats()["requests"] == 50 and dear.stats()["requests"] == 0
        decision = results["job-000000"]["receipt"]["decision"]
        assert decision["chosen"] == "cheap/m"
        assert [candidate["endpoint"] for candidate in decision["candidates"]] == ["cheap/m", "dear/m"], decision


def the_other_when_it_breaks():
    """Broken in four ways: the dear one does all jobs, and the cheap one is soon left alone."""
    for fault in ("500", "reset-before", "401", "429-quota"):
        jobs = [ferry.chat(number, f"{fault} {number}") for number in range(100)]
        with ferry.Sim("--fault", f"{fault}:1") as cheap, ferry.Sim() as dear:
            for file in ("jobs.jsonl", "results.jsonl"):
                pathlib.Path(file).unlink(missing_ok=True)
            ferry.configure(providers=[ferry.provider("dear", dear, [DEAR]), ferry.provider("cheap", cheap, [CHEAP])])
            ferry.write_jobs("jobs.jsonl", jobs)
            ferry.run("jobs.jsonl", "results.jsonl", "--in-flight", "8", state="state-" + fault)
            results = ferry.lines("results.jsonl")
            ferry.check_succeeded(results, ferry.names(jobs))
            assert {result["receipt"]["provider"] for result in results} == {"dear"}
            assert dear.stats()["requests"] == 100 and cheap.stats()["requests"] < 60, (fault, cheap.stats()["requests"])


def other_models():
    """body.models: the next one when nobody serves the first, or when its provider does not know it."""
    with ferry.Sim() as sim, ferry.Sim() as other:
        sim.set_faults(script=[{"match": '"model":"first"', "fault": "404", "times": 0}, {"match": '"model": "first"', "fault": "404", "times": 0}])
        ferry.configure(providers=[ferry.provider("p", sim, [{"model": "first"}]), ferry.provider("q", other, [{"model": "second", "upstream": "second-v2"}])])
        jobs = [ferry.chat(0), ferry.chat(1)]
        jobs[0]["body"].update(model="unknown", models=["unknown", "second"])
        jobs[1]["body"].update(model="first", models=["first", "second"])
        ferry.write_jobs("jobs.jsonl", jobs)
        ferry.run("jobs.jsonl", "results.jsonl")
        results = ferry.lines("results.jsonl")
        ferry.check_succeeded(results, ferry.names(jobs))
        assert all(result["receipt"]["provider"] == "q" for result in results)
        assert all(result["response"]["body"]["model"] == "second-v2" for result in results)


def rules():
    """routing.only, ignore, regions, zdr and max_price hold; what nobody may do is said and never called."""
    with ferry.Sim() as cheap, ferry.Sim() as dear:
        providers = [
            ferry.provider("cheap", cheap, [CHEAP], region="cn", data_policy={"zdr": False, "training": True}),
            ferry.provider("dear", dear, [DEAR], region="eu", data_policy={"zdr": True, "training": False}),
        ]
        ferry.configure(providers=providers)
        asks = [{"only": ["dear"]}, {"ignore": ["cheap"]}, {"regions": ["eu"]}, {"zdr": True}, {"data_collection": "deny"}, {"order": ["dear"]}]
        refused = [{"only": ["cheap"], "zdr": True}, {"regions": ["us"]}, {"ignore": ["cheap", "dear"]}]
        jobs = [dict(ferry.chat(number), routing=routing) for number, routing in enumerate(asks + refused)]
        ferry.write_jobs("jobs.jsonl", jobs)
        ferry.run("jobs.jsonl", "results.jsonl", code=3)
        results = ferry.lines("results.jsonl")
        ferry.check_once(results, ferry.names(jobs))
        assert ferry.failures(results) == {"excluded_by_policy": 3}, ferry.failures(results)
        assert all(result["receipt"]["provider"] == "dear" for result in results if not result["error"])
        assert cheap.stats()["requests"] == 0 and dear.stats()["requests"] == len(asks)
        why = [candidate.get("excluded_by") for result in results if result["error"] for candidate in result["receipt"]["decision"]["candidates"]]
        assert len(why) == 6 and all(why), why


def max_cost():
    with ferry.Sim() as sim:
        ferry.configure(providers=[ferry.provider("p", sim, [DEAR])])
        jobs = [dict(ferry.chat(0), max_cost_usd=0.00000001), dict(ferry.chat(1), max_cost_usd=1)]
        ferry.write_jobs("jobs.jsonl", jobs)
        ferry.run("jobs.jsonl", "results.jsonl", code=3)
        results = ferry.by_name("results.jsonl")
        assert results["job-000000"]["error"]["code"] == "max_cost_exceeded" and results["job-000001"]["error"] is None
        assert sim.stats()["requests"] == 1


def at(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def deadline():
    """Passed already, or passing while the provider is broken: never called after it."""
    with ferry.Sim() as sim:
        sim.set_faults(script=[{"match": "question 1\"", "fault": "503", "times": 0}])
        jobs = [dict(ferry.chat(0), deadline=at(-10)), dict(ferry.chat(1), deadline=at(1)), dict(ferry.chat(2), deadline=at(600))]
        ferry.write_jobs("jobs.jsonl", jobs)
        ferry.run("jobs.jsonl", "results.jsonl", "--set", "retry.backoff.base=50ms", "--set", "retry.backoff.cap=50ms", "--set", "retry.attempts=100", sim=sim, code=3)
        results = ferry.by_name("results.jsonl")
        assert ferry.failures(results.values()) == {"deadline_exceeded": 2}, results
        assert results["job-000000"]["receipt"]["attempts"] == 0 and results["job-000002"]["error"] is None
        assert sorted(call["seen"] for call in sim.calls())[0] == 1 and len(sim.calls()) == 2


def not_before():
    """A job that may start later waits, and the others do not wait for it. (Its moment is compared with the simulator's own clock.)"""
    with ferry.Sim() as sim:
        moment = time.time() + 1.5
        jobs = [dict(ferry.chat(0), not_before=at(1.5)), *map(ferry.chat, range(1, 20))]
        ferry.write_jobs("jobs.jsonl", jobs)
        process = ferry.start("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.wait_for(lambda: sim.stats()["requests"] >= 19, "the others")
        ferry.wait_for(lambda: sim.stats()["requests"] == 20, "the last one")
        assert time.time() >= moment, "it was called before its time"
        process.communicate(timeout=ferry.WAIT_S)
        results = ferry.lines("results.jsonl")
        ferry.check_succeeded(results, ferry.names(jobs))
        assert results[-1]["custom_id"] == "job-000000"


if __name__ == "__main__":
    ferry.main([
        per_minute, concurrency, limits_that_are_not_known, cheapest_first, the_other_when_it_breaks, other_models, rules, max_cost, deadline, not_before,
    ])
