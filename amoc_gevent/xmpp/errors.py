"""What can go wrong with XMPP: one family, whose `kind` groups errors in the figures."""

from amoc_gevent.errors import AmocError
from amoc_gevent.transport import TransportError

TIMEOUT = "time-out"
CLOSED = "connection closed"
SCENARIO_TIMEOUT = "scenario time-out"


class XmppError(AmocError):
    """A stanza error (RFC 6120 8.3), or the root of what else can go wrong.

    `condition` is the defined condition, such as "item-not-found"; `type` says what to do about it
    ("cancel", "modify", "auth", "wait"); `text` is what the server says in words.
    """

    def __init__(self, condition: str, type: str = "cancel", text: str = "") -> None:  # noqa: A002
        super().__init__(f"{condition}: {text}" if text else condition)
        self.condition = condition
        self.type = type
        self.text = text

    @property
    def kind(self) -> str:
        """What this error is counted as."""
        return self.condition


class ConnectionFailed(XmppError):  # noqa: N818  # it reads as what happened
    """No connection came about: TCP, name look-up or TLS; `condition` is what failed."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(error.kind, "wait")
        self.args = (str(error),)


class Disconnected(XmppError):  # noqa: N818  # it reads as what happened
    """The connection is gone, or was never there; `condition` says how."""

    def __init__(self, condition: str = CLOSED, text: str = "") -> None:
        super().__init__(condition, "wait", text)


class StreamError(Disconnected):
    """The stream ended with an error (RFC 6120 4.9): the server's, or what we found wrong in it."""

    @property
    def kind(self) -> str:
        """What this error is counted as."""
        return f"stream error: {self.condition}"


class AuthenticationError(XmppError):
    """The server let nobody in; `condition` is SASL's (RFC 6120 6.5), such as "not-authorized"."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(condition, "auth", text)

    @property
    def kind(self) -> str:
        """What this error is counted as."""
        return f"authentication: {self.condition}"


class XmppTimeout(XmppError):  # noqa: N818  # it reads as what happened
    """Nothing came in time; `condition` is "time-out", `text` what was waited for."""

    def __init__(self, awaited: str, seconds: float) -> None:
        super().__init__(TIMEOUT, "wait", f"no {awaited} within {seconds:g} s")
