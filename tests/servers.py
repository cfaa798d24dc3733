"""Real servers for the tests: nginx, httpbin and the demo server as processes that surely end."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import gevent
import trustme
from gevent import subprocess  # gevent reaps all children, so it must be the one who hears of them

from amoc_gevent import clock

ROOT = Path(__file__).parent.parent
PATIENCE = 20.0
MERCY = 5.0
INDEX = b"<h1>35 bytes that nginx serves</h1>"

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], timeout: float = 10.0, what: str = "the condition to hold"
) -> T:
    """Return the first true value of `condition`; AssertionError with the last one after `timeout`.

    The hub runs meanwhile, so what is waited for may happen in this process too.
    """
    deadline = clock.monotonic() + timeout
    pause = 0.001
    while not (value := condition()):
        if clock.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}; the last value was {value!r}")
        gevent.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return value


class MissingServerError(Exception):
    """A server that is not installed; the message says how to install it."""


def require(name: str, package: str) -> str:
    """Return the path of the executable `name`, from the Debian `package`."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingServerError(f"{name} is not installed: apt-get install {package} (as root)")
    return found


def listening_socket() -> socket.socket:
    """Return a socket that listens on a free loopback port, to hand to a server that inherits it.

    So there is no moment in which somebody else could take the port.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


def fetch(url: str, method: str = "GET", timeout: float = PATIENCE) -> bytes:
    """Return the body at `url`, past any proxy; an answer of 400 and above raises HTTPError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method=method), timeout=timeout) as response:
        body: bytes = response.read()
        return body


class Process:
    """A process with its own group, all of which ends with `stop`; its output is in a file.

    It is asked to end (SIGTERM) when the tests' own process dies without stopping it.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.command = list(command)
        self.output = output
        with output.open("ab") as sink:
            self.popen = subprocess.Popen(
                [require("setpriv", "util-linux"), "--pdeathsig", "TERM", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
                pass_fds=pass_fds,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def said(self) -> str:
        """All of its output so far."""
        return self.output.read_text(errors="replace")

    def expect(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until the output matches `pattern`, else fail with the output."""

        def match() -> re.Match[str] | None:
            found = re.search(pattern, self.said(), re.MULTILINE)
            assert found or self.popen.poll() is None, (
                f"{self.command[0]} ended with {self.popen.returncode}:\n{self.said()}"
            )
            return found

        found = wait_for(match, timeout, f"{pattern!r} from {self.command}")
        assert found is not None
        return found

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait until it ends by itself; return its exit code."""
        wait_for(lambda: self.popen.poll() is not None, timeout, f"the end of {self.command}")
        return self.popen.returncode

    def stop(self) -> int:
        """End it and all that it started: SIGTERM, after `MERCY` seconds SIGKILL for the group."""
        if self.popen.poll() is None:
            self.popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(MERCY)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.popen.wait(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Authority:
    """A certificate authority for the tests, with what servers and clients need of it as files."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.directory = directory
        self.file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def certificate(self, *names: str) -> tuple[Path, Path]:
        """Files with a certificate chain for `names` and its key."""
        issued = self.ca.issue_cert(*names)
        stem = re.sub(r"\W", "_", names[0])
        chain, key = self.directory / f"{stem}.pem", self.directory / f"{stem}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return chain, key

    def server_context(
        self, *names: str, want_client_certificate: bool = False, **options: Any
    ) -> ssl.SSLContext:
        """A context for a server called `names`, else localhost; `options` become attributes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("localhost", "127.0.0.1", "::1"))).configure_cert(context)
        if want_client_certificate:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        for name, value in options.items():
            setattr(context, name, value)
        return context


class Logged(NamedTuple):
    """One line of nginx's access log; `connection` is a serial number, `tls` r where resumed."""

    method: str
    uri: str
    status: int
    connection: int
    tls: str


NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{user}
events {{ worker_connections 8192; }}
http {{
  log_format counted "$request_method $request_uri $status $connection $ssl_session_reused";
  access_log {directory}/access.log counted;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  default_type text/html;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  ssl_session_cache shared:tests:1m;
  ssl_certificate {chain};
  ssl_certificate_key {key};
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls_port} ssl backlog=4096;
    root {directory}/www;
    location = /mark {{ return 204; }}
  }}
}}
"""


class Nginx:
    """Debian's nginx with one worker, a 35-byte page, a TLS port and a log that counts requests."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        executable = require("nginx", "nginx-light")
        self._log = directory / "access.log"
        self._marks = 0
        self._forgotten = "/mark?0"
        (directory / "www").mkdir()
        (directory / "www/index.html").write_bytes(INDEX)
        plain, tls = listening_socket(), listening_socket()
        self.port, self.tls_port = plain.getsockname()[1], tls.getsockname()[1]
        chain, key = authority.certificate("localhost", "127.0.0.1")
        config = directory / "nginx.conf"
        config.write_text(
            NGINX.format(
                directory=directory,
                user="user root;" if os.getuid() == 0 else "",  # else it may not read the page
                chain=chain,
                key=key,
                port=self.port,
                tls_port=self.tls_port,
            )
        )
        with plain, tls:
            self.process = Process(
                [executable, "-e", str(directory / "error.log"), "-c", str(config)],
                directory / "output",
                env={"NGINX": f"{plain.fileno()};{tls.fileno()};"},  # inherited, as in its upgrades
                pass_fds=(plain.fileno(), tls.fileno()),
            )
        try:
            self._await()
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Verified by the authority, as localhost too."""
        return f"https://localhost:{self.tls_port}"

    def logged(self) -> list[Logged]:
        """All requests since the last `forget` whose answers are out.

        A request of our own marks the end: the one worker logs in the order in which it answers.
        """
        self._marks += 1
        mark = f"/mark?{self._marks}"
        fetch(self.url + mark)
        lines = wait_for(lambda: self._lines_before(mark), what="the mark in nginx's log")
        found = [Logged(f[0], f[1], int(f[2]), int(f[3]), f[4]) for f in map(str.split, lines[1:])]
        return [request for request in found if not request.uri.startswith("/mark")]

    def requests_logged(self) -> int:
        """How many requests since the last `forget` have been answered."""
        return len(self.logged())

    def forget(self) -> None:
        """Count from nought again."""
        self.logged()
        self._forgotten = f"/mark?{self._marks}"

    def _lines_before(self, mark: str) -> list[str]:
        """The lines from the forgotten mark up to `mark`; none while it is not there."""
        lines = self._log.read_text(errors="replace").splitlines()
        uris = [line.split()[1] for line in lines]
        first = uris.index(self._forgotten)
        return lines[first : uris.index(mark)] if mark in uris else []

    def _await(self) -> None:
        """Wait until the page is served."""
        pid = self._log.with_name("nginx.pid")
        wait_for(
            lambda: pid.exists() or self.process.popen.poll() is not None, PATIENCE, "nginx's start"
        )
        errors = self._log.with_name("error.log").read_text()
        assert self.process.popen.poll() is None, f"nginx ended: {errors or self.process.said()}"
        fetch(self.url + self._forgotten)


class Httpbin:
    """httpbin under gunicorn, with keep-alive."""

    def __init__(self, directory: Path) -> None:
        arguments = "--bind 127.0.0.1:0 --worker-class gthread --threads 16 --keep-alive 60"
        self.process = Process(
            [sys.executable, "-m", "gunicorn", *arguments.split(), "httpbin:app"],
            directory / "output",
            env={"HOME": str(directory)},  # where gunicorn makes its control socket
        )
        try:
            self.url = self.process.expect(r"Listening at: (http://\S+)").group(1)
            self.process.expect("Booting worker")
            fetch(f"{self.url}/get")
        except BaseException:
            self.process.stop()
            raise


class Demo:
    """`amoc demo http` as a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.process = Process(
            [sys.executable, "-m", "amoc_gevent", "demo", "http", "--port", "0"],
            directory / "output",
        )
        try:
            self.url = self.process.expect(r"^listening on (http://\S+)$").group(1)
        except BaseException:
            self.process.stop()
            raise

    def counts(self) -> dict[str, Any]:
        """What ``/count`` says."""
        counts: dict[str, Any] = json.loads(fetch(f"{self.url}/count"))
        return counts

    def reset(self) -> None:
        """Count from nought again."""
        fetch(f"{self.url}/count", "DELETE")
