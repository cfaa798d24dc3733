"""The prompt of `amoc attach` and `amoc console`: lines typed or piped in, carried out in turn."""

import os
import sys
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from amoc_gevent.cli.asking import carry_out
from amoc_gevent.cli.client import Control
from amoc_gevent.cli.completion import Words, candidates
from amoc_gevent.cli.verbs import asked_by
from amoc_gevent.engine.catalogue import declared, find, listing
from amoc_gevent.engine.home import Home
from amoc_gevent.errors import AmocError

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

LEAVE = {"exit", "quit"}
COMPLETION_S = 0.5
"""How long a name that is being typed waits for the master to say which there are."""


def steer(control: Control) -> bool:
    """Carry out what is typed or piped in, until its end; return whether all of it succeeded."""
    lines = _prompted(control) if sys.stdin.isatty() else (line.strip() for line in sys.stdin)
    return carry_out_all(lines, control)


def carry_out_all(lines: Iterable[str], control: Control) -> bool:
    """Carry out each line and print its answer; return whether none failed."""
    good = True
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line in LEAVE:
            break
        good = _carry_out(line, control) and good
    return good


def _carry_out(line: str, control: Control) -> bool:
    try:
        asked = asked_by(line)
        if isinstance(asked, str):
            click.echo(asked)
            return True
        return carry_out(asked, control) == 0
    except KeyboardInterrupt:
        click.echo("not waited for; it goes on", err=True)
        return True
    except AmocError as error:
        click.echo(str(error), err=True)
        if detail := getattr(error, "detail", ""):
            click.echo(detail, err=True)
        return False


def _prompted(control: Control) -> Iterator[str]:
    """Yield the lines typed at the prompt, until Ctrl-D; history is kept in AMOC_HOME."""
    from prompt_toolkit import PromptSession  # noqa: PLC0415  # it loads an event loop
    from prompt_toolkit.completion import Completer, Completion  # noqa: PLC0415
    from prompt_toolkit.history import FileHistory  # noqa: PLC0415
    from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415

    class Names(Completer):
        def get_completions(
            self,
            document: "Document",
            complete_event: "CompleteEvent",  # noqa: ARG002  # the base's name
        ) -> "Iterable[Completion]":
            start, found = candidates(document.text_before_cursor, words)
            return [Completion(one, start_position=-start) for one in found]

    names = _asked_names(control)
    words = Words(lambda: [found.name for found in listing()], names, _settings(control))
    history = Home.current().make().history
    history.touch(mode=0o600)  # what was typed may have passwords in it
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)), completer=Names()
    )
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


@contextmanager
def _typed_ahead(terminal: int) -> Iterator[None]:
    """Keep a Ctrl-D for the next prompt that is typed while a command is carried out.

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
    """Return what asks the master for names: of `nodes`, or of `runs`."""

    def names(verb: str) -> list[str]:
        try:
            result = control.ask({"command": verb}, patience=COMPLETION_S)
        except AmocError:  # whoever completes a name wants no error between the letters
            return []
        return [str(one["name" if verb == "nodes" else "run"]) for one in result[verb]]

    return names


def _settings(control: Control) -> Callable[[str], list[str]]:
    """Return what reads a scenario's settings in its file, where there is one here."""

    def settings(scenario: str) -> list[str]:
        try:
            status = {} if scenario else control.ask({"command": "status"}, patience=COMPLETION_S)
            found = declared(find(scenario or str(status.get("scenario", ""))))
        except AmocError:
            return []
        return [name for name, changes in found.items() if changes or scenario]

    return settings
