"""Stream management (XEP-0198): what the other side has, and what is sent again on resumption."""

from collections import deque

from amoc_gevent.xmpp.errors import StreamError
from amoc_gevent.xmpp.names import SM
from amoc_gevent.xmpp.stanzas.stanza import escaped

ENABLE = f"<enable xmlns='{SM}' resume='true'/>".encode()
REQUEST = f"<r xmlns='{SM}'/>".encode()
REQUEST_TAG = f"{{{SM}}}r"
ANSWER_TAG = f"{{{SM}}}a"
ENABLED_TAG = f"{{{SM}}}enabled"
RESUMED_TAG = f"{{{SM}}}resumed"
FAILED_TAG = f"{{{SM}}}failed"
FEATURE_TAG = f"{{{SM}}}sm"

REQUEST_EVERY = 10
"""Stanzas after which the server is asked how many it has."""

_WRAP = 1 << 32


class StreamManagement:
    """One stream's counts, which outlive its connection.

    `handled` is how many of the server's stanzas came in, `id` what the stream is resumed by, None
    where the server does not offer that. `unacknowledged` are the stanzas that it may not have.
    """

    __slots__ = ("_acknowledged", "_since_request", "handled", "id", "unacknowledged")

    def __init__(self) -> None:
        self.id: str | None = None
        self.handled = 0
        self.unacknowledged: deque[bytes] = deque()
        self._acknowledged = 0
        self._since_request = 0

    def sent(self, stanza: bytes) -> bytes:
        """Keep a stanza until it is acknowledged; return it with the question for that, if due."""
        self.unacknowledged.append(stanza)
        self._since_request += 1
        if self._since_request < REQUEST_EVERY:
            return stanza
        self._since_request = 0
        return stanza + REQUEST

    def acknowledge(self, handled: str | None) -> None:
        """Forget the stanzas that the server says it has. Raises StreamError for nonsense."""
        try:
            new = (int(handled or "") - self._acknowledged) % _WRAP
        except ValueError:
            raise StreamError("undefined-condition", f"h='{handled}' is no number") from None
        if new > len(self.unacknowledged):
            raise StreamError(
                "undefined-condition",
                f"{handled} stanzas acknowledged of "
                f"{self._acknowledged + len(self.unacknowledged)} sent",
            )
        for _ in range(new):
            self.unacknowledged.popleft()
        self._acknowledged = (self._acknowledged + new) % _WRAP

    def answer(self) -> bytes:
        """Return how many stanzas we have, as the server asked for it."""
        return f"<a xmlns='{SM}' h='{self.handled % _WRAP}'/>".encode()

    def resumption(self) -> bytes:
        """Return the request to go on with the stream."""
        name, handled = escaped(self.id or ""), self.handled % _WRAP
        return f"<resume xmlns='{SM}' previd='{name}' h='{handled}'/>".encode()

    def to_resend(self) -> tuple[bytes, ...]:
        """Return what is to be sent once more after a resumption, in order."""
        self._since_request = 0
        return tuple(self.unacknowledged)
