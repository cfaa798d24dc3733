"""`amoc doctor` on this machine: what it measures of a scenario, and its exit code."""

import re

from tests.integration.conftest import Amoc
from tests.servers import Demo

KEEPING = """
from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:1", "the service")
sessions = {}


def start(user_id):
    session = sessions.setdefault(user_id, http.Session(url.value))
    session.get("/")
    sessions.setdefault(-user_id, bytearray(500_000)).extend(b"")
"""

QUICK = ("--probe-time", "3s")


def test_what_will_not_break_is_said_with_each_limit(amoc: Amoc, demo: Demo) -> None:
    path = amoc.scenario(KEEPING)
    code, said = amoc.run("doctor", path, 4, *QUICK, "--set", f"url={demo.url}")

    assert code == 0, said
    assert "nothing will break at 4 users" in said
    for what in ("descriptors", "ports", "memory", "CPU", "clock"):
        assert re.search(rf"^  {what} ", said, re.MULTILINE), said


def test_what_breaks_is_named_with_its_remedy(amoc: Amoc, demo: Demo) -> None:
    path = amoc.scenario(KEEPING)
    code, said = amoc.run("doctor", path, 10_000_000, *QUICK, "--set", f"url={demo.url}")

    assert code == 1
    took = re.search(r"each user takes ([\d,]+) KB, ([\d.]+) descriptors", said)
    assert took is not None, said
    assert 450 < int(took[1].replace(",", "")) < 900
    assert float(took[2]) == 1.0
    for what in ("descriptors", "ports", "memory"):
        assert re.search(rf"^will break: this machine: {what}, .* users at most: ", said, re.M)
    assert "ip_local_port_range" in said


OPENING = KEEPING.replace(
    "sessions.setdefault(user_id, http.Session(url.value))", "http.Session(url.value)"
)


def test_users_that_rest_longer_open_fewer_connections(amoc: Amoc, demo: Demo) -> None:
    path = amoc.scenario(OPENING)
    found = []
    for interval in ("1s", "1m"):
        options = (*QUICK, "--repeat-interval", interval, "--set", f"url={demo.url}")
        _, said = amoc.run("doctor", path, 4, *options)
        assert f"if it rests {interval} between two iterations" in said, said
        connections = re.search(r"([\d.]+) new connections a second", said)
        assert connections is not None, said
        found.append(float(connections[1]))
    once_a_second, once_a_minute = found
    assert once_a_second > 0.5
    assert 0 < once_a_minute < 0.1


def test_a_target_that_does_not_answer_will_break(amoc: Amoc) -> None:
    path = amoc.scenario(KEEPING)
    code, said = amoc.run("doctor", path, 4, *QUICK, "--set", "url=http://127.0.0.1:1")
    assert code == 1
    why = r"will break: (\d+) of \1 operations failed, mostly with 'connection refused'"
    assert re.search(why, said), said


def test_a_scenario_that_cannot_start_is_one_line(amoc: Amoc) -> None:
    path = amoc.scenario("def start(user_id): pass\n\ndef init():\n    raise ValueError('no')\n")
    code, said = amoc.run("doctor", path, 4, *QUICK)
    assert code == 1
    assert "init raised ValueError: no" in said
    assert "Traceback" not in said


def test_machines_that_cannot_be_read_are_told_before_anything_is_measured(amoc: Amoc) -> None:
    code, said = amoc.run("doctor", "http_hello", 10, "--hosts", "nowhere/hosts.ini")
    assert code == 2
    assert said.startswith("amoc: nowhere/hosts.ini cannot be read")
    assert len(said.splitlines()) == 1
