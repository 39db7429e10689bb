"""`batchferry worker` as processes, topics of their own for a test, and what must have come out of them.

Import kafka first: it may start the script anew under another python3.
"""
import collections
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import time
import urllib.request

import confluent_kafka
import ferry
import kafka

SESSION_MS = 6000
JAVA = {"partitioner": "murmur2_random"}  # what the Java client does, and what a job's own partition is by


class Worker:
    """A running worker; use it with `with`. `state` is its directory, made when it is not there."""

    started = 0

    def __init__(self, config="batchferry.yaml", state="state", *more):
        Worker.started += 1
        self.state = state
        self.log_path = pathlib.Path(f"worker-{Worker.started}.log")
        words = [ferry.BATCHFERRY, "worker", "-c", config, "--state", state, "--set", "listen.port=0", *map(str, more)]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        self.paused = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()

    def log(self):
        return self.log_path.read_text()

    def is_alive(self):
        return self.process.poll() is None

    def check_alive(self):
        assert self.is_alive(), f"{self.log_path}: the worker ended with {self.process.returncode}:\n{self.log()[-4000:]}"

    # --- signals

    def ended(self, code):
        """Waits for its end; the exit code must be `code`."""
        try:
            self.process.wait(ferry.WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log_path}: the worker does not end:\n{self.log()[-4000:]}") from None
        assert self.process.returncode == code, f"{self.log_path}: exit code {self.process.returncode}, not {code}:\n{self.log()[-4000:]}"

    def stop(self, code=0):
        ferry.wait_for(lambda: not self.is_alive() or self.catches(signal.SIGTERM), "the handler of SIGTERM")
        self.signal(signal.SIGTERM)
        self.ended(code)

    def signal(self, number):
        self.check_alive()
        self.process.send_signal(number)

    def catches(self, number):
        """Its handler of the signal stands: before that a signal ends any process."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search("SigCgt:\\s*(\\w+)", status)[1], 16) >> (number - 1) & 1

    def kill(self):
        self.process.kill()
        self.process.wait(ferry.WAIT_S)

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    # --- what it says

    def url(self):
        """Of its metrics; waits until it has said it."""
        def said():
            self.check_alive()
            return "metrics: http" in self.log()

        ferry.wait_for(said, f"the metrics of {self.log_path}")
        return self.log().split("metrics: ", 1)[1].split()[0]

    def metrics(self):
        """{name: {labels: value}}"""
        found = collections.defaultdict(dict)
        with urllib.request.urlopen(self.url(), timeout=ferry.WAIT_S) as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    name, _, labels = name.partition("{")
                    found[name][labels.rstrip("}")] = float(value)
        return found

    def metric(self, name):
        """The sum over all labels."""
        found = self.metrics()
        assert name in found, f"there is no metric {name}, but {sorted(found)}"
        return sum(found[name].values())

    def wait_metrics(self, **wanted):
        """Until the sums of these are so (names without "batchferry_"); they are told a few times a second."""
        def reached():
            self.check_alive()
            return all(self.metric("batchferry_" + name) == value for name, value in wanted.items())

        ferry.wait_for(reached, f"{wanted} of {self.log_path}")

    def wait_ready(self):
        """Until it holds partitions, all of them with their state read."""
        def ready():
            self.check_alive()
            found = self.metrics()
            restored = found["batchferry_partition_restored"]
            return restored and all(restored.values())

        self.url()
        ferry.wait_for(ready, f"the partitions of {self.log_path}:\n{self.log()[-2000:]}")
        return self


class Tail:
    """What a read_committed reader sees of a topic while it grows; its order counts within a partition only."""

    def __init__(self, broker, topic):
        self.broker, self.topic, self.records, self.reached = broker, topic, [], {}
        self.consumer = broker.consumer(None, **{"isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 20})
        places = [confluent_kafka.TopicPartition(topic, number, confluent_kafka.OFFSET_BEGINNING) for number in broker.partitions(topic)]
        self.consumer.assign(places)

    def close(self):
        self.consumer.close()

    def read(self, seconds=0.05):
        """Takes what is there; gives all records so far."""
        for message in self.consumer.consume(5000, seconds):
            error = message.error()
            if not error:
                self.records.append(kafka.Record(message.key(), message.value(), message.headers() or [], message.partition(), message.offset()))
            elif error.code() != confluent_kafka.KafkaError._PARTITION_EOF and not error.retriable():
                raise AssertionError(f"{self.topic}: {error}")
        return self.records

    def read_on(self):
        """The same until no more comes at once."""
        count = -1
        while len(self.records) > count:
            count = len(self.records)
            self.read(0.1)
        return self.records


class Site:
    """Topics of its own, a configuration of workers for them, and their promises; use it with `with`."""

    def __init__(self, broker, sim, partitions=4, topics=None, provider=None, **settings):
        """`topics`: more properties of each kind, as {"results": {"max.message.bytes": 5000}}; `provider`: of the provider; `settings`: of the configuration."""
        self.broker, self.sim, self.partitions = broker, sim, partitions
        self.prefix = broker.prefix()
        self.names = {kind: self.prefix + kind for kind in ("jobs", "results", "dead_letters", "state", "audit")}
        self.jobs, self.results, self.dead_letters, self.state, self.audit = self.names.values()
        self.group = self.prefix + "workers"
        more = topics or {}
        compact = {"state": {"cleanup.policy": "compact"}}
        broker.create_topics({self.names[kind]: (partitions, {**compact.get(kind, {}), **more.get(kind, {})}) for kind in self.names})
        self.settings = {
            "kafka": {"bootstrap.servers": broker.bootstrap, "group.id": self.group, "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500,
                      "reconnect.backoff.max.ms": 500},
            "topics": self.names, "shards": 1, "commit": {"interval": "20ms"}, "limits": {"in_flight": 64},
            "providers": [ferry.provider("p", sim, **(provider or {}))],
        }
        for name, value in settings.items():
            self.settings[name] = {**self.settings[name], **value} if isinstance(value, dict) and name in self.settings else value
        self.configure()

    def __enter__(self):
        self.tails = {kind: Tail(self.broker, name) for kind, name in self.names.items()}
        return self

    def __exit__(self, *_):
        for tail in self.tails.values():
            tail.close()

    def make_anew(self, kind):
        """The topic is deleted and created again."""
        name = self.names[kind]
        self.tails[kind].close()
        self.broker.delete_topic(name)
        self.broker.create_topics({name: (self.partitions, {})})
        self.tails[kind] = Tail(self.broker, name)

    def configure(self, path="batchferry.yaml", **more):
        ferry.configure(path, **{**self.settings, **more})

    # --- records in

    def send(self, jobs, settings=None, keyed=False):
        """Plain JSON, by a client that knows no more than that; `keyed`: with the idempotency key as key, to the partition it names."""
        records = [(key_of(job) if keyed else None, json.dumps(job)) for job in jobs]
        return self.broker.produce(self.jobs, records, settings or (JAVA if keyed else None))

    # --- records out

    def ended(self):
        """The records of results and dead letters so far."""
        return self.tails["results"].read_on() + self.tails["dead_letters"].read_on()

    def wait_ended(self, count, workers=()):
        """Until there are so many results and dead letters together (more show later, in check_...)."""
        deadline = time.monotonic() + ferry.WAIT_S
        seen = -1
        while True:
            now = len(self.ended())
            if now >= count:
                return
            if now > seen:
                seen, deadline = now, time.monotonic() + ferry.WAIT_S
            for worker in workers:
                worker.check_alive()
            assert time.monotonic() < deadline, (
                f"{now} of {count} results and dead letters, and no more for {ferry.WAIT_S} s; not committed {self.uncommitted()}, "
                f"parked {self.parked()}:\n{self.stories()}\n{tell(workers)}")

    def stories(self, most=5):
        """Of jobs without a result (plain JSON, by their custom_id): where their records stand, and what the other topics say of them."""
        ended = {record.key for record in self.broker.read_committed(self.results)}
        jobs, state, results = (self.broker.read_all(topic) for topic in (self.jobs, self.state, self.results))
        committed = {(record.partition, record.offset) for record in self.broker.read_committed(self.state)}
        places, said = collections.defaultdict(list), []
        for record in jobs:
            if found := re.search(rb'"(?:idempotency_key|custom_id)": ?"([^"]+)"', record.value or b""):
                places[found[1]].append((record.partition, record.offset))
        missing = [key for key in places if key not in ended]
        for key in missing[:most]:
            said.append(f"{key.decode()}: records at {places[key]}")
            names = {(partition, b"\0record/%d" % offset) for partition, offset in places[key]}  # of records that went home, or are refused
            for record in state:
                if record.key.endswith(key) or (record.partition, record.key.partition(b"@")[0]) in names:
                    taken = "" if (record.partition, record.offset) in committed else "taken back, "
                    said.append(f"  state {record.partition}/{record.offset}: {taken}{record.key} {record.value and unpack(record.value)}")
            said += [f"  result {record.partition}/{record.offset}: taken back" for record in results if record.key == key]
        return f"{len(missing)} jobs without a result\n" + "\n".join(said)

    def uncommitted(self):
        """{partition: (committed offset, that of the last record)} where they do not meet."""
        committed = self.broker.committed_offsets(self.group, self.jobs)
        last = {}
        for record in self.tails["jobs"].read_on():
            last[record.partition] = record.offset
        return {number: (committed.get(number), offset) for number, offset in last.items() if committed.get(number, 0) <= offset}

    def wait_committed(self, workers=()):
        """Until no record is before its partition's committed offset."""
        try:
            ferry.wait_for(lambda: not self.uncommitted(), "the offsets")
        except AssertionError:
            raise AssertionError(f"committed offsets and last records: {self.uncommitted()}\n" + tell(workers)) from None

    def wait_done(self, count, workers=()):
        self.wait_ended(count, workers)
        self.wait_committed(workers)

    def read_results(self):
        """Every result, read anew: [(record, message)]."""
        return [(record, decoded(record)) for record in self.broker.read_committed(self.results)]

    def read_dead_letters(self):
        return self.broker.read_committed(self.dead_letters)

    def read_state(self):
        """{key: [message]} of the state topic, in order; keys of owners are left out."""
        found = collections.defaultdict(list)
        for record in self.broker.read_committed(self.state):
            if record.key != b"\0owner":
                found[(record.partition, record.key)].append(unpack(record.value) if record.value is not None else None)
        return found

    def check_audit(self):
        """The chains of the audit topic are whole. Gives the records."""
        found, _ = ferry.ferry("audit", "verify", "--from-topic", "--json", "-c", "batchferry.yaml")
        records = [json.loads(record.value) for record in self.broker.read_committed(self.audit)]
        assert json.loads(found)["whole"] and json.loads(found)["records"] == len(records), found
        return records

    def parked(self):
        """How many jobs are parked for how long, in seconds from when they were: {(partition, seconds): jobs}"""
        ends = [(number, messages[-1]) for (number, _), messages in self.read_state().items()]
        return dict(collections.Counter((number, round((end["u"] - end["a"]) / 1000)) for number, end in ends if end and end["t"] == "p"))

    def check_results(self, jobs):
        """Each of these jobs has exactly one result, keyed, that is what was asked; there is no other. Gives [(record, message)]."""
        results = self.read_results()
        wanted = {key_of(job).encode(): job for job in jobs}
        check_keys(results, wanted)
        check_answers(self.sim, [(wanted[record.key], message) for record, message in results])
        return results

    def check_state(self, keys):
        """One settled record for each key (after what parked it), in the partition of the key, and nothing else for it."""
        found = self.read_state()
        settled = {key for (_, key), messages in found.items() if messages[-1] and messages[-1]["t"] == "s"}
        missing = {key.encode() for key in keys} - settled
        assert not missing, f"{len(missing)} keys are not settled in the state topic, such as {sorted(missing)[:5]}"
        places = collections.Counter(key for _, key in found if not key.startswith(b"\0"))
        assert max(places.values()) == 1, f"in more than one partition: {[key for key, count in places.items() if count > 1][:5]}"
        twice = {key: messages for (_, key), messages in found.items() if sum(message["t"] == "s" for message in messages if message) > 1}
        assert not twice, f"{len(twice)} keys were settled more than once, such as {list(twice.items())[:2]}"


def tell(workers):
    """What may say why they do not go on: the ends of their logs, and the metrics that are not zero."""
    def metrics(worker):
        wanted = ("batchferry_partition", "batchferry_jobs", "batchferry_calls", "batchferry_transactions", "batchferry_producers")
        found = worker.metrics() if worker.is_alive() and not worker.paused else {}
        return [f"{name} {labels} {value:g}" for name, values in found.items() for labels, value in values.items() if value and name.startswith(wanted)]

    return "\n".join("\n".join([f"--- {worker.log_path}", worker.log()[-2500:], *metrics(worker)]) for worker in workers)


def key_of(job):
    return job.get("idempotency_key", job["custom_id"])


def header(record, name):
    """The last of that name."""
    values = [value for found, value in record.headers if found == name]
    return values[-1] if values else None


def decoded(record):
    """A value by its content-type."""
    return unpack(record.value) if header(record, "content-type") == b"application/msgpack" else json.loads(record.value)


def check_keys(results, wanted):
    count = collections.Counter(record.key for record, _ in results)
    twice = [key for key, times in count.items() if times > 1]
    assert not twice, f"{len(twice)} keys have more than one result, such as {twice[:5]}"
    missing = set(wanted) - set(count)
    assert not missing, f"{len(missing)} of {len(wanted)} keys have no result, such as {sorted(missing)[:5]}"
    extra = set(count) - set(wanted)
    assert not extra, f"results of no job: {sorted(extra, key=str)[:5]}"


def floats(vector):
    """As 32 bits: all that an embedding says."""
    return struct.pack(f"<{len(vector)}f", *vector)


def check_answers(sim, pairs):
    """[(job, result)]: each result has the answer to that very job, an embedding. Asks the simulator: read its counts before."""
    for job, result in pairs:
        assert result["custom_id"] == job["custom_id"], (job, result)
        assert result["error"] is None and result["response"]["status_code"] == 200, json.dumps(result)[:1000]
    inputs = [job["body"]["input"] for job, _ in pairs]
    for start in range(0, len(inputs), 500):
        body = {"model": "m", "input": inputs[start:start + 500]}
        answers = json.loads(sim.post("/v1/embeddings", json.dumps(body).encode()))["data"]
        for answer, (job, result) in zip(answers, pairs[start:]):
            got = result["response"]["body"]["data"][0]["embedding"]
            assert floats(got) == floats(answer["embedding"]), f"{job}: {got} instead of {answer['embedding']}"


def scattered(jobs, dice):
    """The jobs and a fifth of them again, in disorder, in every way that a client may send them: [(key, value, headers, partition)]."""
    def record(job):
        name, value = job["custom_id"], json.dumps(job)
        return dice.choice([
            (name, value), (name, pack(job)), (name, value, None, dice.randrange(4)), (None, value, {"idempotency-key": name}),
            (None, json.dumps({**job, "idempotency_key": name})), (None, value), ("another", json.dumps({**job, "idempotency_key": name})),
        ])

    records = [record(job) for job in jobs + dice.sample(jobs, len(jobs) // 5)]
    dice.shuffle(records)
    return records


# --- MessagePack, as much as the tests need


def pack(value):
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack("B", value) if 0 <= value < 128 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return (struct.pack("B", 0xA0 | len(text)) if len(text) < 32 else b"\xdb" + struct.pack(">I", len(text))) + text
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    head = struct.pack("B", 0x80 | len(value)) if len(value) < 16 else b"\xdf" + struct.pack(">I", len(value))
    return head + b"".join(pack(name) + pack(item) for name, item in value.items())


SIZED = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}


def unpack(data):
    value, rest = unpack_one(data)
    assert not rest, f"{len(rest)} bytes behind the message"
    return value


def take(data, form):
    size = struct.calcsize(form)
    return struct.unpack(form, data[:size])[0], data[size:]


def unpack_one(data):
    first, data = data[0], data[1:]
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), data
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], data
    if first in NUMBERS:
        return take(data, NUMBERS[first])
    if first in SIZED:
        size, data = take(data, SIZED[first])
        kind = "map" if first >= 0xDE else "array" if first >= 0xDC else "str" if first >= 0xD9 else "bin"
    else:
        kind, size = ("map", first & 15) if first < 0x90 else ("array", first & 15) if first < 0xA0 else ("str", first & 31)
    if kind in ("str", "bin"):
        return (data[:size].decode() if kind == "str" else data[:size]), data[size:]
    items = []
    for _ in range(size * (2 if kind == "map" else 1)):
        item, data = unpack_one(data)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind == "map" else items), data
