#!/usr/bin/env python3
"""Catalogues: others' are imported exactly and whole or not at all, a configuration is filled in from ours, and calls cost what they say."""
import json
import os
import pathlib
import subprocess
import sys
from decimal import Decimal

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

DATA = pathlib.Path(__file__).resolve().parent.parent / "unit" / "catalog" / "data"


def golden(name):
    return (DATA / name).read_text()


def imports():
    """To a file and to a pipe, from a file and from standard input; standard error says the rest."""
    for form in ("litellm", "openrouter"):
        source = DATA / f"{form}.json"
        out, said = ferry.ferry("catalog", "import", form, source, "-o", f"{form}.yaml", "-v")
        assert out == "" and pathlib.Path(f"{form}.yaml").read_text() == golden(f"{form}.yaml")
        first, _, rest = said.partition("\n")
        assert rest == golden(f"{form}.report"), rest
        ferry.has(first, "entries taken, of")
        out, said = ferry.ferry("catalog", "import", form, source, "-q")
        assert out == golden(f"{form}.yaml") and said == ""
        done = subprocess.run([ferry.BATCHFERRY, "catalog", "import", form, "-"], stdin=open(source), capture_output=True, text=True, timeout=ferry.WAIT_S)
        assert done.returncode == 0 and done.stdout == golden(f"{form}.yaml")
        assert "\n         " not in done.stderr, "names only with -v"
    assert not list(pathlib.Path().glob("*.part"))


def every_price_is_exact():
    """The prices of one token as the file writes them, times a million, with the decimals of another program."""
    names = {"input_cost_per_token": "input", "output_cost_per_token": "output", "cache_read_input_token_cost": "cached_input"}
    ferry.ferry("catalog", "import", "litellm", DATA / "litellm.json", "-o", "c.yaml")
    out, _ = ferry.ferry("catalog", "list", "c.yaml", "--json", "--kind", "chat")
    models = {model["model"]: model for model in (json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in out.splitlines())}
    count = 0
    for name, entry in json.loads(golden("litellm.json"), parse_float=Decimal, parse_int=Decimal).items():
        model = models.get(name) or models.get(name.partition("/")[2])
        for theirs, ours in names.items():
            if model and entry.get(theirs):
                assert model["price"][ours] == entry[theirs] * 1000000, (name, theirs)
                count += 1
    assert count > 20, count


def whole_or_not_at_all():
    """What cannot be used leaves the file that is there; the sentence has the place."""
    pathlib.Path("c.yaml").write_text("old\n")
    pathlib.Path("bad.json").write_text('{\n "a": {"litellm_provider": ]}\n')
    pathlib.Path("list.json").write_text("[]")
    with open("huge.json", "w") as huge:
        huge.truncate((16 << 20) + 1)
    cases = [
        ("litellm", "bad.json", "bad.json:2:28: "), ("litellm", "list.json", "list.json:1:1: not LiteLLM's price map"),
        ("openrouter", "list.json", "list.json:1:1: not OpenRouter's list"), ("litellm", "nowhere.json", "cannot read nowhere.json: No such file"),
        ("litellm", ".", "cannot read .: Is a directory"), ("openrouter", "huge.json", "larger than 16 MiB"),
    ]
    for form, source, sentence in cases:
        _, said = ferry.ferry("catalog", "import", form, source, "-o", "c.yaml", code=2)
        ferry.check_sentence(said, sentence)
        assert pathlib.Path("c.yaml").read_text() == "old\n"
    for form, source in (("litellm", "openrouter"), ("openrouter", "none")):  # the other's format, and a list of nothing
        pathlib.Path("none.json").write_text('{"data": []}')
        _, said = ferry.ferry("catalog", "import", form, pathlib.Path("none.json") if source == "none" else DATA / f"{source}.json", "-o", "c.yaml", code=2)
        ferry.has(said, "nothing of it can be used", "0 of ")
        assert pathlib.Path("c.yaml").read_text() == "old\n"
    _, said = ferry.ferry("catalog", "import", "litellm", DATA / "litellm.json", "-o", "no/such/c.yaml", code=1)
    ferry.check_sentence(said, "no/such/c.yaml")
    with open("/dev/full", "w") as full:
        done = subprocess.run([ferry.BATCHFERRY, "catalog", "list", str(DATA / "litellm.yaml")], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1, done.stderr
    ferry.check_sentence(done.stderr, "cannot write the output")
    assert not list(pathlib.Path().glob("*.part"))


def wrong_words():
    for words, part in [
        ((), "say import, list, check or codes"), (("sell",), "none of import"), (("import",), "say what to import"), (("import", "csv", "x"), "no format"),
        (("import", "litellm", "a", "b"), "one word too many"), (("list", "--kind", "poem"), "no kind"), (("list", "--max-input-price", "cheap"), "no amount"),
        (("list", "--min-context", "-1"), "no number"), (("list", "--parameter", "telepathy"), "no parameter"), (("check", "--ignore", "x"), "no code"),
        (("check", "--model", "x"), "filters are for list"), (("list", "-o", "x"), "-o is for import"), (("list", "--ignore", "no_price"), "is for check"), (("list", "--data-collection", "some"), "neither deny nor allow"), (("check", "--zdr"), "filters are for list"),
        (("list", *(word for i in range(200) for word in ("--region", f"r{i}"))), "one name too many"),
    ]:
        _, said = ferry.ferry("catalog", *words, code=2)
        ferry.has(said, part)
    out, _ = ferry.ferry("catalog", "--help")
    ferry.has(out, "import litellm|openrouter FILE", "--max-input-price", "Exit codes")


def listing():
    files = [DATA / "litellm.yaml", DATA / "openrouter.yaml"]
    out, _ = ferry.ferry("catalog", "list", *files, "--model", "*gpt-4o-mini*")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0][:4] == ["PROVIDER", "MODEL", "INPUT", "OUTPUT"], rows[0]
    assert ["openai", "gpt-4o-mini", "0.15", "0.6"] in [row[:4] for row in rows], rows
    out, _ = ferry.ferry("catalog", "list", *files, "--json", "--provider", "openrouter", "--parameter", "tools", "--max-input-price", "0.14")
    found = [json.loads(line)["model"] for line in out.splitlines()]
    assert "deepseek/deepseek-v4-flash-0731" in found and "openrouter/auto" not in found, found
    ferry.configure(providers=[{"name": "p", "kind": "openai", "base_url": "http://h", "models": [{"model": "own", "price": {"input": 7}}]}])
    out, _ = ferry.ferry("catalog", "list")
    assert out.splitlines()[1].startswith("p\town\t7\t-"), out


POLICIES = [
    {"name": "says-nothing", "models": [{"model": "m"}]},
    {"name": "keeps", "region": "us", "data_policy": {"zdr": False, "training": False, "retention_days": 30}, "models": [{"model": "m", "quantization": "fp8"}]},
    {"name": "trains", "region": "eu", "data_policy": {"zdr": False, "training": True}, "models": [{"model": "m", "quantization": "bf16"}]},
    {"name": "forgets", "region": "eu", "data_policy": {"zdr": True, "training": False, "retention_days": 0},
     "models": [{"model": "m", "region": "ch", "quantization": "int4"}, {"model": "n"}]},
]  # fmt: skip


def rules_of_jobs_list_too():
    ferry.configure(providers=[{"kind": "openai", "base_url": "http://h", **each} for each in POLICIES])
    for words, wanted in [
        ((), "says-nothing/m keeps/m trains/m forgets/m forgets/n"),
        (("--zdr",), "forgets/m forgets/n"),
        (("--data-collection", "deny"), "keeps/m forgets/m forgets/n"),
        (("--data-collection", "allow"), "says-nothing/m keeps/m trains/m forgets/m forgets/n"),
        (("--region", "eu"), "trains/m forgets/n"),
        (("--region", "ch", "--region", "us"), "keeps/m forgets/m"),
        (("--quantization", "fp8", "--quantization", "int4"), "keeps/m forgets/m"),
        (("--zdr", "--data-collection", "deny", "--region", "eu"), "forgets/n"),
        (("--region", "moon"), ""),
    ]:
        out, _ = ferry.ferry("catalog", "list", "--json", *words)
        models = [json.loads(line) for line in out.splitlines()]
        assert sorted(f"{each['provider']}/{each['model']}" for each in models) == sorted(wanted.split()), (words, out)
    out, _ = ferry.ferry("catalog", "list", "--json")
    policies = {each["provider"]: each.get("data_policy") for each in map(json.loads, out.splitlines())}
    assert policies == {each["name"]: each.get("data_policy") for each in POLICIES}, policies


def checks():
    out, said = ferry.ferry("catalog", "check", DATA / "litellm.yaml", code=3)
    ferry.has(out, "no_price  ", "no_limits  ")
    ferry.has(said, "25 models checked")
    out, _ = ferry.ferry("catalog", "check", "--json", DATA / "litellm.yaml", code=3)
    codes = {json.loads(line)["code"] for line in out.splitlines()}
    assert codes <= {"no_price", "no_context", "no_parameters", "no_limits"}, codes
    ignored = [word for code in sorted(codes) for word in ("--ignore", code)]
    out, said = ferry.ferry("catalog", "check", *ignored, DATA / "litellm.yaml")
    assert out == "", out
    ferry.has(said, "0 findings")
    pathlib.Path("bad.yaml").write_text("providers: [{name: a, models: [{model: m, parameters: [tool]}]}]\n")
    _, said = ferry.ferry("catalog", "check", "bad.yaml", code=2)
    ferry.has(said, "bad.yaml:1:56: ", 'did you mean "tools"?')


CATALOGUE = """
providers:
  - name: theirs
    models:
      - model: m
        price: {input: 2, output: 10}
        price_windows: [{when: "Europe/Berlin", multiply: 0.5}]
      - model: long
        price: {input: 2, output: 10}
        price_tiers: [{above_input: 100, input: 3, output: 20}]
      - {model: dark}
"""


def calls_cost_what_the_file_says():
    """models: catalog, a window that always holds, and a tier that is chosen by what the provider counted."""
    pathlib.Path("c.yaml").write_text(CATALOGUE)
    jobs = [ferry.chat(0), ferry.chat(1), ferry.chat(2, "word " * 400), ferry.chat(3)]
    for job, model in zip(jobs, ("m", "long", "long", "dark")):
        job["body"]["model"] = model
    ferry.write_jobs("jobs.jsonl", jobs)
    with ferry.Sim() as sim:
        ferry.configure(catalog="c.yaml", providers=[dict(ferry.provider("p", sim), models="catalog", catalog="theirs")])
        printed, _ = ferry.ferry("config", "print")
        ferry.has(printed, "# catalog c.yaml", "price_windows:", "above_input: 100")
        ferry.run("jobs.jsonl", "results.jsonl", "-c", "batchferry.yaml")
        ferry.check_succeeded(ferry.lines("results.jsonl"), ferry.names(jobs))
    receipts = [json.loads(json.dumps(ferry.by_name("results.jsonl")[f"job-{i:06}"]["receipt"]), parse_float=Decimal) for i in range(4)]
    for receipt, (price_in, price_out) in zip(receipts, ((1, 5), (2, 10), (3, 20))):
        usage = receipt["usage"]
        wanted = Decimal(usage["input_tokens"] * price_in + usage["output_tokens"] * price_out) / 1000000
        assert Decimal(str(receipt["cost_usd"])) == wanted, (receipt, wanted)
    assert receipts[1]["usage"]["input_tokens"] <= 100 < receipts[2]["usage"]["input_tokens"], receipts
    assert receipts[3]["cost_usd"] is None, receipts[3]


def a_bad_file_is_told_with_its_place():
    pathlib.Path("c.yaml").write_text("providers:\n  - name: a\n    models: [{model: m, price: {inptu: 1}}]\n")
    ferry.configure(catalog=["c.yaml", "nowhere.yaml"], providers=[])
    _, said = ferry.ferry("config", "check", code=2)
    ferry.has(said, "c.yaml:3:33: ", 'did you mean "input"?', "cannot read nowhere.yaml: ")
    os.environ["BATCHFERRY_TEST_SECRET"] = "canary"
    pathlib.Path("c.yaml").write_text("providers: [{name: a, models: [{model: '${BATCHFERRY_TEST_SECRET}'}]}]\n")
    _, said = ferry.ferry("catalog", "list", "c.yaml", code=2)
    assert "canary" not in said and "takes no variables" in said, said


if __name__ == "__main__":
    ferry.main([
        imports, every_price_is_exact, whole_or_not_at_all, wrong_words, listing, rules_of_jobs_list_too, checks, calls_cost_what_the_file_says, a_bad_file_is_told_with_its_place,
    ])
