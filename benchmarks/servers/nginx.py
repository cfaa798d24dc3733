"""nginx with its own port and directory. It serves a body of 35 bytes and counts requests."""

import http.client
import re
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import TracebackType
from typing import Self

from amoc_gevent.errors import AmocError
from benchmarks.machine import cores, free_port, program
from benchmarks.process import Child

BODY = "thirty-five bytes, newline included"
ATTEMPTS = 5

CONFIGURATION = """
daemon off; pid nginx.pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type text/plain; return 200 "{body}"; }}
        location /unlike/ {{
            default_type text/plain; add_header X-Request-Id $request_id; return 200 "{body}";
        }}
        location = /status {{ stub_status; }}
    }}
}}
"""


class Nginx:
    """nginx with one worker on the server's core. `requests` is its own count of requests.

    Answers under `url` have the same head within a second. Under `unlike` each head is different.
    """

    def __init__(self, directory: Path) -> None:
        self._asked = 0
        for attempt in range(1, ATTEMPTS + 1):
            self.port = free_port()
            self._child = self._started(directory)
            try:
                self._child.until(self._answers, "listening")
            except AmocError:
                self._child.end(SIGKILL)
                if attempt == ATTEMPTS:  # another process may have taken the port
                    raise
            else:
                break
        self.url = f"http://127.0.0.1:{self.port}"
        self.unlike = f"{self.url}/unlike"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.end(SIGTERM)

    def requests(self) -> int:
        """Return the number of requests, without those for this count."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/status")
        text = connection.getresponse().read().decode()
        connection.close()
        self._asked += 1
        found = re.search(r"^ \d+ \d+ (\d+)", text, re.MULTILINE)
        if found is None:
            raise AmocError(f"nginx's stub_status said {text!r}; expected three counts")
        return int(found[1]) - self._asked

    def _started(self, directory: Path) -> Child:
        path = directory / "nginx.conf"
        path.write_text(CONFIGURATION.format(port=self.port, body=BODY))
        nginx = program("nginx", "nginx-light")
        return Child([nginx, "-p", str(directory), "-c", str(path)], directory, cores()[1])

    def _answers(self) -> bool:
        try:
            return self.requests() >= 0
        except OSError:
            return False
