"""Drives `amoc console` through a pipe, line by line."""

import subprocess
import sys
import threading

from tests.integration.conftest import Amoc
from tests.servers import ROOT, wait_for


def piped(amoc: Amoc, *lines: str, until: str = "") -> tuple[int, str]:
    """Pipe `lines` into a console; leave when its output has `until`; return code and output."""
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "amoc_gevent", "console", "--workers", "2"],
        cwd=ROOT,
        env=amoc.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as console:
        assert console.stdin is not None
        assert console.stdout is not None
        reader = threading.Thread(target=said.extend, args=(console.stdout,))
        reader.start()
        try:
            console.stdin.write("".join(f"{line}\n" for line in lines))
            console.stdin.flush()
            wait_for(lambda: until in "".join(said), what=f"{until!r} from the console")
            console.stdin.close()
            code = console.wait(30)
        finally:
            console.kill()
        reader.join()
    return code, "".join(said)
