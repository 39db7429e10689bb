#!/usr/bin/env python3
"""What explains and proves the routing: replay, share, quote and explain, on a run against three providers with different
prices, limits and faults; and that the receipts hold exactly the money that the providers counted, of text, of sound, and at
each tier of service."""
import base64
import collections
import datetime
import decimal
import json
import os
import pathlib
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

DEADLINE = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)).isoformat()
# of thirty jobs of about 45 to 60 millionths each, some find nothing left
WORKSPACES = [{"name": "default"}, {"name": "tight", "budget": {"daily": 0.0008}, "over_budget": "fail"}]
# text in and out, sound in and out, text from a cache, and what was thought
PRICES = {"cheap": ("1.01", "2.03", "10.07", "20.03", "0.11", "2.53"), "middle": ("2.07", "4.11", "20.11", "40.17", "0.23", "4.79"), "dear": ("3.13", "6.17", "30.19", "60.23", "0.37", "7.01")}
PARTS = ("input", "output", "audio_input", "audio_output", "cached_input", "reasoning")
TIERS = {"flex": "0.5", "priority": "2"}
SOUND_JOBS = 60
SOUND = 1.25  # seconds: 13 tokens to the simulator, at most 41 before anybody has counted


def sims():
    """Cheap has little room, dear fails now and then, middle refuses some and has one tier of service only."""
    tiers = {name: [word for tier, share in TIERS.items() for word in ("--tier", f"{tier}:{share}")] for name in ("cheap", "dear")}
    options = {"cheap": ["--latency", "fixed:5ms", "--concurrency", "3"], "middle": ["--fault", "429:0.1", "--retry-after", "0"], "dear": ["--fault", "500:0.2"]}
    prices = {name: [word for part, price in list(zip(PARTS, PRICES[name]))[:4] for word in (f"--price-{part.replace('_', '-')}", price)] for name in PRICES}
    for name in ("middle", "dear"):
        prices[name] += ["--cached-input", f"0.4:{PRICES[name][4]}", "--reasoning", f"0.3:{PRICES[name][5]}"]
    return {name: ferry.Sim(*prices[name], *tiers.get(name, []), *more) for name, more in options.items()}


def price(name):
    """As a configuration has it, at each tier of service."""
    def times(share):
        return {part: float(decimal.Decimal(amount) * decimal.Decimal(share)) for part, amount in zip(PARTS, PRICES[name])}
    return {**times(1), **{tier: times(share) for tier, share in TIERS.items()}}


def providers(running):
    made = []
    for name, sim in running.items():
        models = [{"model": "m", "price": price(name)}]
        limits = {"limits": {"concurrency": 2}} if name == "cheap" else {}
        made.append(ferry.provider(name, sim, models, **limits))
    return made


def workload():
    wishes = [{}, {"ignore": ["cheap"]}, {"order": ["dear"]}, {"sort": "throughput"}, {"sort": "latency"}, {"only": ["middle", "dear"]}]
    jobs = [ferry.chat(i, routing=wishes[i % len(wishes)]) for i in range(300)]
    jobs += [ferry.chat(1000 + i, routing={"order": ["dear"], "allow_fallbacks": False}) for i in range(20)]
    jobs += [ferry.chat(2000 + i, routing={"allow_fallbacks": False}) for i in range(20)]
    jobs += [ferry.chat(3000 + i, max_cost_usd=0.5) for i in range(20)]
    jobs += [ferry.chat(5000 + i, workspace="tight") for i in range(30)]
    jobs += [ferry.chat(6000 + i, deadline=DEADLINE) for i in range(30)]
    for i in range(SOUND_JOBS):  # each with and without sound in and out, at each tier, at each provider
        order = [{}, {"order": ["middle"]}, {"order": ["dear"]}, {"order": ["cheap"]}][i // 12 % 4]
        jobs.append(ferry.chat(7000 + i, sound() if i % 2 else None, routing=order))
        jobs[-1]["body"].update({"modalities": ["text", "audio"]} if i % 4 > 1 else {}, service_tier=["flex", "priority", "auto"][i // 4 % 3])
    return jobs + [ferry.chat(4000, routing={"zdr": True}), ferry.chat(4001, max_cost_usd=0.000000001)]


def sound():
    """A question in two parts, the other of them a WAV of 8 kHz and 8 bits."""
    samples = bytes(int(8000 * SOUND))
    wav = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", len(samples)) + samples
    return [{"type": "text", "text": "Who is it?"}, {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav).decode(), "format": "wav"}}]


def decisions():
    running = sims()
    jobs = workload()
    ferry.write_jobs("jobs.jsonl", jobs)
    with running["cheap"], running["middle"], running["dear"]:
        ferry.configure(providers=providers(running), workspaces=WORKSPACES, retry={"backoff": {"base": "10ms", "cap": "100ms"}, "attempts": 12})
        ferry.run("jobs.jsonl", "results.jsonl", code=3)
        stats = {name: json.loads(sim.get("/sim/stats"), parse_float=str) for name, sim in running.items()}
    results = [json.loads(line, parse_float=decimal.Decimal) for line in open("results.jsonl")]
    ferry.check_once(results, ferry.names(jobs))
    money(results, {name: decimal.Decimal(said["cost_usd"]) for name, said in stats.items()})
    sound_and_tiers(results, stats)
    replay(len(jobs))
    explained(jobs, results)
    share(results)


def money(results, counted):
    """Picodollar for picodollar, per provider: nobody was called twice for an answer that came."""
    paid = dict.fromkeys(counted, decimal.Decimal(0))
    for result in results:
        if result["receipt"]["provider"] and not result["error"]:
            assert not result["receipt"]["cost_is_estimate"], result
            paid[result["receipt"]["provider"]] += result["receipt"]["cost_usd"]
    assert paid == counted, (paid, counted)


def sound_and_tiers(results, stats):
    """What was counted is in the receipts by its parts, and none was above what was estimated before."""
    for name, said in stats.items():
        of = [result["receipt"]["usage"] for result in results if result["receipt"]["provider"] == name and not result["error"]]
        for side, words in (("prompt", "audio_input_tokens"), ("completion", "audio_output_tokens")):
            assert sum(usage.get(words, 0) for usage in of) == said[f"{side}_audio_tokens"] > 0, (name, side, said)
        assert (said["tiered"] > 0) == (name != "middle"), said
    heard = [result["receipt"] for result in results if result["receipt"]["usage"].get("audio_input_tokens")]
    assert len(heard) == SOUND_JOBS / 2 and all(receipt["usage"]["audio_input_tokens"] == 13 for receipt in heard), heard
    for part in ("cached_input_tokens", "reasoning_tokens"):
        assert {result["receipt"]["provider"] for result in results if result["receipt"]["usage"].get(part)} == {"middle", "dear"}, part
    at = {result["receipt"]["provider"] + "/" + result["response"]["body"].get("service_tier", "-") for result in results if not result["error"]}
    assert at >= {"cheap/flex", "cheap/priority", "cheap/default", "dear/flex", "dear/priority", "middle/default", "cheap/-"}, at


def replay(count):
    out, said = ferry.ferry("replay", "results.jsonl")
    ferry.has(out, f"{count} came out the same")
    assert "DIFFERENT" not in out and not said, (out, said)
    told = json.loads(ferry.ferry("replay", "results.jsonl", "--json")[0])
    assert told["same"] == count and told["different"] == told["no_record"] == told["unreadable"] == 0, told
    damage(count)
    what_if()
    budgets()


def damage(count):
    """A receipt that was changed is named, whatever was changed."""
    lines = pathlib.Path("results.jsonl").read_text().splitlines()
    spoilt = next(i for i, line in enumerate(lines) if '"chosen":"cheap/m"' in line)
    lines[spoilt] = lines[spoilt].replace('"chosen":"cheap/m"', '"chosen":"dear/m"')
    pathlib.Path("spoilt.jsonl").write_text("\n".join(lines) + "\n")
    out, said = ferry.ferry("replay", "spoilt.jsonl", code=1)
    ferry.check_sentence(said, f"spoilt.jsonl line {spoilt + 1}", "chosen", "expected dear/m, got cheap/m")
    ferry.has(out, f"{count - 1} came out the same", "1 came out DIFFERENT")
    lines[spoilt] = lines[spoilt].replace('"replay":"', '"replay":"AA')
    pathlib.Path("spoilt.jsonl").write_text("\n".join(lines) + "\n")
    ferry.has(ferry.ferry("replay", "spoilt.jsonl", code=1)[0], "1 have a record that cannot be read")
    out, said = ferry.ferry("replay", "results.jsonl", "--set", "routing.zdr=true", code=1)
    ferry.has(out, f"{count} were made under another catalog")
    ferry.check_sentence(said, "nothing is proved", "-c FILE")
    _, said = ferry.ferry("replay", "jobs.jsonl", code=1)
    ferry.check_sentence(said, "jobs.jsonl", "no results")


def flat(amount):
    parts = dict.fromkeys(PARTS, amount)
    return {**parts, **dict.fromkeys(TIERS, parts)}


def what_if():
    """A world in which dear costs nothing, and one in which nobody may be asked."""
    config = json.loads(pathlib.Path("batchferry.yaml").read_text())
    for provider in config["providers"]:
        if provider["name"] == "dear":
            provider["models"][0]["price"] = flat(0)
    pathlib.Path("free.yaml").write_text(json.dumps(config))
    told = json.loads(ferry.ferry("replay", "results.jsonl", "-c", "free.yaml", "--json")[0])
    assert told["same"] == 0 and told["other_catalog"] > 0, told
    rows = {row["provider"]: row for row in told["what_if"]["providers"]}
    assert told["what_if"]["elsewhere"] > 100 and rows["dear"]["would_be_jobs"] > rows["dear"]["jobs"], told
    assert rows["dear"]["would_be_cost_usd"] == 0 and told["what_if"]["total"]["saved_usd"] > 0, told
    assert rows["cheap"]["would_be_jobs"] < rows["cheap"]["jobs"], told
    for provider in config["providers"]:
        if provider["name"] == "dear":
            provider["models"][0]["price"] = flat(0.001)
    pathlib.Path("halved.yaml").write_text(json.dumps(config))
    out, _ = ferry.ferry("replay", "results.jsonl", "-c", "halved.yaml")
    assert "nobody could have taken" not in out, out
    config["routing"] = {"zdr": True}
    pathlib.Path("zdr.yaml").write_text(json.dumps(config))
    out, _ = ferry.ferry("replay", "results.jsonl", "-c", "zdr.yaml")
    ferry.has(out, f"{told['what_if']['jobs']} jobs nobody could have taken: excluded_by_policy")
    out, _ = ferry.ferry("replay", "results.jsonl", "-c", "zdr.yaml", "--rules", "recorded")
    assert "nobody could have taken" not in out, out


def budgets():
    """A budget of another configuration holds over the recorded jobs, one after the other: whom it does not cover fails, or waits."""
    config = json.loads(pathlib.Path("batchferry.yaml").read_text())
    def told(over, dear=None, **budget):
        config["workspaces"] = [{"name": "default", "over_budget": over, **budget}]
        for provider in config["providers"]:
            provider["budget"] = {"lifetime": dear} if dear and provider["name"] == "dear" else {}
        pathlib.Path("budget.yaml").write_text(json.dumps(config))
        said = json.loads(ferry.ferry("replay", "results.jsonl", "-c", "budget.yaml", "--json")[0], parse_float=decimal.Decimal)["what_if"]
        return said, {row["provider"]: row for row in [*said["providers"], said["total"]]}
    most = decimal.Decimal("0.01")
    free, cost = told("fail")
    assert free["nobody"] == {} and free["over_budget"] == 0 and cost["total"]["would_be_cost_usd"] > 2 * most, free
    fails, cost = told("fail", budget={"monthly": float(most)})
    refused = fails["nobody"]["budget_exceeded"]
    assert 0 < refused < fails["jobs"] and cost["total"]["would_be_jobs"] == fails["jobs"] - refused and fails["over_budget"] == 0, fails
    assert most * 9 / 10 < cost["total"]["would_be_cost_usd"] <= most, cost
    waits, cost = told("wait", budget={"monthly": float(most)})
    assert waits["nobody"] == {} and waits["over_budget"] == refused and cost["total"]["would_be_jobs"] == waits["jobs"], waits
    ferry.has(ferry.ferry("replay", "results.jsonl", "-c", "budget.yaml")[0], f"{refused} jobs would have waited for the next period of a budget")
    _, less = told("wait", dear=0.001)
    _, cost = told("wait")
    assert less["dear"]["would_be_cost_usd"] <= decimal.Decimal("0.001") < cost["dear"]["would_be_cost_usd"], (less, cost)


def explained(jobs, results):
    """What explain says now names the same rules and the same catalog as the receipt, and has the score parts."""
    receipts = {result["custom_id"]: result["receipt"]["decision"] for result in results}
    ferry.write_jobs("some.jsonl", jobs[:12])
    for line in ferry.ferry("explain", "some.jsonl", "--json")[0].splitlines():
        told = json.loads(line)
        recorded = receipts[told["custom_id"]]
        assert (told["policy"], told["catalog"]) == (recorded["policy"], recorded["catalog"]) and len(told["seed"]) == 16, (told, recorded)
    ferry.write_jobs("some.jsonl", [{**jobs[0], "routing": {"sort": "balanced", "ignore": ["dear"]}}])
    told = json.loads(ferry.ferry("explain", "some.jsonl", "--json")[0])
    scores = [one.get("score") for one in told["candidates"]]
    assert scores[0] == 50 * 1000 + 50 * 500 and 25000 < scores[1] < scores[0] and scores[2] is None, told
    ferry.has(ferry.ferry("explain", "some.jsonl")[0], f"score {scores[0]}", f"policy {told['policy']}")


def share(results):
    told = json.loads(ferry.ferry("share", "results.jsonl", "--json")[0])
    rows = {row["provider"]: row for row in told["providers"]}
    for name in PRICES:
        assert rows[name]["jobs"] == sum(r["receipt"]["provider"] == name and r["receipt"]["attempts"] > 0 for r in results), (name, rows)
    # by what was learned of middle's tokens, but not yet of cheap's, some with sound are cheaper there
    assert told["jobs"] - SOUND_JOBS <= rows["cheap"]["neutral_jobs"] <= told["compared"] == told["jobs"], told
    causes = {cause["cause"]: cause["jobs"] for cause in told["causes"]}
    assert sum(causes.values()) == told["jobs"] - told["as_neutral"], told
    assert causes["ignored_providers"] == 50 and causes["allowed_providers"] == 50, causes
    assert causes["order"] >= 20 and causes["fallbacks_off"] > 0, causes
    out, _ = ferry.ferry("share", "results.jsonl", "--set", "routing.zdr=true")
    ferry.has(out, "0 of 0 compared", "give the configuration that was in force with -c FILE")
    out, _ = ferry.ferry("share", "results.jsonl")
    ferry.has(out, "cheap", " %", "ignored_providers", "capacity_exhausted")


def quote():
    """30 jobs of known size: the sums are worked out here."""
    running = sims()
    ferry.write_jobs("jobs.jsonl", [ferry.chat(i, "x" * 40) for i in range(30)] + [ferry.chat(99, routing={"zdr": True}), "no job"])
    with running["cheap"], running["middle"], running["dear"]:
        ferry.configure(providers=providers(running))
        told, said = ferry.ferry("quote", "jobs.jsonl", "--latency", "2s", "--json")
        text, _ = ferry.ferry("run", "jobs.jsonl", "--dry-run", "--state", "state")
        assert all(sim.stats()["requests"] == 0 for sim in running.values())
    ferry.has(said, "line 32")
    told = json.loads(told, parse_float=decimal.Decimal)
    assert told["lines"] == 32 and told["no_jobs"] == 1 and told["nobody"] == {"excluded_by_policy": 1}, told
    assert told["excluded_by"] == {"data_policy:zdr": 1}, told
    (row,) = told["providers"]
    assert row["provider"] == "cheap" and row["jobs"] == 30 and row["output_tokens"] == 30 * 16, row
    assert row["seconds"] == 30 and row["bound_by"] == "concurrency", row  # 30 calls of 2 s, 2 at a time
    expected = row["input_tokens"] * decimal.Decimal("1.01") / 10**6 + 480 * decimal.Decimal("2.03") / 10**6
    thought = 480 * decimal.Decimal("0.5") / 10**6  # all of it may be, at 2.53
    assert abs(row["expected_usd"] - expected) < decimal.Decimal("1e-9") and row["ceiling_usd"] == row["expected_usd"] + thought, (row, expected)
    assert 0 < row["low_usd"] < row["expected_usd"], row
    ferry.has(text, "cheap", "30", "excluded_by_policy", "Nothing was called")
    assert not os.path.exists("state")


def spread_quote():
    """Jobs that `spread` shares among providers are shared by a quote too, each as explain draws it."""
    two = [{"name": name, "kind": "openai", "base_url": "http://127.0.0.1:9/v1", "models": [{"model": "m", "price": {"input": 1, "output": output}}]}
           for name, output in (("a", 2), ("b", 2.1))]
    ferry.configure(providers=two, routing={"spread": 0.2})
    ferry.write_jobs("jobs.jsonl", [ferry.chat(i) for i in range(60)])
    told = json.loads(ferry.ferry("quote", "jobs.jsonl", "--json")[0])
    explained = [json.loads(line)["chosen"] for line in ferry.ferry("explain", "jobs.jsonl", "--json")[0].splitlines()]
    assert {f"{row['provider']}/m": row["jobs"] for row in told["providers"]} == collections.Counter(explained), (told, explained)
    assert min(explained.count("a/m"), explained.count("b/m")) > 10, explained


def piped_quote():
    """Standard input is waited for, and text that pipes has no control characters."""
    with ferry.Sim() as sim:
        done = subprocess.run([ferry.BATCHFERRY, "quote", "-", "--base-url", sim.url], input=json.dumps(ferry.chat(1)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "\x1b" not in done.stdout and not done.stderr, done
    ferry.has(done.stdout, "default/*", "unknown")


def explain():
    running = sims()
    with running["cheap"], running["middle"], running["dear"]:
        ferry.configure(providers=providers(running), routing={"ignore": ["middle"]})
    ferry.write_jobs("job.json", [ferry.chat(1, routing={"sort": "latency"})])
    out, said = ferry.ferry("explain", "job.json", "--at", "2026-11-23T02:00:00Z")
    ferry.has(out, "2026-11-23T02:00:00.000Z", "ignored_providers", "`ignore` names it", "is chosen", "ignore: middle (configuration)", "sort: latency (job)")
    ferry.check_sentence(said, "never called")
    told = json.loads(ferry.ferry("explain", "job.json", "--json")[0])
    assert told["chosen"] == "cheap/m" and [c["endpoint"] for c in told["candidates"]] == ["cheap/m", "dear/m", "middle/m"], told
    assert told["candidates"][2]["excluded_by"] == "ignored_providers" and told["sort"] == "latency", told
    ferry.write_jobs("jobs.jsonl", [ferry.chat(1), ferry.chat(2, routing={"zdr": True}), "no job"])
    out, said = ferry.ferry("explain", "jobs.jsonl", code=3)
    ferry.has(out, "it is expected to cost the least", "would end as excluded_by_policy", "zdr: true (job)")
    ferry.has(said, "jobs.jsonl line 3")
    for words, part in ((["explain", "job.json", "--at", "noon"], "--at takes a time"), (["explain"], "which job"), (["replay"], "which results"), (["quote"], "which jobs"), (["share"], "which results"), (["replay", "x", "--rules", "y"], "--rules takes"), (["quote", "x", "--latency", "0"], "--latency takes")):
        ferry.has(ferry.ferry(*words, code=2)[1], part)
    for word in ("explain", "replay", "share", "quote"):
        ferry.check_sentence(ferry.ferry(word, "missing.jsonl", code=1)[1], "missing.jsonl", "No such file")


def rules():
    """Rules in force are said in the words and units in which they are written, with the layer that says them."""
    said = {
        "order": ["a"], "only": ["a", "b"], "ignore": ["c"], "allow_fallbacks": False, "require_parameters": True, "data_collection": "deny", "zdr": True,
        "quantizations": ["fp8", "unknown"], "sort": {"by": "throughput", "partition": "none"}, "max_price": {"prompt": 1.5, "completion": 2, "request": 0.1, "image": 0.000002},
        "preferred_min_throughput": {"p50": 10, "p90": 2.5}, "preferred_max_latency": 1.5, "regions": ["eu"], "max_cost_usd": 0.01, "unknown_price": "deny", "spread": 0.2}
    told = {
        "order": "a", "only": "a, b", "ignore": "c", "allow_fallbacks": "false", "require_parameters": "true", "data_collection": "deny", "zdr": "true",
        "quantizations": "fp8, unknown", "sort": "throughput", "sort.partition": "none", "max_price.prompt": "1.5", "max_price.completion": "2", "max_price.request": "0.1",
        "max_price.image": "0.000002", "preferred_min_throughput.p50": "10", "preferred_min_throughput.p90": "2.5", "preferred_max_latency.p50": "1.5", "regions": "eu",
        "max_cost_usd": "0.01", "unknown_price": "deny", "spread": "0.2"}
    with ferry.Sim() as sim:
        ferry.configure(providers=[ferry.provider("a", sim)], routing={"max_cost_usd": 0.5}, workspaces=[{"name": "default", "routing": {"max_cost_usd": 0.02}}])
    for routing, rules, layer in ((said, told, "job"), ({}, {"max_cost_usd": "0.02"}, "workspace")):
        ferry.write_jobs("job.json", [ferry.chat(1, routing=routing)])
        got = json.loads(ferry.ferry("explain", "job.json", "--json", code=None)[0])["rules"]
        assert {rule["rule"]: rule["value"] for rule in got} == rules and all(rule["from"] == layer for rule in got), got


def reasons():
    """What put the first before the second is said as it was, also where the dearer one comes first."""
    def model(name, upstream=None, **more):
        return {"model": name, "upstream": upstream or name, **more}
    cheap, dear = {"input": 1, "output": 2}, {"input": 1.1, "output": 2.2}
    with ferry.Sim() as sim:
        ferry.configure(providers=[
            ferry.provider("a", sim, [model("m", price=cheap, parameters=["temperature"], quality=10), model("x", price=cheap)]),
            ferry.provider("b", sim, [model("m", price=dear, parameters=["tools"], quality=20), model("y", price=dear)]),
            ferry.provider("c", sim, [model("m", quality=20)])])
    tools = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    cases = (
        ({}, {}, "a/m", "it is expected to cost the least"),
        (tools, {}, "b/m", "a/m comes behind it: it is known not to support tools"),
        ({}, {"ignore": ["a"]}, "b/m", "c/m comes behind it: its price for this job is not known"),
        ({}, {"order": ["nobody"]}, "a/m", "it is expected to cost the least"),
        ({}, {"order": ["c"]}, "c/m", "`order` puts it first"),
        ({}, {"only": ["c"]}, "c/m", "it is the only one that may take the job"),
        ({}, {"sort": "quality"}, "b/m", "it is the only one of the first two whose price is known"),
        ({}, {"sort": "quality", "ignore": ["c"]}, "b/m", "it comes first by the `sort`"),
        ({"model": "y", "models": ["x"]}, {}, "b/y", "it serves the model that the job names first"),
        ({"model": "y", "models": ["x"]}, {"sort": {"by": "price", "partition": "none"}}, "a/x", "it is expected to cost the least"),
        ({}, {"spread": 5, "ignore": ["c"]}, None, "it was drawn, by the job's key, among those that `spread`"))
    for number, (body, routing, chosen, why) in enumerate(cases):
        job = ferry.chat(number, routing=routing)
        job["body"].update(body)
        ferry.write_jobs("job.json", [job])
        told = json.loads(ferry.ferry("explain", "job.json", "--json")[0])
        assert told["chosen"] == chosen or chosen is None, told
        ferry.has(told["why"], f"{told['chosen']} is chosen: ", why)
        if body == tools:
            assert [(one["endpoint"], one.get("penalties")) for one in told["candidates"]] == [("b/m", None), ("a/m", ["parameters"]), ("c/m", ["price_unknown"])], told
            ferry.has(ferry.ferry("explain", "job.json")[0], "comes later: it is known not to support tools", "comes later: its price for this job is not known: price.input is not said")
    job = ferry.chat(1, routing={"allow_fallbacks": False})
    job["body"].update(tools)
    ferry.write_jobs("job.json", [job])
    out = ferry.ferry("explain", "job.json")[0]
    ferry.has(out, "fallbacks_off")
    assert "comes later" not in out, "what never comes does not come later"
    assert not any("penalties" in one for one in json.loads(ferry.ferry("explain", "job.json", "--json")[0])["candidates"])
    gaps = ({"service_tier": "flex"}, "price.flex.input is not said"), ({"service_tier": "gold"}, "no tier of service of that name has a price"), ({"modalities": ["text", "audio"]}, "price.audio_output is not said"), \
        ({"messages": [{"role": "user", "content": sound()}]}, "price.audio_input is not said")
    for body, gap in gaps:
        job = ferry.chat(1, routing={"unknown_price": "deny"})
        job["body"].update(body)
        ferry.write_jobs("job.json", [job])
        told = json.loads(ferry.ferry("explain", "job.json", "--json", code=3)[0])
        assert told["candidates"][0]["endpoint"] == "a/m" and told["candidates"][0]["meaning"].endswith(gap), told


ferry.main([decisions, quote, spread_quote, piped_quote, explain, rules, reasons])
