#!/usr/bin/env python3
"""HTTPS: a certificate of one's own with http.ca_file, a wrong one refused with a sentence, and HTTP/2 through nghttpx where that is installed."""
import pathlib
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry

NAMES = [f"job-{number:06}" for number in range(200)]


def certify(name, subject="localhost", names="DNS:localhost,IP:127.0.0.1"):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={subject}",
         "-addext", f"subjectAltName={names}", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
        check=True, capture_output=True)
    return ("--tls-cert", f"{name}.pem", "--tls-key", f"{name}.key")


def jobs():
    ferry.write_jobs("jobs.jsonl", map(ferry.chat, range(len(NAMES))))


def trusted():
    jobs()
    with ferry.Sim(*certify("ca"), "--latency", "fixed:5ms", tls=True) as sim:
        ferry.run("jobs.jsonl", "results.jsonl", "--in-flight", "16", "--set", "http.ca_file=ca.pem", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES)
        stats = sim.stats()
        assert stats["repeated"] == 0
        assert stats["connections_accepted"] < 60, f"connections are kept: {stats['connections_accepted']} for 200 calls"


def refused_by(tls, *more, parts=()):
    """Nobody is called, no job fails, exit code 1, and the sentence names the provider and the certificate."""
    jobs()
    with ferry.Sim(*tls, tls=True) as sim:
        _, said = ferry.run("jobs.jsonl", "results.jsonl", *more, sim=sim, code=1)
        ferry.has(said, "default", "everything is kept", *parts)
        assert "certificate" in said.lower(), said
        assert sim.stats()["requests"] == 0 and ferry.lines("results.jsonl") == []
        return sim


def wrong_ca():
    certify("other")
    refused_by(certify("ca"), "--set", "http.ca_file=other.pem")


def system_ca():
    refused_by(certify("ca"))


def wrong_name():
    refused_by(certify("ca", "example.org", "DNS:example.org"), "--set", "http.ca_file=ca.pem")


def then_trusted():
    """After the right file is named, the same command goes on."""
    tls = certify("ca")
    jobs()
    with ferry.Sim(*tls, tls=True) as sim:
        ferry.run("jobs.jsonl", "results.jsonl", sim=sim, code=1)
        ferry.run("jobs.jsonl", "results.jsonl", "--set", "http.ca_file=ca.pem", sim=sim)
        ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES)


def no_such_ca_file():
    jobs()
    _, said = ferry.run("jobs.jsonl", "results.jsonl", "--base-url", "https://127.0.0.1:1/v1", "--set", "http.ca_file=none.pem", code=2)
    ferry.check_sentence(said, "none.pem")


def ca_file_without_certificates():
    pathlib.Path("rubbish.pem").write_text("no certificate\n")
    refused_by(certify("ca"), "--set", "http.ca_file=rubbish.pem")


def plain_server_behind_https():
    """An http server behind an https URL is a sentence, not a crash."""
    ferry.write_jobs("jobs.jsonl", [ferry.chat(0)])
    with ferry.Sim() as sim:
        url = sim.url.replace("http:", "https:")
        _, said = ferry.run("jobs.jsonl", "results.jsonl", "--base-url", url, "--set", "retry.attempts=2", "--set", "retry.backoff.base=1ms", code=None)
        assert "last error" in said or "no provider can be used" in said, said


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def http2():
    """Many calls over few connections, through a proxy that speaks HTTP/2."""
    if not shutil.which("nghttpx"):
        print("  nghttpx is not installed: skipped")
        return
    certify("ca")
    jobs()
    port = free_port()
    with ferry.Sim("--latency", "fixed:20ms") as sim, open("nghttpx.log", "w") as log:
        proxy = subprocess.Popen(
            ["nghttpx", f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{sim.port}", "--workers=1", "--accesslog-file=access.log",
             "--accesslog-format=$alpn $client_port $status", "ca.key", "ca.pem"], stdout=log, stderr=log)
        try:
            ferry.wait_for(lambda: listening(port) or proxy.poll() is not None, "nghttpx")
            ferry.run("jobs.jsonl", "results.jsonl", "--in-flight", "100", "--base-url", f"https://127.0.0.1:{port}/v1",
                      "--set", "http.ca_file=ca.pem", "--set", "http.http2=true")
        finally:
            proxy.terminate()
            proxy.wait(ferry.WAIT_S)
        ferry.check_succeeded(ferry.lines("results.jsonl"), NAMES)
        assert sim.stats()["repeated"] == 0
        calls = [line.split() for line in pathlib.Path("access.log").read_text().splitlines()]
        assert len(calls) == len(NAMES) and all(call[0] == "h2" and call[2] == "200" for call in calls), calls[:3]
        connections = len({call[1] for call in calls})
        print(f"  {len(calls)} calls over {connections} connections")
        assert connections < 100, "calls share connections"


if __name__ == "__main__":
    if not shutil.which("openssl"):
        ferry.skip("openssl is not installed")
    ferry.main([trusted, wrong_ca, system_ca, wrong_name, then_trusted, no_such_ca_file, ca_file_without_certificates, plain_server_behind_https, http2])
