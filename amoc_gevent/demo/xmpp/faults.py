"""Fault injection: the settings, and the message delivery that applies them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, Self

from gevent import get_hub

from amoc_gevent import clock
from amoc_gevent.demo.xmpp.counts import Pair
from amoc_gevent.errors import AmocError

STEPS = ("connect", "stream", "starttls", "tls", "auth", "bind", "session")
MESSAGE_FAULTS = ("drop", "cut", "malformed", "duplicate", "reorder")
STEP_FAULTS = ("silent_at", "cut_at", "malformed_at")
HOLD = 0.5
NOT_XML = b"<message><body>this & that</message>"


@dataclass(frozen=True)
class Faults:
    """The faults to apply, by default none.

    `delay` (s) applies to every message. With value N, these apply to every Nth message:

    - `drop`: lose the message;
    - `cut`: reset the recipient's connection instead of delivering;
    - `malformed`: send broken XML instead;
    - `duplicate`: deliver it twice;
    - `reorder`: deliver it after the pair's next message.

    Faults are checked in this order, and each counts only the messages that reach it. `silent_at`,
    `cut_at` and `malformed_at` name the login step that the server does not answer, answers with a
    reset, or answers with broken XML and then silence.
    """

    delay: float = 0.0
    drop: int = 0
    cut: int = 0
    malformed: int = 0
    duplicate: int = 0
    reorder: int = 0
    silent_at: str = ""
    cut_at: str = ""
    malformed_at: str = ""

    def __post_init__(self) -> None:
        for name in MESSAGE_FAULTS:
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise AmocError(f"fault {name}: {value!r} is not a number of messages, 0 for never")
        if not isinstance(self.delay, int | float) or not 0 <= self.delay <= 3600:
            raise AmocError(f"fault delay: {self.delay!r} is not a number of seconds up to 3600")
        for name in STEP_FAULTS:
            if getattr(self, name) not in ("", *STEPS):
                steps = ", ".join(STEPS)
                raise AmocError(f"fault {name}: no step {getattr(self, name)!r}; there are {steps}")

    @property
    def of_messages(self) -> bool:
        """Whether any fault applies to messages."""
        return bool(self.delay or any(getattr(self, name) for name in MESSAGE_FAULTS))

    def at(self, step: str) -> str:
        """Return the fault at a login step: "silent", "cut", "malformed", or "" for none."""
        if self.silent_at == step:
            return "silent"
        if self.cut_at == step:
            return "cut"
        return "malformed" if self.malformed_at == step else ""

    def changed(self, given: Mapping[str, Any]) -> Self:
        """Return a copy with some faults set. Raises AmocError for unknown names and bad values."""
        names = [each.name for each in fields(self)]
        for name in given:
            if name not in names:
                raise AmocError(f"no fault {name!r}; there are {', '.join(names)}")
        return replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """Return all faults by name."""
        return asdict(self)


class Recipient(Protocol):
    """The recipient of a message."""

    @property
    def gone(self) -> bool:
        """Whether the recipient is unreachable."""

    def send(self, data: bytes) -> None:
        """Send bytes to the recipient."""

    def reset(self) -> None:
        """Reset its connection."""


class FaultyDelivery:
    """Delivers messages with the current faults and counts the outcomes by pair."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.active = False  # stays true once set: messages may still be on the way
        self._seen = dict.fromkeys(MESSAGE_FAULTS, 0)
        self._queue: deque[tuple[float, Pair, Recipient, bytes]] = deque()
        self._loop = get_hub().loop
        self._timer: Any = None

    def change(self, faults: Faults) -> None:
        """Apply `faults` from now on. Counting to every Nth message starts again at 0."""
        self.faults = faults
        self.active = self.active or faults.of_messages
        self._seen = dict.fromkeys(MESSAGE_FAULTS, 0)

    def deliver(self, pair: Pair, recipient: Recipient, data: bytes) -> None:
        """Deliver a message, or apply the fault that is due."""
        if self._hits("drop"):
            pair.dropped += 1
        elif self._hits("cut"):
            pair.cut += 1
            recipient.reset()
        elif self._hits("malformed"):
            pair.malformed += 1
            recipient.send(NOT_XML)
        elif self._hits("duplicate"):
            pair.duplicated += 1
            self._pass(pair, recipient, data)
            self._pass(pair, recipient, data)
        elif self._hits("reorder") and pair.held is None:
            timer = self._loop.timer(HOLD)
            pair.held = (recipient, data, timer)
            timer.start(self._release, pair)
        else:
            self._pass(pair, recipient, data)

    def close(self) -> None:
        """Discard delayed messages."""
        self._queue.clear()
        self._stop_timer()

    def _hits(self, name: str) -> bool:
        one_in: int = getattr(self.faults, name)
        if not one_in:
            return False
        self._seen[name] += 1
        return self._seen[name] % one_in == 0

    def _pass(self, pair: Pair, recipient: Recipient, data: bytes) -> None:
        self._send_or_delay(pair, recipient, data)
        if pair.held is not None:
            pair.reordered += 1
            self._release(pair)

    def _release(self, pair: Pair) -> None:
        """Deliver the held message: it was overtaken, or no other message came in time."""
        if pair.held is not None:
            recipient, data, timer = pair.held
            pair.held = None
            timer.stop()
            timer.close()
            self._send_or_delay(pair, recipient, data)

    def _send_or_delay(self, pair: Pair, recipient: Recipient, data: bytes) -> None:
        if not self.faults.delay and not self._queue:
            _send(pair, recipient, data)
            return
        pair.delayed += 1
        self._queue.append((clock.monotonic() + self.faults.delay, pair, recipient, data))
        if self._timer is None:
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self._loop.timer(max(0.0, self._queue[0][0] - clock.monotonic()))
        self._timer.start(self._due, update=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _due(self) -> None:
        self._stop_timer()
        now = clock.monotonic()
        while self._queue and self._queue[0][0] <= now:
            _, pair, recipient, data = self._queue.popleft()
            pair.delayed -= 1
            _send(pair, recipient, data)
        if self._queue:
            self._start_timer()


def _send(pair: Pair, recipient: Recipient, data: bytes) -> None:
    if recipient.gone:
        pair.undeliverable += 1
    else:
        pair.delivered += 1
        recipient.send(data)
