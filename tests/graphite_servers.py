"""Real Graphite for the tests: carbon and graphite-web from Debian, each set up from nothing."""

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.servers import Process, fetch, listening_socket, require, wait_for

PYTHON = "/usr/bin/python3"
"""Debian's own: its packages are for it."""

CARBON = """
[cache]
STORAGE_DIR = {directory}
LOCAL_DATA_DIR = {directory}/whisper
CONF_DIR = {directory}
LOG_DIR = {directory}
PID_DIR = {directory}
DATABASE = whisper
ENABLE_LOGROTATION = False
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
MIN_TIMESTAMP_RESOLUTION = 1
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_PORT = 0
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = 0
USE_FLOW_CONTROL = True
CACHE_WRITE_STRATEGY = sorted
CARBON_METRIC_INTERVAL = 0
ENABLE_TAGS = False
"""

SCHEMAS = "[all]\npattern = .*\nretentions = {step}s:{kept}s\n"

WEB = """
import os, socket, sys
from wsgiref.simple_server import WSGIServer, WSGIRequestHandler
import django
from django.core.management import call_command
django.setup()
call_command("migrate", "--run-syncdb", verbosity=0)
from graphite.wsgi import application
server = WSGIServer(("127.0.0.1", 0), WSGIRequestHandler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.server_name, server.server_port = "127.0.0.1", server.socket.getsockname()[1]
server.setup_environ()
server.set_app(application)
print("serving", flush=True)
server.serve_forever()
"""

SETTINGS = """
SECRET_KEY = "of the tests"
ALLOWED_HOSTS = ["*"]
TIME_ZONE = "UTC"
LOG_DIR = "{directory}"
CONF_DIR = STORAGE_DIR = "{directory}"
INDEX_FILE = "{directory}/index"
WHISPER_DIR = "{directory}/whisper"
STANDARD_DIRS = ["{directory}/whisper"]
CARBONLINK_HOSTS = []
FIND_CACHE_DURATION = 0
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{directory}/db"}}}}
"""


class Carbon:
    """carbon-cache with retentions of `step` seconds; it can end and start again at its port.

    The port is kept by a socket that does not listen, so that between times it is refused.
    """

    def __init__(self, directory: Path, step: int = 1) -> None:
        self._program = require("carbon-cache", "graphite-carbon")
        self.directory = directory
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as carbon does
        self._held.bind(("127.0.0.1", 0))
        self.port = self._held.getsockname()[1]
        (directory / "carbon.conf").write_text(CARBON.format(directory=directory, port=self.port))
        self.set_step(step)
        self._process: Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set_step(self, step: int) -> None:
        """Have one point for so many seconds, from the next start on."""
        schemas = SCHEMAS.format(step=step, kept=3600 * step)
        (self.directory / "storage-schemas.conf").write_text(schemas)

    def start(self) -> None:
        """Start it and return when it listens."""
        config = self.directory / "carbon.conf"
        (self.directory / "carbon-cache-a.pid").unlink(missing_ok=True)
        self._process = Process(
            [PYTHON, self._program, f"--config={config}", "--nodaemon", "start"],
            self.directory / "output",
            env={"PYTHONPATH": ""},
        )
        process = self._process

        def listens() -> bool:
            assert process.popen.poll() is None, process.said()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                return False
            return True

        wait_for(listens, 30, "carbon to listen")

    def end(self) -> None:
        """End it; it writes what it has first."""
        if self._process is not None:
            self._process.stop()

    def close(self) -> None:
        """End it and let go of the port."""
        self.end()
        self._held.close()


class GraphiteWeb:
    """graphite-web over the files of a carbon, with a database for events."""

    def __init__(self, carbon: Carbon) -> None:
        require("graphite-manage", "graphite-web")
        directory = carbon.directory
        (directory / "amoc_test_settings.py").write_text(SETTINGS.format(directory=directory))
        with listening_socket() as sock:
            self.port = sock.getsockname()[1]
            self.process = Process(
                [PYTHON, "-c", WEB, str(sock.fileno())],
                directory / "web-output",
                env={
                    "PYTHONPATH": str(directory),
                    "DJANGO_SETTINGS_MODULE": "graphite.settings",
                    "GRAPHITE_SETTINGS_MODULE": "amoc_test_settings",
                },
                pass_fds=(sock.fileno(),),
            )
        try:
            self.process.expect("^serving", 60)
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def points(self, target: str, since: float) -> dict[str, dict[int, float]]:
        """Return the values, by their times, of each metric that `target` names."""
        query = {"target": target, "format": "json", "from": str(int(since) - 1), "noCache": "1"}
        found = json.loads(fetch(f"{self.url}/render?{urlencode(query)}"))
        return {
            one["target"]: {time: value for value, time in one["datapoints"] if value is not None}
            for one in found
        }

    def events(self, since: str = "-1h") -> list[dict[str, Any]]:
        """Return all events from `since` on, the oldest first."""
        found: list[dict[str, Any]] = json.loads(fetch(f"{self.url}/events/get_data?from={since}"))
        return sorted(found, key=lambda event: event["id"])
