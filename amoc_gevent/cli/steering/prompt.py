"""The prompt of `amoc attach` and `amoc console`: executes lines that are typed or piped in."""

import errno
import io
import os
import sys
import termios
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amoc_gevent.cli.main import NO_ROOM, discard, print_error
from amoc_gevent.cli.steering.completion import Words, candidates
from amoc_gevent.cli.steering.execution import carry_out
from amoc_gevent.cli.steering.verb_parser import parse_line
from amoc_gevent.control.client import Control
from amoc_gevent.core.answers import Description, NodeList, RunList
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError
from amoc_gevent.loading.catalogue import find, guessed_settings, listing

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History

LEAVE = {"exit", "quit"}
COMPLETION_S = 0.5
"""Timeout of completion, in s, when it asks the master."""


class EndedBySignal(SystemExit):
    """Ends the process after a signal. The boundary around a command lets it through."""


def steer(control: Control) -> bool:
    """Carry out lines from the terminal or a pipe until their end; return whether all succeeded."""
    if sys.stdin.isatty():
        return carry_out_all(_prompted(control), control)
    if isinstance(sys.stdin, io.TextIOWrapper):  # invalid bytes: only their line fails
        sys.stdin.reconfigure(errors="surrogateescape")
    return carry_out_all((line.strip() for line in sys.stdin), control)


def carry_out_all(lines: Iterable[str], control: Control) -> bool:
    """Execute each line and print its answer; return whether all succeeded."""
    good = True
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line in LEAVE:
            break
        good = _carry_out(line, control) and good
    return good


def _carry_out(line: str, control: Control) -> bool:
    """Execute a line and return whether it succeeded: the boundary around one command.

    Any exception becomes a line on standard error, and the prompt goes on.
    """
    try:
        return _done(line, control)
    except EndedBySignal:
        raise
    except OSError as error:
        if error.filename is None and error.errno in {errno.EPIPE, *NO_ROOM}:
            _go_on_unread(error)
        else:
            _report_defect(error)
        return False
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the boundary around a command
        _report_defect(error)
        return False


def _done(line: str, control: Control) -> bool:
    try:
        asked = parse_line(line)
        if isinstance(asked, str):
            click.echo(asked)
            good = True
        else:
            good = carry_out(asked, control) == 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        click.echo("stopped waiting; the command goes on", err=True)
        return True
    except AmocError as error:
        print_error(error)
        return False
    return good


def _go_on_unread(error: OSError) -> None:
    """Write no more to an output that is closed or full; at a terminal, raise the error."""
    if sys.stdin.isatty():
        raise error
    if not isinstance(error, BrokenPipeError):
        click.echo(f"the output cannot be written: {error.strerror}", err=True)
    discard(sys.stdout)


def _report_defect(error: BaseException) -> None:
    """Print an unexpected error in a line, with the path of its traceback."""
    text = (str(error).splitlines() or [""])[0]
    named = type(error).__name__ + (f": {text}" if text else "")
    path = _keep(error)
    where = f"; its traceback is in {path}" if path is not None else ""
    click.echo(f"internal error: {named}{where}", err=True)


def _keep(error: BaseException) -> Path | None:
    """Replace the traceback in AMOC_HOME by this one; return its path, None on failure."""
    trace = "".join(traceback.format_exception(error))
    try:
        path = Home.current().make().traceback
        with open(path, "w", opener=_private, errors="backslashreplace") as file:
            file.write(trace)
    except (AmocError, OSError):
        return None
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _prompted(control: Control) -> Iterator[str]:
    """Yield the lines typed at the prompt until Ctrl-D. The history is stored in AMOC_HOME."""
    from prompt_toolkit import PromptSession  # noqa: PLC0415  # it loads an event loop
    from prompt_toolkit.completion import Completer, Completion  # noqa: PLC0415
    from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415

    class Names(Completer):
        def get_completions(
            self,
            document: "Document",
            complete_event: "CompleteEvent",  # noqa: ARG002  # named by the base class
        ) -> "Iterable[Completion]":
            try:
                start, found = candidates(document.text_before_cursor, words)
            except Exception as error:  # noqa: BLE001  # the boundary around completion
                _keep(error)
                return []
            return [Completion(one, start_position=-start) for one in found]

    names = _asked_names(control)
    words = Words(lambda: [found.name for found in listing()], names, _settings(control))
    session: PromptSession[str] = PromptSession(history=_history(), completer=Names())
    with _typed_ahead(sys.stdin.fileno()):
        while True:
            try:
                with patch_stdout(raw=True):
                    line = session.prompt("amoc> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            yield line.strip()


def _history() -> "History":
    """Return the history in AMOC_HOME, or one in memory if AMOC_HOME cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415

    class TolerantHistory(FileHistory):
        def load_history_strings(self) -> Iterable[str]:
            with suppress(OSError):
                return super().load_history_strings()
            return []

        def store_string(self, string: str) -> None:
            with suppress(OSError, ValueError):  # ValueError: invalid bytes were typed
                super().store_string(string)

    try:
        kept = Home.current().make().history
        with suppress(OSError):
            kept.touch(mode=0o600)  # lines may contain passwords
        return TolerantHistory(str(kept))
    except AmocError as error:
        click.echo(f"the history will not be stored: {error}", err=True)
        return InMemoryHistory()


@contextmanager
def _typed_ahead(terminal: int) -> Iterator[None]:
    """Save a Ctrl-D that is typed while a command runs, and give it to the next prompt.

    Between two prompts the terminal is in canonical mode, where Ctrl-D is not a character: the
    prompt, which reads characters, would never see it.
    """
    before = termios.tcgetattr(terminal)
    during = termios.tcgetattr(terminal)
    during[6][termios.VEOF] = os.fpathconf(terminal, "PC_VDISABLE").to_bytes(1)
    termios.tcsetattr(terminal, termios.TCSANOW, during)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _asked_names(control: Control) -> Callable[[str], list[str]]:
    """Return a function that asks the master for the names of `nodes` or `runs`."""

    def names(verb: str) -> list[str]:
        try:
            found = control.answer({"command": verb}, timeout=COMPLETION_S)
            if isinstance(found, NodeList):
                return [one.name for one in found.nodes]
            return [one.run for one in found.runs] if isinstance(found, RunList) else []
        except AmocError:  # no errors during completion
            return []

    return names


def _settings(control: Control) -> Callable[[str], list[str]]:
    """Return a function from a scenario to its settings; "" means those that a run can change.

    A run's settings come from its manifest. A scenario's are guessed from its file.
    """

    def settings(scenario: str) -> list[str]:
        try:
            if scenario:
                return [*guessed_settings(find(scenario))]
            found = control.answer({"command": "describe"}, timeout=COMPLETION_S)
        except AmocError:
            return []
        assert isinstance(found, Description)  # noqa: S101  # the answer to `describe`
        return [one.name for one in found.settings if one.update]

    return settings
