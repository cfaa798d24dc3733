"""Faults on demand: what the demo server does wrong, and how it does it to a message."""

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
    """What is wrong, by default nothing.

    `delay` (s) is for every message. `drop`, `cut` (break the recipient's connection off instead),
    `malformed` (send it broken XML instead), `duplicate` and `reorder` (let the pair's next message
    overtake it) happen to one in so many messages; each fault counts those that come to it, in the
    order of this list. `silent_at`, `cut_at` and `malformed_at` name the step of a login that the
    server never answers, answers by breaking off, or answers with broken XML and then no more.
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
        """Whether anything happens to messages."""
        return bool(self.delay or any(getattr(self, name) for name in MESSAGE_FAULTS))

    def at(self, step: str) -> str:
        """Return what happens at a step of the login: silent, cut, malformed, or nothing."""
        if self.silent_at == step:
            return "silent"
        if self.cut_at == step:
            return "cut"
        return "malformed" if self.malformed_at == step else ""

    def changed(self, given: Mapping[str, Any]) -> Self:
        """Return these faults with some of them set; raises AmocError for what is none."""
        names = [each.name for each in fields(self)]
        for name in given:
            if name not in names:
                raise AmocError(f"no fault {name!r}; there are {', '.join(names)}")
        return replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """Return all by their names."""
        return asdict(self)


class Recipient(Protocol):
    """Who a message goes to."""

    @property
    def gone(self) -> bool:
        """Whether it cannot be reached any more."""

    def send(self, data: bytes) -> None:
        """Send it bytes."""

    def reset(self) -> None:
        """Break its connection off."""


class FaultyDelivery:
    """Delivers messages with the faults that are set, and counts by pair what it did."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.active = False  # once it is, it stays so: a message may still be on the way
        self._seen = dict.fromkeys(MESSAGE_FAULTS, 0)
        self._queue: deque[tuple[float, Pair, Recipient, bytes]] = deque()
        self._loop = get_hub().loop
        self._timer: Any = None

    def change(self, faults: Faults) -> None:
        """Do from now on what `faults` says; the counts to one in so many begin anew."""
        self.faults = faults
        self.active = self.active or faults.of_messages
        self._seen = dict.fromkeys(MESSAGE_FAULTS, 0)

    def deliver(self, pair: Pair, recipient: Recipient, data: bytes) -> None:
        """Deliver a message, or do to it what is its turn."""
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
        """Forget what is delayed."""
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
        """Deliver what was held: it was overtaken, or nobody came to overtake it."""
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
