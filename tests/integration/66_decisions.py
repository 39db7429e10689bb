#!/usr/bin/env python3
"""The golden decisions of tests/decisions again: by the program that ships, and their money worked out here, in decimals, from the numbers as the catalogues write them."""
import base64
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
from decimal import Decimal

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

HERE = pathlib.Path(__file__).resolve().parent.parent / "decisions"
PICO = Decimal(10) ** 12
GUESS = 256  # tokens of an answer of which nothing is known


def blocks():
    """Each job of the golden files: its moment, what is given, its line, the tokens in, and the candidates."""
    made = []
    for path in sorted((HERE / "golden").glob("*.decisions")):
        at, given = None, []
        for line in path.read_text().splitlines():
            if line.startswith("at "):
                at = line[3:]
            elif line.startswith("given "):
                given.append(line[6:])
            elif line.startswith("job "):
                made.append({"at": at, "given": given, "job": json.loads(line[4:]), "candidates": [], "excluded": [], "end": ""})
                given = []
            elif line.startswith("  "):
                told(made[-1], line)
    return made


def told(block, line):
    usable = re.match(r" +\d+ (\S+)(?: \(\S+\))?: expected (\d+|\?), at most (\d+|\?)", line)
    excluded = re.match(r" +- (\S+)(?: \(\S+\))?: (\S+)$", line)
    size = re.match(r" +(\d+) tokens in(?:, at most (\d+) out)?$", line)
    if usable:
        block["candidates"].append((usable[1], *(None if word == "?" else int(word) for word in usable.groups()[1:])))
    elif excluded:
        block["excluded"].append((excluded[1], excluded[2]))
    elif size:
        block["in"], block["out"] = int(size[1]), size[2] and int(size[2])
    else:
        block["end"] = line.strip()


def configure():
    for form in ("litellm", "openrouter"):
        ferry.ferry("catalog", "import", form, HERE / "data" / f"{form}.json", "-o", f"{form}.yaml", "-q")
    pathlib.Path("batchferry.yaml").write_text((HERE / "data" / "batchferry.yaml").read_text())


def explained(at, jobs):
    ferry.write_jobs("jobs.jsonl", [{**job, "batch": "decisions"} for job in jobs])  # a part of the key, by which equals are drawn
    done = subprocess.run([ferry.BATCHFERRY, "explain", "jobs.jsonl", "--json", "--at", at, "-q"], capture_output=True, text=True, timeout=ferry.WAIT_S)
    assert done.returncode in (0, 3), done.stderr
    return {told["custom_id"]: told for told in (json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in done.stdout.splitlines())}


def pico(dollars):
    return None if dollars is None else int(dollars * PICO)


def the_program_says_the_same():
    """All for which nothing is given, in the same order."""
    configure()
    plain = [block for block in blocks() if not block["given"] and not block["end"].startswith("no job")]
    for at in sorted({block["at"] for block in plain}):
        here = [block for block in plain if block["at"] == at]
        said = explained(at, [block["job"] for block in here])
        for block in here:
            rows = said[block["job"]["custom_id"]]["candidates"]
            usable = [(row["endpoint"], pico(row["cost_usd"]), pico(row["ceiling_usd"])) for row in rows if "excluded_by" not in row]
            assert usable == block["candidates"], (block, usable)
            assert [(row["endpoint"], row["excluded_by"]) for row in rows if "excluded_by" in row] == block["excluded"], block
    assert len(plain) > 80, len(plain)


# ---- the money, from the catalogues' own numbers ----

def entries():
    """What each endpoint of the configuration is in its catalogue: (input, cached, output, reasoning) in USD for a token, and its tiers."""
    litellm = json.loads((HERE / "data" / "litellm.json").read_text(), parse_float=Decimal, parse_int=Decimal)
    openrouter = {model["id"]: model for model in json.loads((HERE / "data" / "openrouter.json").read_text())["data"]}
    printed, _ = ferry.ferry("config", "print")
    found, provider, catalog, model = {}, None, None, None
    for line in printed.splitlines():
        word = line.strip().lstrip("- ").partition(": ")
        value = word[2].strip().strip('"')
        if re.match(r"  - name: ", line):
            provider = catalog = value
        elif word[0] == "catalog" and re.match(r"    catalog: ", line):
            catalog = value
        elif word[0] == "model":
            model = value
            found[f"{provider}/{model}"] = (provider, model, None)
        elif word[0] == "upstream":
            found[f"{provider}/{model}"] = (provider, model, value)
    return litellm, openrouter, found


NAMES = {"azure-eu": "azure", "azure-us": "azure", "bedrock-eu": "bedrock"}


def raw(litellm, openrouter, provider, upstream):
    if provider == "openrouter":
        return openrouter.get(upstream)
    catalog = NAMES.get(provider, provider)
    return litellm.get(f"{catalog}/{upstream}") or litellm.get(upstream)


LITELLM_KEYS = {"input_cost_per_token": 0, "output_cost_per_token": 1, "output_cost_per_reasoning_token": 2, "cache_read_input_token_cost": 3, "cache_creation_input_token_cost": 4,
                "input_cost_per_audio_token": 5, "input_cost_per_image_token": 6, "output_cost_per_audio_token": 7, "output_cost_per_image_token": 8}
OPENROUTER_KEYS = {"prompt": 0, "completion": 1, "internal_reasoning": 2, "input_cache_read": 3, "input_cache_write": 4, "audio": 5, "image_token": 6, "audio_output": 7, "image_output": 8}


def litellm_prices(entry, tokens):
    """[input, output, reasoning, cached, written, audio in, images in, audio out, images out] in each tier up to that input, from the shortest on. 0 is no price there."""
    base = [entry.get(key) or None for key in LITELLM_KEYS]
    steps = {0: base}
    for name, value in entry.items():
        above = re.fullmatch(r"(\w+)_above_(\d+)k_tokens", name)
        if above and above[1] in LITELLM_KEYS:
            steps.setdefault(int(above[2]) * 1000, list(base))[LITELLM_KEYS[above[1]]] = value
    for number, part in enumerate(entry.get("tiered_pricing", [])):
        steps[part["range"][0] if number else 0] = [part.get(key) for key in LITELLM_KEYS]
    return [steps[above] for above in sorted(steps) if above < tokens or above == 0]


def served_at(entry, tokens, service):
    """The same of a tier of service: where a longer input has another price, that of the tier must be said as well, or nothing is known of it."""
    base = [entry.get(f"{key}_{service}") or None for key in LITELLM_KEYS]
    steps = {int(above[2]) * 1000: [None] * len(base) for above in (re.fullmatch(r"(\w+)_above_(\d+)k_tokens", name) for name in entry) if above and above[1] in LITELLM_KEYS}
    for name, value in entry.items():
        above = re.fullmatch(rf"(\w+)_above_(\d+)k_tokens_{service}", name)
        if above and above[1] in LITELLM_KEYS:
            step = steps[int(above[2]) * 1000]
            step[LITELLM_KEYS[above[1]]] = value
            step[:] = [other if part is None else part for part, other in zip(step, base)]
    return [base] + [steps[above] for above in sorted(steps) if above < tokens]


def openrouter_prices(entry, tokens):
    """The same; a negative price is none."""
    def dollars(value):
        return None if value is None or Decimal(value) < 0 else Decimal(value)
    pricing = entry["pricing"]
    steps = [[dollars(pricing.get(key)) for key in OPENROUTER_KEYS]]
    for part in pricing.get("overrides", []):
        if tokens >= part["min_prompt_tokens"]:
            steps.append([dollars(part[key]) if key in part else steps[0][at] for key, at in OPENROUTER_KEYS.items()])
    return steps


def kept(price):
    """To 1e-18 USD a token."""
    return price.quantize(Decimal(10) ** -18)


def cost(*parts):
    """Of prices and tokens; each part is rounded up to a picodollar."""
    return sum(math.ceil(kept(price) * tokens * PICO) for price, tokens in parts if tokens)


def tokens_of_sound(text):
    """At 32 tokens a second where its header says how long it plays (WAV, FLAC), else by its bytes."""
    whole = text[: len(text) // 4 * 4] if len(text) % 4 == 1 else text + "=" * (-len(text) % 4)
    file = base64.b64decode(whole) if re.fullmatch(r"[A-Za-z0-9+/]{16,}=*", text) else b""
    if file[:4] == b"fLaC":
        bits = int.from_bytes(file[18:26], "big")
        ms = (bits & 0xFFFFFFFFF) * 1000 // (bits >> 44)
    elif file[:4] == b"RIFF":
        (rate,), (said,) = struct.unpack("<I", file[28:32]), struct.unpack("<I", file[40:44])
        held = len(file) - 44
        ms = (said if 0 < said <= held else held) * 1000 // rate
    else:
        return len(text) // 100 + 1
    return max(ms * 32 // 1000, len(text) // 8000) + 1


def media(job):
    """Tokens of audio and of images in its input, as they are estimated, and what it is to answer in."""
    audio = images = 0
    parts = [part for message in job["body"].get("messages", []) if isinstance(message["content"], list) for part in message["content"]]
    for part in parts:
        audio += sum(tokens_of_sound(text) for text in part.get("input_audio", {}).values())
        images += 1100 if "image_url" in part else 0
    return audio, images, job["body"].get("modalities", ["text"])


def expected_cost(price, block):
    """Audio and images at their prices, where these are said; output that is asked for as audio or images is all that."""
    audio, images, answer = media(block["job"])
    images = 0 if price[6] is None else images
    output = price[7] if "audio" in answer else price[8] if "image" in answer else price[1]
    return cost((price[0], block["in"] - audio - images), (price[5], audio), (price[6], images), (output, min(GUESS, block["out"])))


def dearest(price, block, paints):
    """Input may go into a cache or come from one, all of it may be audio or images if any is, and all of the output reasoning, or what is asked for."""
    audio, images, answer = media(block["job"])
    into = [price[0], price[3], price[4], price[5] if audio else None, price[6] if images else None]
    out = [price[1], price[2], price[7] if "audio" in answer else None, price[8] if "image" in answer or paints else None]
    parts = 3 + sum(bool(part) for part in price[5:])  # that a bill may have more of, each rounded up
    rough = any(part and kept(part) * PICO % 1 for part in price)
    return cost(*((max(part for part in side if part is not None), tokens) for side, tokens in ((into, block["in"]), (out, block["out"])))) + parts * rough


def check(block, name, entry, expected, most):
    prices = openrouter_prices(entry, block["in"]) if "pricing" in entry else litellm_prices(entry, block["in"])
    service = block["job"]["body"].get("service_tier", "auto")
    if service != "auto":  # it may be served at the standard tier as well
        known = service in ("flex", "priority") and "pricing" not in entry
        prices += served_at(entry, block["in"], service) if known else [[None] * 9]
    now = prices[-1]
    audio, _, answer = media(block["job"])
    unknown = [now[0], now[1], now[5] if audio else 0, now[7] if "audio" in answer else 0, now[8] if "image" in answer else 0]
    if None in unknown:
        assert expected is None and most is None, (block["job"], name)
        return 1
    paints = "image" in entry.get("architecture", {}).get("output_modalities", entry.get("supported_output_modalities", []))
    assert expected == expected_cost(now, block), (block["job"], name, expected, now)
    assert most == max(dearest(price, block, paints) for price in prices), (block["job"], name, most, prices)
    return 1


def every_amount_is_right():
    """Of all that writes text for a price of tokens, where nothing was learned of the endpoint."""
    configure()
    litellm, openrouter, found = entries()
    checked = of_media = 0
    for block in blocks():
        learned = {given.split()[0] for given in block["given"] if re.search(r" (output|ratio|cached)=", given)}
        if not re.search("chat|completions|responses", block["job"]["url"]) or not block.get("out") or any(" output=" in given for given in block["given"]):
            continue
        for name, expected, most in block["candidates"]:
            provider, model, upstream = found[name]
            entry = raw(litellm, openrouter, provider, upstream or model)
            assert entry, name
            if name in learned or name == "deepseek/deepseek-v3.2":  # it has windows
                continue
            checked += check(block, name, entry, expected, most)
            of_media += media(block["job"])[:2] != (0, 0) or media(block["job"])[2] != ["text"]
    assert checked > 400 and of_media > 20, (checked, of_media)


if __name__ == "__main__":
    ferry.main([the_program_says_the_same, every_amount_is_right])
