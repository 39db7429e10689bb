#!/usr/bin/env python3
"""What people see: a bar that is redrawn on a terminal, plain lines elsewhere, nothing with -q, and a summary at the end."""
import fcntl
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

JOBS = 300


def open_terminal(columns):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return leader, follower


def read_all(leader):
    said = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            return said.decode()
        if not piece:
            return said.decode()
        said += piece


def on_terminal(*more, columns=120, jobs=JOBS, faults=(), code=0):
    """What a run writes on a terminal."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(jobs)))
    with ferry.Sim("--latency", "fixed:20ms", *faults) as sim:
        leader, follower = open_terminal(columns)
        process = subprocess.Popen(ferry.command("jobs.jsonl", "results.jsonl", "--in-flight", "8", *more, sim=sim), stderr=follower, stdout=subprocess.PIPE)
        os.close(follower)
        said = read_all(leader)
        assert process.wait(ferry.WAIT_S) == code, said
        assert process.stdout.read() == b"", "messages belong on standard error"
        process.stdout.close()
        os.close(leader)
    return said


def bars(said):
    return [frame for frame in said.split("\r") if re.search(r"\[[#.]{24}\]", frame)]


def bar():
    said = on_terminal()
    drawn = bars(said)
    assert len(drawn) > 3, said
    percents = [int(re.search(r"(\d+)%", frame)[1]) for frame in drawn]
    assert percents == sorted(percents) and 0 <= percents[0] < percents[-1] <= 100, percents
    assert all("jobs" in frame and "/s" in frame and "in flight" in frame and "\n" not in frame for frame in drawn), drawn[0]
    assert any("ETA" in frame for frame in drawn)
    summary = said[said.rindex("\x1b[K") :]
    ferry.has(summary, "300 jobs in", "300 done, 0 failed", "cost", "tokens", "calls", "default/*")
    assert "[" not in summary.replace("\x1b[K", ""), "the bar is gone at the end"


def narrow():
    """A bar never wraps: no frame is wider than the terminal."""
    for columns in (40, 20):
        said = on_terminal(columns=columns, jobs=100 + columns)
        frames = [re.sub(r"\x1b\[K", "", frame) for frame in said.split("\r") if "\x1b[K" in frame]
        assert all(len(frame) < columns for frame in frames[:-1]), max(frames[:-1], key=len)
        pathlib.Path("results.jsonl").unlink()
        ferry.subprocess.run(["rm", "-rf", "state"], check=True)


def failures_are_counted():
    said = on_terminal(faults=("--fault", "400:0.3"), code=3)
    assert any("failed" in frame for frame in bars(said))
    ferry.has(said, "provider_rejected")


def interrupt_on_terminal():
    """Ctrl-C, as the terminal sends it: a sentence on a line of its own, then the summary."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    with ferry.Sim("--latency", "fixed:50ms") as sim:
        leader, follower = open_terminal(100)
        process = subprocess.Popen(ferry.command("jobs.jsonl", "results.jsonl", "--in-flight", "4", sim=sim), stdin=follower, stderr=follower, start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(follower)
        ferry.wait_for(lambda: sim.stats()["answered"] >= 8, "the first answers")
        os.write(leader, b"\x03")
        said = read_all(leader)
        assert process.wait(ferry.WAIT_S) == 130, said
        os.close(leader)
        ferry.has(said, "\x1b[Kbatchferry: finishing the calls under way", "batchferry: interrupted; run the same command again to go on")


def plain():
    """No terminal: no escape, no carriage return, whole lines."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    with ferry.Sim("--latency", "fixed:5ms") as sim:
        out, said = ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
    assert out == "" and "\x1b" not in said and "\r" not in said and said.endswith("\n"), said
    ferry.has(said, "300 jobs in", "300 done, 0 failed")


def quiet():
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    with ferry.Sim() as sim:
        assert ferry.run("jobs.jsonl", "results.jsonl", "-q", sim=sim) == ("", "")
        assert ferry.run("jobs.jsonl", "results.jsonl", "-q", sim=sim) == ("", "")
    _, said = ferry.run("jobs.jsonl", "absent/results.jsonl", "-q", "--base-url", "http://127.0.0.1:1/v1", code=1)
    ferry.check_sentence(said, "absent")
    assert on_terminal_quietly() == ""


def on_terminal_quietly():
    pathlib.Path("other").mkdir()
    os.chdir("other")
    said = on_terminal("-q", jobs=50)
    os.chdir("..")
    return said


def hung_up_terminal():
    """The terminal goes away: the run drains as with Ctrl-C, and nothing is lost."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(JOBS)))
    with ferry.Sim("--latency", "fixed:50ms") as sim:
        leader, follower = open_terminal(100)
        process = subprocess.Popen(ferry.command("jobs.jsonl", "results.jsonl", "--in-flight", "4", sim=sim), stdin=follower, stderr=follower, start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(follower)
        ferry.wait_for(lambda: sim.stats()["answered"] >= 8, "the first answers")
        os.close(leader)
        assert process.wait(ferry.WAIT_S) == 130
        assert sim.stats()["answered"] == len(ferry.lines("results.jsonl"))
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{number:06}" for number in range(JOBS)])
        assert sim.stats()["repeated"] == 0


def nohup():
    """With SIGHUP ignored, as nohup has it, the run goes on."""
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(100)))
    with ferry.Sim("--latency", "fixed:20ms") as sim:
        process = ferry.subprocess.Popen(ferry.command("jobs.jsonl", "results.jsonl", "-q", "--in-flight", "4", sim=sim),
                                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        ferry.wait_for(lambda: sim.stats()["answered"] >= 8, "the first answers")
        process.send_signal(signal.SIGHUP)
        assert process.wait(ferry.WAIT_S) == 0
        ferry.check_succeeded(ferry.lines("results.jsonl"), [f"job-{number:06}" for number in range(100)])


if __name__ == "__main__":
    ferry.main([bar, narrow, failures_are_counted, interrupt_on_terminal, plain, quiet, hung_up_terminal, nohup])
