#!/usr/bin/env python3
"""What the other tests take for granted of the Kafka they get: committed and aborted transactions, offsets, restarts, the SASL
listener, and that no node stays behind."""
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
from confluent_kafka import Consumer, Producer, TopicPartition

broker = kafka.Kafka(sasl=True)


def producer_of(name):
    producer = Producer(broker.client(**{"transactional.id": name, "transaction.timeout.ms": 60000}))
    producer.init_transactions(ferry.WAIT_S)
    return producer


def values(records):
    return [record.value for record in records]


def records():
    """Keys, values, headers and places come back as they were given, tombstones too."""
    topic = broker.prefix() + "records"
    broker.create_topics({topic: (3, {"cleanup.policy": "compact"})})
    headers = [("content-type", b"application/json"), ("content-type", b"twice"), ("empty", b"")]
    places = broker.produce(topic, [("a", "one", headers, 2), ("a", None, None, 2), (b"\0\xff", b"\xfe", {"h": "x"}, 0), ("k", "v")])
    assert places[:3] == [(2, 0), (2, 1), (0, 0)], places
    read = broker.read_committed(topic)
    assert [record for record in read if record.partition == 2][:2] == [
        kafka.Record(b"a", b"one", headers, 2, 0), kafka.Record(b"a", None, [], 2, 1)], read
    assert read[0] == kafka.Record(b"\0\xff", b"\xfe", [("h", b"x")], 0, 0), read
    assert len(read) == 4 and sum(broker.end_offsets(topic).values()) == 4


def transactions():
    """Aborted records are there and not seen; offsets count only with their transaction; open ones are waited for."""
    prefix = broker.prefix()
    source, topic, group = prefix + "in", prefix + "out", prefix + "group"
    broker.create_topics({source: (1, {}), topic: (1, {})})
    broker.produce(source, [(None, str(number)) for number in range(9)])
    consumer = Consumer(broker.client(**{"group.id": group}))
    producer = producer_of(prefix + "id")

    def one_transaction(value, offset, end):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.send_offsets_to_transaction([TopicPartition(source, 0, offset)], consumer.consumer_group_metadata(), ferry.WAIT_S)
        producer.flush(ferry.WAIT_S)
        end(ferry.WAIT_S)

    assert broker.committed_offsets(group, source) == {}
    one_transaction("kept", 3, producer.commit_transaction)
    one_transaction("aborted", 7, producer.abort_transaction)
    assert values(broker.read_committed(topic)) == [b"kept"]
    assert values(broker.read_all(topic)) == [b"kept", b"aborted"]
    assert broker.committed_offsets(group, source) == {0: 3}
    one_transaction("later", 9, lambda _: None)
    assert values(broker.read_committed(topic, until_end=False)) == [b"kept"]
    assert broker.end_offsets(topic, "read_committed")[0] < broker.end_offsets(topic)[0]
    producer.commit_transaction(ferry.WAIT_S)
    assert values(broker.read_committed(topic)) == [b"kept", b"later"]
    assert broker.committed_offsets(group, source) == {0: 9}
    consumer.close()


def restarts():
    """Data, committed offsets and the address stay; a transaction that was open when the node was killed is decided after it."""
    if not broker.is_ours:
        print("  not with a cluster of BATCHFERRY_TEST_BOOTSTRAP: skipped")
        return
    topic = broker.prefix() + "kept"
    broker.create_topics({topic: (2, {})})
    broker.produce(topic, [(str(number), str(number), None, number % 2) for number in range(1000)])
    before = broker.read_committed(topic)
    producer = producer_of(topic)
    producer.begin_transaction()
    producer.produce(topic, "open", partition=0)
    producer.flush(ferry.WAIT_S)
    broker.restart(kill=True)
    assert broker.read_committed(topic, until_end=False) == before
    producer.abort_transaction(ferry.WAIT_S)
    assert broker.read_committed(topic) == before
    broker.restart()
    assert broker.read_committed(topic) == before
    assert len(broker.read_all(topic)) == len(before) + 1


def sasl():
    """kcat over SASL_SSL; a wrong password and another authority are refused."""
    if not broker.is_ours or not shutil.which("kcat"):
        print("  takes kcat and a node of scripts/kafka: skipped")
        return
    topic = broker.prefix() + "sasl"
    broker.create_topics({topic: (1, {})})
    settings = str(broker.directory / "client.properties")

    def kcat(*words, refused=None):
        done = subprocess.run(["kcat", "-F", settings, *words], input="k:over sasl\n", capture_output=True, text=True, timeout=ferry.WAIT_S)
        assert refused in done.stderr if refused else done.returncode == 0, done.stderr
        return done.stdout

    kcat("-P", "-t", topic, "-K:")
    assert kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k=%s") == "k=over sasl"
    kcat("-L", "-m", "3", "-X", "sasl.password=wrong", refused="Authentication failed")
    kcat("-L", "-m", "3", "-X", "ssl.ca.location=/etc/ssl/certs/ca-certificates.crt", refused="certificate verify failed")


OWNER = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import kafka
with kafka.Kafka("short-lived", version=sys.argv[2] or None) as node:
    pathlib.Path("address").write_text(node.bootstrap)
    time.sleep(600)
"""


def no_node_stays():
    """A node ends with the process that started it, even when that was killed."""
    if not broker.is_ours:
        print("  not with a cluster of BATCHFERRY_TEST_BOOTSTRAP: skipped")
        return
    support = str(pathlib.Path(kafka.__file__).parent)

    def status():
        return subprocess.run([kafka.SCRIPT, "status", "--dir", "short-lived"], capture_output=True, timeout=ferry.WAIT_S).returncode

    version = broker.options[-1] if "--version" in broker.options else ""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, support, version])
    ferry.wait_for(lambda: pathlib.Path("address").exists() or owner.poll() is not None, "the other node")
    assert status() == 0
    owner.send_signal(signal.SIGKILL)
    owner.wait(ferry.WAIT_S)
    ferry.wait_for(lambda: status() == 1, "the end of the other node")


if __name__ == "__main__":
    with broker:
        ferry.main([records, transactions, restarts, sasl, no_node_stays])
