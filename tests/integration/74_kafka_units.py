#!/usr/bin/env python3
"""The unit tests of the Kafka adapter, and of what publishes, once more, with what only a real broker can show; a node of ours is stopped and restarted too."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import kafka
import ferry

TESTS = pathlib.Path(ferry.BATCHFERRY).parent / "tests"
NODE = kafka.Kafka()


def start(name, **more):
    environment = {**os.environ, "BATCHFERRY_TEST_BOOTSTRAP": NODE.bootstrap, **more}
    return subprocess.Popen([TESTS / f"unit-{name}_test"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def check(name, process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, f"{name} ended with {process.returncode}:\n{said[-6000:]}"
    return said


def adapter():
    """Each has topics of its own, so they run at the same time."""
    running = {name: start(name) for name in ("kafka-changelog", "kafka-reader", "kafka-writer", "kafka-topics", "loop-expiry")}
    try:
        for name, process in running.items():
            check(name, process)
    finally:
        for process in running.values():
            process.kill()


def exactly_once():
    """Each step of a transaction fails in every way; the broker is restarted, killed, and stopped past a transaction's time."""
    said = check("exactly_once", start("kafka-exactly_once", **({"BATCHFERRY_TEST_KAFKA": str(NODE.directory)} if NODE.is_ours else {})))
    assert not NODE.is_ours or "SKIPPED" not in said, said


if __name__ == "__main__":
    with NODE:
        ferry.main([adapter, exactly_once])
