"""Runs the command line in processes of its own, and proves that it leaves nothing behind."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import psutil
import pytest

from tests.servers import ROOT, Process, wait_for


class Amoc:
    """Starts `amoc` commands in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._place = TemporaryDirectory(
            prefix="amoc-test-", dir="/tmp"
        )  # a socket's path is short
        self.sockets = Path(self._place.name)
        self.summary_path = directory / "summary.json"
        self._started: list[Process] = []

    def start(self, *arguments: object, env: dict[str, str] | None = None) -> Process:
        """Start a command and do not wait for it."""
        process = Process(
            [sys.executable, "-m", "amoc_gevent", *map(str, arguments)],
            self.directory / f"output-{len(self._started)}",
            env={**self._places(), **(env or {})},
        )
        self._started.append(process)
        return process

    def _places(self) -> dict[str, str]:
        return {
            "TMPDIR": str(self.sockets),
            "XDG_RUNTIME_DIR": str(self.sockets),
            "AMOC_HOME": str(self.directory / "home"),
        }

    def environment(self) -> dict[str, str]:
        """Return the environment in which a command finds its files in the test's directory."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return {**os.environ, **self._places(), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def run(
        self, *arguments: object, env: dict[str, str] | None = None, patience: float = 60
    ) -> tuple[int, str]:
        """Run a command to its end; return its exit code and all that it printed."""
        process = self.start(*arguments, env=env)
        return process.wait(patience), process.said()

    def load(
        self, *arguments: object, env: dict[str, str] | None = None, patience: float = 60
    ) -> dict[str, Any]:
        """Run `amoc run ARGUMENTS` to a good end and return its summary."""
        code, said = self.run(
            "run", *arguments, "--summary", self.summary_path, env=env, patience=patience
        )
        assert code == 0, said
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Return the summary that the last run wrote."""
        summary: dict[str, Any] = json.loads(self.summary_path.read_text())
        return summary

    def scenario(self, source: str, name: str = "mine") -> Path:
        """Write a scenario and return its path; `init` is added where it has none."""
        path = self.directory / f"{name}.py"
        if "def init(" not in source:
            source += "\n\ndef init():\n    pass\n"
        path.write_text(source)
        return path

    def assert_nothing_left(self, process: Process) -> None:
        """Fail if a process of the command's, or a file of its, is still there."""
        wait_for(lambda: not self.processes(), what="the end of all its processes")
        assert list(self.sockets.iterdir()) == []

    def processes(self) -> list[psutil.Process]:
        """Return the living processes that run in this directory's environment."""
        mark, found = str(self.sockets), []
        for process in psutil.process_iter():
            try:
                ended = process.status() == psutil.STATUS_ZOMBIE
                if not ended and process.environ().get("TMPDIR") == mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def stop(self) -> None:
        """End what still runs."""
        for process in self._started:
            process.stop()
        self._place.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.fixture
def amoc(tmp_path: Path) -> Iterator[Amoc]:
    """The command line, in a directory of the test's own."""
    with Amoc(tmp_path) as found:
        yield found
