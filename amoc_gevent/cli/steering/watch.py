"""`amoc watch`: the live table of the master's run on a terminal, lines where there is none."""

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
    say_warning,
    with_warning,
)
from amoc_gevent.control.client import Control
from amoc_gevent.core.answers import WatchedLines, WatchedStatus
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED

OTHER_SCREEN = "\x1b[?1049h\x1b[?25l"
SCREEN_BACK = "\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
HINT = "q leaves, the run goes on"
SIZE = (100, 24)


def watch(
    control: Control, show_summary: Callable[[str, Control], object], *, as_json: bool
) -> int:
    """Show the run until it ends, then its summary; leave it alone when asked to.

    Returns an exit code: of a run that failed, 1.
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
        if final is None or as_json:  # else the summary's answer has it
            say_warning(control)
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
                say_warning(control)
            warned = bool(control.warning)
            for line in part.lines:
                click.echo(line)
            if part.ended is not None:
                return part
    return None


def _on_terminal(control: Control) -> WatchedLines | None:
    """Draw the table until the run ends; return its last part, None when the person left."""
    with _events() as events:
        while True:
            with _screen():
                while (part := _until_disturbed(control, events)) is RESIZED:
                    pass
            if part is not SUSPENDED:
                return part
            os.kill(os.getpid(), signal.SIGSTOP)  # as Ctrl-Z does, but with the screen given back


RESIZED = WatchedLines(("the terminal has another size",))
SUSPENDED = WatchedLines(("Ctrl-Z",))
"""What may disturb the drawing, in place of a part; told by identity."""


def _until_disturbed(control: Control, events: int) -> WatchedLines | None:
    """Draw for the terminal as large as it is now, until it is so no more or the run has ended."""
    columns, rows = shutil.get_terminal_size(SIZE)
    request = {"command": "watch", "form": "table", "width": columns, "height": rows - 1}
    with control.stream({**request, "colour": has_colour()}) as stream:
        waited = [stream.fileno(), events, *([0] if sys.stdin.isatty() else [])]
        while not stream.ended:
            ready, _, _ = select.select(waited, [], [])
            if events in ready:
                return _told(os.read(events, 64))
            if 0 in ready and os.read(0, 64) in {b"q", b"Q", b"\x04", b""}:
                return None
            if stream.fileno() in ready:
                for part in stream.receive():
                    if not isinstance(part, WatchedLines):
                        continue
                    _draw(part.lines, control.warning or HINT, columns, rows)
                    if part.ended is not None:
                        return part
    return None


def _told(numbers: bytes) -> WatchedLines | None:
    """Return what signals ask for: to leave, to be suspended, to draw anew."""
    if signal.SIGINT in numbers or signal.SIGTERM in numbers:
        return None
    return SUSPENDED if signal.SIGTSTP in numbers else RESIZED


def _draw(lines: Sequence[str], hint: str, columns: int, rows: int) -> None:
    """Replace what the screen shows; the hint takes the last row."""
    hint = hint[: columns - 1]
    if has_colour():
        hint = f"{DIM}{hint}{PLAIN}"
    shown = [line + REST_OF_LINE for line in [*lines[: rows - 2], "", hint]]
    sys.stdout.write(HOME + "\r\n".join(shown) + REST_OF_SCREEN)
    sys.stdout.flush()


@contextmanager
def _screen() -> Iterator[None]:
    """Draw on the terminal's other screen, and take each key as it is pressed."""
    before = termios.tcgetattr(0) if sys.stdin.isatty() else None
    try:
        if before is not None:
            tty.setcbreak(0)
        sys.stdout.write(OTHER_SCREEN)
        sys.stdout.flush()
        yield
    finally:
        sys.stdout.write(SCREEN_BACK)
        sys.stdout.flush()
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _events() -> Iterator[int]:
    """Return a descriptor from which the numbers of signals are read: a new size, and the end."""
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
    """Do nothing: the descriptor has the number."""
