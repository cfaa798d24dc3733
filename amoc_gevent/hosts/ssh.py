"""Runs the agent on machines over plain ssh: it is sent on standard input and answers in JSON.

The agent itself leaves nothing on the machine. All tasks of one command share the connection.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amoc_gevent import clock
from amoc_gevent.errors import AmocError
from amoc_gevent.hosts.inventory import Host

AGENT = Path(__file__).with_name("agent.py")
ANSWER = "amoc-agent-answer "
OLD_PYTHON = 93
"""The exit code for a Python that is too old to compile the agent."""

CONNECT_S = 10
PATIENCE_S = 300.0

BOOT = (
    "import sys;v=sys.version_info[:2];v<(3,6) and (sys.stderr.write('%d.%d'%v),sys.exit({old}));"
    "exec(compile(sys.stdin.buffer.read({size}).decode(),'agent','exec'))"
)


class HostError(AmocError):
    """A failure on one machine."""


class Ssh:
    """Connections to machines; `directory` holds their sockets."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def command(self, machine: Host, *options: str) -> list[str]:
        """Return the ssh command line for `machine`, without the remote command."""
        found = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        found += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        found += ["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]
        found += ["-o", "ControlMaster=auto", "-o", "ControlPersist=30"]
        found += ["-o", f"ControlPath={self._directory}/%C"]
        found += machine["ansible_ssh_common_args"].split()
        for flag, variable in (
            ("-l", "ansible_user"),
            ("-p", "ansible_port"),
            ("-i", "ansible_ssh_private_key_file"),
        ):
            if machine[variable]:
                value = machine[variable]
                if flag == "-i":  # ~USER of an unknown user stays as it is
                    value = os.path.expanduser(value)  # noqa: PTH111  # Path's would raise
                found += [flag, value]
        return [*found, *options, "--", machine.address]

    def ask(self, machine: Host, task: dict[str, Any], data: bytes = b"") -> dict[str, Any]:
        """Run a task on `machine`; return the agent's answer and its clock's `offset` (s).

        Raises HostError.
        """
        agent = AGENT.read_bytes()
        boot = BOOT.format(size=len(agent), old=OLD_PYTHON)
        python = f'{machine["ansible_python_interpreter"]} -c "{boot}"'
        remote = f"sudo -n {python}" if becomes_root(machine) else python
        order = json.dumps({**task, "size": len(data)}).encode() + b"\n"
        began = clock.wall()
        try:
            done = subprocess.run(
                [*self.command(machine), remote],
                input=agent + order + data,
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HostError(f"no answer within {PATIENCE_S:.0f} s") from None
        answer = _answer(done.stdout.decode(errors="replace"))
        if answer is None:
            raise HostError(_reason(machine, done.returncode, done.stderr.decode(errors="replace")))
        if "failed" in answer:
            raise HostError(answer["failed"])
        middle, half = (began + clock.wall()) / 2, (clock.wall() - began) / 2
        offset = answer["time"] - middle
        answer["offset"] = offset if abs(offset) > half + 0.1 else 0.0
        return answer


def becomes_root(machine: Host) -> bool:
    """Return whether to use sudo: as `ansible_become` says, else if the login is not root."""
    wanted = machine["ansible_become"].lower()
    if wanted:
        return wanted in {"true", "yes", "1"}
    return machine["ansible_user"] not in {"", "root"}


def _answer(said: str) -> dict[str, Any] | None:
    for line in said.splitlines():
        if line.startswith(ANSWER):
            found: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
            return found
    return None


def _reason(machine: Host, code: int, said: str) -> str:
    """Return why there was no answer, from the output of ssh or the remote shell."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {code}"
    python = machine["ansible_python_interpreter"]
    if code == OLD_PYTHON:
        return f"{python} there is Python {last}, which is too old"
    if code in {126, 127}:
        hint = "install Python, or set ansible_python_interpreter"
        return f"there is no {python} there ({last}): {hint}"
    if code == 255:
        return f"ssh: {last.removeprefix('ssh: ').rstrip('.')}"
    if "password is required" in last:
        return "sudo needs a password: allow it without one, or set ansible_user to root"
    return last


@contextmanager
def connections() -> Iterator[Ssh]:
    """Provide connections for the block; open ones are closed soon after it."""
    # A socket path has 107 bytes at most; other temporary directories may exceed that.
    with tempfile.TemporaryDirectory(prefix="amoc-ssh-", dir="/tmp") as directory:
        yield Ssh(Path(directory))
