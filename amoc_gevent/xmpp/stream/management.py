"""Stream management (XEP-0198): acknowledgements, and the stanzas to resend on resumption."""

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
"""Request an acknowledgement after this many stanzas."""

_WRAP = 1 << 32


class StreamManagement:
    """The state of one stream. It outlives the connection.

    `handled` is the number of stanzas received. `id` resumes the stream; it is None if the server
    does not offer resumption. `unacknowledged` holds the stanzas that the server may not have.
    """

    __slots__ = ("_acknowledged", "_since_request", "handled", "id", "unacknowledged")

    def __init__(self) -> None:
        self.id: str | None = None
        self.handled = 0
        self.unacknowledged: deque[bytes] = deque()
        self._acknowledged = 0
        self._since_request = 0

    def sent(self, stanza: bytes) -> bytes:
        """Keep a stanza until it is acknowledged; return it, with an <r/> if one is due."""
        self.unacknowledged.append(stanza)
        self._since_request += 1
        if self._since_request < REQUEST_EVERY:
            return stanza
        self._since_request = 0
        return stanza + REQUEST

    def acknowledge(self, handled: str | None) -> None:
        """Drop the acknowledged stanzas. Raises StreamError for an invalid count."""
        try:
            new = (int(handled or "") - self._acknowledged) % _WRAP
        except ValueError:
            raise StreamError("undefined-condition", f"h='{handled}' is not a number") from None
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
        """Return the <a/> with the number of stanzas received."""
        return f"<a xmlns='{SM}' h='{self.handled % _WRAP}'/>".encode()

    def resumption(self) -> bytes:
        """Return the request to resume the stream."""
        name, handled = escaped(self.id or ""), self.handled % _WRAP
        return f"<resume xmlns='{SM}' previd='{name}' h='{handled}'/>".encode()

    def to_resend(self) -> tuple[bytes, ...]:
        """Return the stanzas to resend after a resumption, in order."""
        self._since_request = 0
        return tuple(self.unacknowledged)
