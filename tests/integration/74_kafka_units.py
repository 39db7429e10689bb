#!/usr/bin/env python3
"""The unit tests of the Kafka adapter once more, with what only a real broker can show."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import kafka
import ferry

TESTS = pathlib.Path(ferry.BATCHFERRY).parent / "tests"
NODE = kafka.Kafka()


def run(name):
    environment = {**os.environ, "BATCHFERRY_TEST_BOOTSTRAP": NODE.bootstrap}
    done = subprocess.run([TESTS / name], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"


def adapter():
    for name in ("exactly_once", "changelog", "reader", "writer", "topics"):
        run(f"unit-kafka-{name}_test")


if __name__ == "__main__":
    with NODE:
        ferry.main([adapter])
