"""`amoc demo http` as a process: output, pages and exit."""

import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
import requests
from gevent import subprocess

from tests.servers import ROOT, Demo, Process, fetch, wait_for

pytestmark = pytest.mark.processes

AMOC = [sys.executable, "-m", "amoc_gevent"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_one_line_when_it_listens_and_exits_with_0_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Process([*AMOC, "demo", "http", "--port", "0"], tmp_path / "output") as process:
        url = process.expect(r"^listening on (http://127\.0\.0\.1:\d+)$").group(1)
        fetch(url)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
            process.popen.send_signal(number)
            assert process.wait() == 0
        assert process.said() == f"listening on {url}\n"


def test_quiet_prints_nothing(tmp_path: Path) -> None:
    command = [*AMOC, "demo", "http", "--quiet", "--port", "0"]
    with Process(command, tmp_path / "output") as process:
        connections = psutil.Process(process.pid).net_connections
        [listening] = wait_for(
            lambda: [c for c in connections() if c.status == psutil.CONN_LISTEN],
            what="a listening socket",
        )
        assert listening.laddr.ip == "127.0.0.1"
        assert fetch(f"http://127.0.0.1:{listening.laddr.port}/")
        process.popen.terminate()
        assert (process.wait(), process.said()) == (0, "")


def test_a_port_in_use_is_an_error_of_one_line_with_exit_code_1(tmp_path: Path, demo: Demo) -> None:
    port = demo.url.rpartition(":")[2]
    told = f"amoc: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another\n"
    with Process([*AMOC, "demo", "http", "--port", port], tmp_path / "output") as process:
        assert (process.wait(), process.said()) == (1, told)


def test_a_shopper_through_requests_is_served_and_counted(demo: Demo) -> None:
    with requests.Session() as shopper:
        assert shopper.get(f"{demo.url}/account").status_code == 401
        login = shopper.post(f"{demo.url}/login", {"user": "user_1", "password": "password_1"})
        assert login.json()["token"] == shopper.cookies["session"]
        product = shopper.get(f"{demo.url}/products").json()[2]
        assert shopper.get(f"{demo.url}/products/{product['id']}").json() == product
        added = shopper.post(f"{demo.url}/cart", json={"product": product["id"], "quantity": 2})
        assert added.json() == {"user": "user_1", "added": {"product": 3, "quantity": 2}}
        assert shopper.get(f"{demo.url}/account").json()["user"] == "user_1"
        assert shopper.get(f"{demo.url}/redirect/2").url == f"{demo.url}/"
        assert shopper.get(f"{demo.url}/gzip").json()["gzipped"] is True
    counts = demo.counts()
    assert counts.pop("lives")["requests"] == 0
    assert counts == {
        "total": 10,
        "paths": {
            "/": 1,
            "/account": 2,
            "/cart": 1,
            "/gzip": 1,
            "/login": 1,
            "/products": 1,
            "/products/3": 1,
            "/redirect/1": 1,
            "/redirect/2": 1,
        },
        "methods": {"GET": 8, "POST": 2},
        "connections": 2,
    }


def test_the_executable_runs_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    link = tmp_path / "amoc"
    link.symlink_to(ROOT / "bin/amoc")
    with Process([sys.executable, str(link), "--version"], tmp_path / "output") as process:
        assert process.wait() == 0
        assert process.said().startswith("amoc ")


def test_the_help_lists_one_path_per_line() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "amoc_gevent", "demo", "http", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "\\b" not in shown
    assert "\n  /echo  " in shown
