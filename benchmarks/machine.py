"""The machine of the measurements: cores, ports, and versions of the compared programs."""

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
"""The root of the repository."""

INSTALL = "install the peers with: pip install -e '.[bench]'"


def cores() -> tuple[int, int]:
    """Return the core of the load generator and that of the server; different if possible."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1], usable[0]


def package(name: str) -> str:
    """Return `name` with its version. Raises AmocError if the Python package is missing."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        raise AmocError(
            f"the peer {name} is missing; install it with: pip install {name}"
        ) from None


def program(name: str, debian: str) -> str:
    """Return the path of a program. Raises AmocError with its Debian package if it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise AmocError(f"{name} is missing; install it with: apt-get install {debian}")
    return found


def answer(*command: str) -> str:
    """Run a command, such as one for a version, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip()


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_port_mapper() -> dict[str, str]:
    """Return the environment in which Tsung starts a port mapper of its own.

    It must not use or stop one that already runs.
    """
    return {"ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1"}


def heading() -> str:
    """Return two lines that describe the machine and our versions."""
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
