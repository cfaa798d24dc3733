"""A core that other processes keep busy, and programs that have to share it with them."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gevent import subprocess

from tests.servers import ROOT

_SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
parent = os.getppid()
print("busy", flush=True)
while os.getppid() == parent:
    for _ in range(10_000):
        pass
"""

_SHARE = "import os; os.sched_setaffinity(0, {%d}); os.nice(%d)\n"


@contextmanager
def busy_core(processes: int) -> Iterator[int]:
    """Keep one core busy with so many processes; yield its number."""
    core = max(os.sched_getaffinity(0))
    command = [sys.executable, "-c", _SPIN, str(core)]
    spinning = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for process in spinning:
            assert process.stdout.readline() == "busy\n"
        yield core
    finally:
        for process in spinning:
            process.kill()
            process.wait()
            process.stdout.close()


def run_on(core: int, program: str, nice: int = 0) -> Any:
    """Run a program on this core alone, `nice` steps lower; return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", _SHARE % (core, nice) + program],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
    )
    return json.loads(done.stdout)
