"""Drives `amoc console` through a pipe, line by line."""

import sys

from gevent import subprocess

from tests.integration.conftest import Amoc
from tests.servers import ROOT, wait_for


def piped(
    amoc: Amoc, *lines: str, until: str = "", env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Pipe `lines` into a console; leave when its output has `until`; return code and output."""
    output = amoc.directory / "console"
    with output.open("wb") as sink:
        console = subprocess.Popen(
            [sys.executable, "-m", "amoc_gevent", "console", "--workers", "2"],
            cwd=ROOT,
            env={**amoc.environment(), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        console.stdin.write("".join(f"{line}\n" for line in lines).encode())
        console.stdin.flush()
        wait_for(lambda: until in output.read_text(), 30, f"{until!r} from the console")
        console.stdin.close()
        code = console.wait(30)
    finally:
        console.kill()
    return code, output.read_text()
