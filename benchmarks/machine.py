"""The machine that the figures come from: its cores, and the versions that are compared."""

import os
import platform
import shutil
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import amoc_gevent
from amoc_gevent.errors import AmocError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

INSTALL = "install the peers with: pip install -e '.[bench]'"


def cores() -> tuple[int, int]:
    """Return the core of the load generator and the core of the server, two where there are."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1], usable[0]


def package(name: str) -> str:
    """Return `name` with its version; AmocError where the Python package is missing."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        raise AmocError(
            f"the peer {name} is missing; install it with: pip install {name}"
        ) from None


def program(name: str, debian: str) -> str:
    """Return the path of a program; AmocError where it is missing, with its Debian package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise AmocError(f"{name} is missing; install it with: apt-get install {debian}")
    return found


def answer(*command: str) -> str:
    """Return what a command prints when it is asked for its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip()


def free_port() -> int:
    """Return a port of loopback that nobody has bound just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def heading() -> str:
    """Describe the machine and ourselves in two lines."""
    generator, server = cores()
    cpu = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.machine(),
    )
    return (
        f"amoc_gevent {amoc_gevent.__version__}, Python {platform.python_version()}, "
        f"{package('gevent')}, Linux {platform.release()}\n"
        f"{os.cpu_count()} cores of {cpu}; generators on core {generator}, servers on core {server}"
    )


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
