"""A real Apache Kafka for the integration tests, and what they ask of it.

BATCHFERRY_TEST_BOOTSTRAP=host:port names a cluster to use; else scripts/kafka starts one node, of the version in
BATCHFERRY_TEST_KAFKA_VERSION ("3", "4", "4.1.2"; its default otherwise). That node ends with the test, however the test ends.
The client is the Python module confluent_kafka, which Debian has for its own python3 only: importing this module starts the
script anew under /usr/bin/python3 when only that one has it, and skips the script when none has.
"""
import collections
import os
import pathlib
import subprocess
import sys
import time
import uuid

import ferry

SYSTEM_PYTHON = "/usr/bin/python3"
TRIED_SYSTEM_PYTHON = os.environ.pop("BATCHFERRY_TRIED_SYSTEM_PYTHON", None)
try:
    import confluent_kafka
    import confluent_kafka.admin
except ImportError:
    if not TRIED_SYSTEM_PYTHON and os.access(SYSTEM_PYTHON, os.X_OK):
        os.environ["BATCHFERRY_TRIED_SYSTEM_PYTHON"] = "1"
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, *sys.argv])
    ferry.skip("the Python client of Kafka is not installed: run scripts/setup (its package is python3-confluent-kafka)")

OWN_CLUSTER = os.environ.get("BATCHFERRY_TEST_BOOTSTRAP")
SCRIPT = str(pathlib.Path(__file__).resolve().parents[3] / "scripts" / "kafka")
START_S = 1800  # the first start on a machine fetches Kafka

NOT_YET = (confluent_kafka.KafkaError.NOT_LEADER_FOR_PARTITION, confluent_kafka.KafkaError.LEADER_NOT_AVAILABLE,
           confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART)

Record = collections.namedtuple("Record", "key value headers partition offset")  # bytes or None; headers: [(name, bytes)]


def encoded(text):
    return text.encode() if isinstance(text, str) else text


def header_list(headers):
    pairs = headers.items() if isinstance(headers, dict) else headers or []
    return [(name, encoded(value)) for name, value in pairs]


class Kafka:
    """The cluster; use it with `with`. `bootstrap` is its host:port. `is_ours`: it may be stopped and restarted."""

    def __init__(self, directory="kafka", sasl=False, version=os.environ.get("BATCHFERRY_TEST_KAFKA_VERSION")):
        self.directory = pathlib.Path(directory).resolve()
        self.is_ours = not OWN_CLUSTER
        self.bootstrap, self.created = OWN_CLUSTER, []
        self.options = (["--sasl"] if sasl else []) + (["--version", version] if version else [])

    def __enter__(self):
        if self.is_ours:
            self.start()
        self.admin = confluent_kafka.admin.AdminClient(self.client())
        return self

    def __exit__(self, *_):
        if self.is_ours:
            self.stop()
        elif self.created:
            for topic, done in self.admin.delete_topics(self.created).items():
                if done.exception():
                    print(f"the topic {topic} stays: {done.exception()}")

    # --- the node

    def script(self, command, *options):
        assert self.is_ours, f"{command} is not for the cluster of BATCHFERRY_TEST_BOOTSTRAP: ask is_ours first"
        done = subprocess.run([SCRIPT, command, "--dir", str(self.directory), *options], capture_output=True, text=True, timeout=START_S)
        assert done.returncode == 0, f"scripts/kafka {command}: {done.stderr.strip()}"
        return done.stdout.strip()

    def start(self):
        """Also again after stop(), with its data and address."""
        address = self.script("start", "--until", str(os.getpid()), *self.options)
        assert self.bootstrap in (None, address), f"the node was {self.bootstrap} and is {address} now"
        self.bootstrap = address

    def stop(self, kill=False):
        self.script("stop", *(["--kill"] if kill else []))

    def restart(self, kill=False):
        """The same node with its data; returns when it answers. `kill`: after SIGKILL instead of SIGTERM."""
        address = self.script("restart", *(["--kill"] if kill else []))
        assert address == self.bootstrap, f"the node was {self.bootstrap} and is {address} now"

    def sasl_properties(self):
        """What a client of the listener of `sasl=True` needs."""
        lines = (self.directory / "client.properties").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    # --- topics

    def prefix(self):
        """A new one each time, for the names of topics and groups: a test never meets what another one left."""
        return f"bf-{uuid.uuid4().hex[:12]}-"

    def create_topics(self, topics):
        """{name: (partitions, {property: value})}; returns when every partition has a leader."""
        new = [confluent_kafka.admin.NewTopic(name, partitions, 1 if self.is_ours else -1, config={key: str(value) for key, value in config.items()})
               for name, (partitions, config) in topics.items()]
        for done in self.admin.create_topics(new).values():
            done.result(ferry.WAIT_S)
        self.created += topics
        for name, (partitions, _) in topics.items():
            ferry.wait_for(lambda: self.has_leaders(name, partitions), f"the leaders of {name}")

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(ferry.WAIT_S)
        ferry.wait_for(lambda: topic not in self.admin.list_topics(timeout=ferry.WAIT_S).topics, f"{topic} to be gone")

    def configure_topic(self, topic, config):
        """These properties and no others."""
        resource = confluent_kafka.admin.ConfigResource("topic", topic, set_config={key: str(value) for key, value in config.items()})
        self.admin.alter_configs([resource])[resource].result(ferry.WAIT_S)

    def has_leaders(self, topic, partitions):
        found = self.admin.list_topics(topic, ferry.WAIT_S).topics[topic].partitions
        return len(found) == partitions and all(partition.leader >= 0 and not partition.error for partition in found.values())

    def partitions(self, topic):
        found = self.admin.list_topics(topic, ferry.WAIT_S).topics[topic]
        assert not found.error, f"{topic}: {found.error}"
        return sorted(found.partitions)

    # --- records

    def client(self, **more):
        """Properties of a client; one that is back soon after a restart of the node, and silent about it."""
        return {"bootstrap.servers": self.bootstrap, "reconnect.backoff.max.ms": 500, "log_level": 2, **more}

    def produce(self, topic, records, settings=None):
        """Each record is (key, value[, headers[, partition]]); gives [(partition, offset)] in their order, all acknowledged.

        `settings` are more properties of the producer, as {"partitioner": "murmur2_random"}.
        """
        producer = confluent_kafka.Producer(self.client(**{"enable.idempotence": True, **(settings or {})}))
        places = [None] * len(records)

        def delivered(number, error, message):
            places[number] = error or (message.partition(), message.offset())

        def send(number, key, value, headers=None, partition=None):
            producer.produce(topic, encoded(value), encoded(key), -1 if partition is None else partition, headers=header_list(headers),
                             on_delivery=lambda error, message: delivered(number, error, message))

        for number, record in enumerate(records):
            try:
                send(number, *record)
            except BufferError:
                producer.flush(ferry.WAIT_S)
                send(number, *record)
        producer.flush(ferry.WAIT_S)
        lost = [place for place in places if not isinstance(place, tuple)]
        assert not lost, f"{len(lost)} of {len(records)} records were not produced to {topic}: {lost[0]}"
        return places

    def read_committed(self, topic, until_end=True):
        """Every record of the topic that is no part of an aborted transaction, by partition and offset.

        `until_end`: all that was there when this was called; waits for the end of transactions that were open then. Otherwise only
        what stands before the first open transaction of each partition.
        """
        return self.read(topic, "read_committed", self.end_offsets(topic) if until_end else {})

    def read_all(self, topic):
        """Every record, those of aborted and of open transactions too."""
        return self.read(topic, "read_uncommitted", {})

    def read(self, topic, isolation, ends):
        consumer = self.consumer(None, **{"isolation.level": isolation, "enable.partition.eof": True, "fetch.wait.max.ms": 10})
        try:
            numbers = self.partitions(topic)
            for number, end in ends.items():
                ferry.wait_for(lambda: self.end_of(consumer, topic, number) >= end, f"the end of the transactions of {topic} {number}")
            consumer.assign([confluent_kafka.TopicPartition(topic, number, confluent_kafka.OFFSET_BEGINNING) for number in numbers])
            return sorted(self.read_to_end(consumer, topic, set(numbers)), key=lambda record: (record.partition, record.offset))
        finally:
            consumer.close()

    def read_to_end(self, consumer, topic, unread):
        records, deadline = [], time.monotonic() + ferry.WAIT_S
        while unread:
            for message in consumer.consume(1000, 0.2):
                if not message.error():
                    records.append(Record(message.key(), message.value(), message.headers() or [], message.partition(), message.offset()))
                    deadline = time.monotonic() + ferry.WAIT_S
                elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif not message.error().retriable():
                    raise AssertionError(f"{topic}: {message.error()}")
            assert time.monotonic() < deadline, f"no record and no end of {topic} {sorted(unread)} for {ferry.WAIT_S} s"
        return records

    # --- offsets

    def consumer(self, group, **more):
        return confluent_kafka.Consumer(self.client(**{"group.id": group or "none", "enable.auto.commit": False, **more}))

    def end_of(self, consumer, topic, number):
        place, end = confluent_kafka.TopicPartition(topic, number), []

        def answered():  # a topic that was made just now may not be known yet to its leader
            try:
                end.append(consumer.get_watermark_offsets(place, ferry.WAIT_S)[1])
            except confluent_kafka.KafkaException as error:
                if not error.args[0].retriable() and error.args[0].code() not in NOT_YET:
                    raise
            return end

        ferry.wait_for(answered, f"the end of {topic} {number}")
        return end[0]

    def end_offsets(self, topic, isolation="read_uncommitted"):
        """{partition: the offset after its last record}; with "read_committed" that of its first open transaction, if it has one."""
        consumer = self.consumer(None, **{"isolation.level": isolation})
        try:
            return {number: self.end_of(consumer, topic, number) for number in self.partitions(topic)}
        finally:
            consumer.close()

    def committed_offsets(self, group, topic):
        """{partition: offset} of those partitions for which the group has committed one; waits for open transactions."""
        consumer = self.consumer(group, **{"isolation.level": "read_committed"})
        try:
            wanted = [confluent_kafka.TopicPartition(topic, number) for number in self.partitions(topic)]
            found = consumer.committed(wanted, ferry.WAIT_S)
        finally:
            consumer.close()
        for place in found:
            assert not place.error, f"{group}, {topic} {place.partition}: {place.error}"
        return {place.partition: place.offset for place in found if place.offset >= 0}
