#!/usr/bin/env python3
"""What `batchferry worker` refuses at its start, in one clear sentence; TLS and SASL through the configuration."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import ferry
import kafka
import worker
from worker import Site, Worker

broker = kafka.Kafka(sasl=True, version="3")  # Kafka 4 refuses the SCRAM of librdkafka before 2.6.1
SIM = ("--dimensions", "8")


def refused(*parts, code=2):
    """The worker ends by itself, with these parts in the one sentence that it says."""
    _, said = ferry.ferry("worker", "-c", "batchferry.yaml", "--state", "state", "--set", "listen.port=0", code=code)
    ferry.check_sentence(said, *parts)
    return said


def properties():
    """A property that Kafka's client does not know or take is refused with its name; so is what this version cannot do."""
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        def with_kafka(**wrong):
            site.configure(kafka={**site.settings["kafka"], **{name.replace("_", "."): value for name, value in wrong.items()}})

        with_kafka(sesion_timeout_ms=6000)
        refused("sesion.timeout.ms")
        with_kafka(session_timeout_ms="soon")
        refused("session.timeout.ms", "value")
        with_kafka(enable_auto_commit=True)
        refused("enable.auto.commit")
        with_kafka(sasl_username="somebody", sasl_password="hidden-here")
        assert "hidden-here" not in refused("sasl.", "security.protocol")
        site.configure(idempotency={"on_duplicate": "republish"})
        refused("idempotency.on_duplicate")
        assert not pathlib.Path("state").exists(), "nothing is made for what is refused"


def topics():
    """Topics that are not there, a state topic that does not fit, a state directory that is another's."""
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site, Site(broker, sim, partitions=2) as other:
        for kind in site.names:
            site.configure(topics={**site.names, kind: site.prefix + "missing"})
            refused(site.prefix + "missing", "topics create")
        site.configure(topics={**site.names, "state": other.state})
        refused(site.jobs, other.state, "4", "2", "same number")
        site.configure()
        with Worker() as one:
            one.wait_ready()
            refused("state", code=1)
            one.stop()
        other.configure()
        refused("state")


def start_wrong(site, name, settings):
    """A worker that will not find its cluster, which it waits for a while."""
    site.configure(name + ".yaml", kafka={**site.settings["kafka"], **settings})
    command = [ferry.BATCHFERRY, "worker", "-c", name + ".yaml", "--state", name, "--set", "listen.port=0"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def unreachable():
    """No broker answers, or it lets nobody in: said in a bounded time, with what to look at."""
    wrong = {"nobody": ({"bootstrap.servers": "127.0.0.1:1"}, ("cannot reach the cluster", "bootstrap.servers"))}
    if broker.is_ours:
        secure = {**broker.sasl_properties(), "sasl.mechanism": "SCRAM-SHA-256"}
        wrong["password"] = ({**secure, "sasl.password": "mistaken"}, ("uthentication",))
        wrong["authority"] = ({**secure, "ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"}, ("certificate",))
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        running = {name: start_wrong(site, name, settings) for name, (settings, _) in wrong.items()}
        for name, process in running.items():
            _, said = process.communicate(timeout=ferry.WAIT_S)
            assert process.returncode in (1, 2), (name, process.returncode, said)
            ferry.check_sentence(said, *wrong[name][1])
            assert "mistaken" not in said
        assert running["nobody"].returncode == 1


def other_mechanisms():
    """OAUTHBEARER, whose token a thread of librdkafka's makes, and PLAIN: the same through all clients of a worker."""
    if not broker.is_ours:
        print("  not with a cluster of BATCHFERRY_TEST_BOOTSTRAP: skipped")
        return
    secure = broker.sasl_properties()
    login = {name: secure.pop(name) for name in ("sasl.username", "sasl.password")}
    token = {"enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": "principal=batchferry"}
    for number, (mechanism, more) in enumerate((("PLAIN", login), ("OAUTHBEARER", token))):
        jobs = [ferry.embedding(number) for number in range(20)]
        with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
            site.configure(kafka={**site.settings["kafka"], **secure, **more, "sasl.mechanism": mechanism})
            site.send(jobs)
            with Worker("batchferry.yaml", f"state-{number}") as one:
                site.wait_done(len(jobs), [one])
                one.stop()
            site.check_results(jobs)
            ferry.ferry("collect", "-c", "batchferry.yaml", "-o", f"results-{number}.jsonl")
            ferry.check_succeeded(ferry.lines(f"results-{number}.jsonl"), ferry.names(jobs))


def sasl():
    """SASL_SSL with SCRAM: a run through, and nothing says the password."""
    if not broker.is_ours:
        print("  not with a cluster of BATCHFERRY_TEST_BOOTSTRAP: skipped")
        return
    jobs = [ferry.embedding(number) for number in range(100)]
    with ferry.Sim(*SIM) as sim, Site(broker, sim) as site:
        secure = {**site.settings["kafka"], **broker.sasl_properties(), "sasl.mechanism": "SCRAM-SHA-256"}
        assert secure["security.protocol"] == "SASL_SSL" and secure["bootstrap.servers"] != broker.bootstrap, secure
        site.configure(kafka=secure)
        site.send(jobs)
        with Worker() as one:
            site.wait_done(len(jobs), [one])
            one.stop()
            assert secure["sasl.password"] not in one.log()
        site.check_results(jobs)


if __name__ == "__main__":
    with broker:
        ferry.main([properties, topics, unreachable, sasl, other_mechanisms])
