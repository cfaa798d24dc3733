"""A demo server on one host, loaded by `amoc run` on another, over links that fail."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.net.conftest import Plug
from tests.net.network import Host
from tests.net.target import Target
from tests.servers import Process, wait_for

AMOC = [sys.executable, "-m", "amoc_gevent"]
USERS = 20


def run(host: Host, url: str, summary: Path) -> Process:
    options = ["--user-rate", "200/s", "--repeat-interval", "50ms", "--workers", 2]
    asked = ["--set", f"url={url}", "--set", "pause=20ms", "--set", "requests=10"]
    command = [*AMOC, "run", "http_check", 1, USERS, *options, *asked]
    return host.start([*command, "--summary", summary])


def counted(process: Process, summary: Path) -> dict[str, Any]:
    """End the run gently; return what it counted of its one operation."""
    process.popen.terminate()
    assert process.wait() == 0, process.said()
    [(name, operation)] = json.loads(summary.read_text())["operations"].items()
    assert name == "GET /check"
    found: dict[str, Any] = operation
    return found


def test_a_link_that_fails_for_a_while_costs_no_request_and_doubles_none(
    plug: Plug, tmp_path: Path
) -> None:
    net = plug(["loader", "server"])
    loader, target = net.host("loader"), Target(net.host("server"))
    summary = tmp_path / "summary.json"
    process = run(loader, target.url, summary)
    target.until_seen(range(1, USERS + 1))

    loader.link_down()
    wait_for(lambda: not target.seen(within=0.5), what="silence")
    loader.link_up()
    target.until_seen(range(1, USERS + 1))
    loader.drop(one_in=20)
    before = target.lives()["lives"]
    wait_for(lambda: target.lives()["lives"] > before + 2 * USERS, 30, "rounds of all users")
    loader.heal()

    operation = counted(process, summary)
    lives = target.lives()
    assert operation["count"] == lives["requests"] == target.counts()["total"]
    assert (operation["errors"], operation["interrupted"]) == (0, 0)
    told = {name: lives[name] for name in ("doubled", "missing", "overlapping", "late")}
    assert told == {"doubled": 0, "missing": 0, "overlapping": 0, "late": 0}, lives["findings"]
    assert lives["users"] == USERS


def test_two_runs_with_the_same_users_at_once_are_found(plug: Plug, tmp_path: Path) -> None:
    net = plug(["one", "two", "server"])
    target = Target(net.host("server"))
    runs = [
        (run(net.host(name), target.url, tmp_path / f"{name}.json"), tmp_path / f"{name}.json")
        for name in ("one", "two")
    ]

    wait_for(lambda: target.lives()["overlapping"] > USERS, 30, "users that run twice at once")

    total = sum(counted(*one)["count"] for one in runs)
    assert total == target.lives()["requests"]
