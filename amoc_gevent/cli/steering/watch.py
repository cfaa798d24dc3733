"""`amoc watch`: the live table of the master's run on a terminal, else plain lines."""

import json
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from amoc_gevent.cli.steering.terminal import (
    has_colour,
    has_terminal,
    print_warning,
    with_warning,
)
from amoc_gevent.control.client import Control
from amoc_gevent.core.answers import WatchedLines, WatchedStatus
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED
from amoc_gevent.printable import printable, printable_lines

ENTER_SCREEN = "\x1b[?1049h\x1b[?25l"
LEAVE_SCREEN = "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
HINT = "q leaves, the run goes on"
SIZE = (100, 24)


def watch(
    control: Control, show_summary: Callable[[str, Control], object], *, as_json: bool
) -> int:
    """Show the run until it ends, then its summary; the user can leave earlier.

    Return an exit code: 1 for a failed run.
    """
    final: WatchedStatus | WatchedLines | None = None
    try:
        if as_json:
            final = _as_json(control)
        elif has_terminal():
            final = _on_terminal(control)
        else:
            final = _in_lines(control)
    finally:
        if final is None or as_json:  # otherwise it comes with the summary
            print_warning(control)
    if final is None:
        return EXIT_FINISHED
    if not as_json:
        show_summary(final.run or "", control)
    return EXIT_FINISHED if final.ended == "finished" else EXIT_FAILED


def _as_json(control: Control) -> WatchedStatus | None:
    with control.stream({"command": "watch", "form": "json"}) as stream:
        for part in stream:
            if not isinstance(part, WatchedStatus):
                continue
            click.echo(json.dumps(with_warning(part.status, control), ensure_ascii=False))
            if part.ended is not None:
                return part
    return None


def _in_lines(control: Control) -> WatchedLines | None:
    with control.stream({"command": "watch", "form": "lines"}) as stream:
        warned = False
        for part in stream:
            if not isinstance(part, WatchedLines):
                continue
            if control.warning and not warned:
                print_warning(control)
            warned = bool(control.warning)
            for line in part.lines:
                click.echo(printable_lines(line))
            if part.ended is not None:
                return part
    return None


def _on_terminal(control: Control) -> WatchedLines | None:
    """Draw the table until the run ends; return its last part, or None if the user left."""
    with _events() as events:
        while True:
            with _screen():
                while (part := _until_interrupted(control, events)) is RESIZED:
                    pass
            if part is not SUSPENDED:
                return part
            os.kill(os.getpid(), signal.SIGSTOP)  # as Ctrl-Z does, after restoring the screen


RESIZED = WatchedLines(("the terminal has another size",))
SUSPENDED = WatchedLines(("Ctrl-Z",))
"""Returned in place of a part when the drawing is interrupted; compared by identity."""


def _until_interrupted(control: Control, events: int) -> WatchedLines | None:
    """Draw until the run ends, the terminal is resized, or the user suspends or leaves."""
    columns, rows = shutil.get_terminal_size(SIZE)
    request = {"command": "watch", "form": "table", "width": columns, "height": rows - 1}
    with control.stream({**request, "colour": has_colour()}) as stream:
        waited = [stream.fileno(), events, *([0] if sys.stdin.isatty() else [])]
        while not stream.ended:
            ready, _, _ = select.select(waited, [], [])
            if events in ready:
                return _requested(os.read(events, 64))
            if 0 in ready and os.read(0, 64) in {b"q", b"Q", b"\x04", b""}:
                return None
            if stream.fileno() in ready:
                for part in stream.receive():
                    if not isinstance(part, WatchedLines):
                        continue
                    _draw(part.lines, printable(control.warning) or HINT, columns, rows)
                    if part.ended is not None:
                        return part
    return None


def _requested(numbers: bytes) -> WatchedLines | None:
    """Return the effect of signals: None to leave, `SUSPENDED`, or `RESIZED`."""
    if signal.SIGINT in numbers or signal.SIGTERM in numbers:
        return None
    return SUSPENDED if signal.SIGTSTP in numbers else RESIZED


def _draw(lines: Sequence[str], hint: str, columns: int, rows: int) -> None:
    """Redraw the screen; the hint takes the last row."""
    hint = hint[: columns - 1]
    if has_colour():
        hint = f"{DIM}{hint}{PLAIN}"
    safe = [printable_lines(line, styled=True) for line in lines[: rows - 2]]
    shown = [line + CLEAR_LINE for line in [*safe, "", hint]]
    sys.stdout.write(HOME + "\r\n".join(shown) + CLEAR_BELOW)
    sys.stdout.flush()


@contextmanager
def _screen() -> Iterator[None]:
    """Use the terminal's alternate screen, and read single keys."""
    before = termios.tcgetattr(0) if sys.stdin.isatty() else None
    try:
        if before is not None:
            tty.setcbreak(0)
        sys.stdout.write(ENTER_SCREEN)
        sys.stdout.flush()
        yield
    finally:
        sys.stdout.write(LEAVE_SCREEN)
        sys.stdout.flush()
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _events() -> Iterator[int]:
    """Provide a descriptor from which signal numbers are read: resize, suspend and end."""
    numbers = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGINT, signal.SIGTERM)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    handlers = {number: signal.signal(number, _ignored) for number in numbers}
    before = signal.set_wakeup_fd(writing)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _ignored(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the number is read from the descriptor."""
