"""The servers that other tests rely on: they serve, they count and they end."""

import os
import socket
import ssl
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.servers import (
    INDEX,
    Authority,
    Httpbin,
    MissingServerError,
    Nginx,
    Process,
    fetch,
    require,
    wait_for,
)

pytestmark = pytest.mark.processes


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_nginx_serves_35_bytes_and_logs_each_request_once(nginx: Nginx) -> None:
    assert len(INDEX) == 35
    for path in ("/", "/index.html"):
        assert fetch(nginx.url + path) == INDEX
    assert nginx.requests_logged() == 2
    assert [(r.method, r.uri, r.status) for r in nginx.logged()] == [
        ("GET", "/", 200),
        ("GET", "/index.html", 200),
    ]


def test_nginx_speaks_tls_that_only_the_authority_verifies(nginx: Nginx, ca: Authority) -> None:
    trusting = ssl.create_default_context(cafile=str(ca.file))
    with urllib.request.urlopen(nginx.tls_url, context=trusting) as response:
        assert response.read() == INDEX
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(nginx.tls_url)


def test_nginx_forgets_what_it_logged_and_resumed_tls_shows(nginx: Nginx, ca: Authority) -> None:
    fetch(nginx.url)
    nginx.forget()
    assert nginx.requests_logged() == 0
    context = ssl.create_default_context(cafile=str(ca.file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        plain = socket.create_connection(("127.0.0.1", nginx.tls_port))
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
            session = tls.session
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while tls.recv(1000):
                pass
    assert [request.tls for request in nginx.logged()] == [".", "r"]


def test_httpbin_answers(httpbin: Httpbin) -> None:
    assert b'"a": "1"' in fetch(f"{httpbin.url}/get?a=1")


@pytest.mark.parametrize("habit", ["SIG_DFL", "SIG_IGN"])
def test_a_process_is_stopped_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, habit: str
) -> None:
    monkeypatch.setattr("tests.servers.MERCY", 0.2)
    script = f"""
import signal, subprocess
signal.signal(signal.SIGTERM, signal.{habit})
child = subprocess.Popen(["sleep", "600"])
print("child", child.pid)
child.wait()
"""
    process = Process([sys.executable, "-c", script], tmp_path / "output")
    child = int(process.expect(r"child (\d+)$").group(1))
    assert process.stop() in {-15, -9}
    wait_for(lambda: not alive(child), what="the end of the child")
    assert not alive(process.pid)


def test_expect_fails_with_the_output_of_a_process_that_ended(tmp_path: Path) -> None:
    with (
        Process([sys.executable, "-c", "print('sorry'); exit(3)"], tmp_path / "output") as process,
        pytest.raises(AssertionError, match=r"(?s)ended with 3.*sorry"),
    ):
        process.expect("welcome")


def test_wait_for_fails_with_the_last_value() -> None:
    values = iter(range(10))
    assert wait_for(lambda: next(values)) == 1
    with pytest.raises(AssertionError, match=r"0\.01 s for rain.*\[\]"):
        wait_for(list, 0.01, "rain")


def test_a_missing_server_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingServerError, match="apt-get install nginx-light"):
        require("no-such-server", "nginx-light")
