"""Errors of XMPP sessions, with one root. The metrics group them by `kind`."""

from amoc_gevent.transport import TransportError
from amoc_gevent.transport.errors import CLOSED, OperationError

TIMEOUT = "time-out"


class XmppError(OperationError):
    """A stanza error (RFC 6120 8.3), and the root of all XMPP errors.

    `condition`: the defined condition, such as "item-not-found".
    `type`: how to react to it: "cancel", "modify", "auth" or "wait".
    `text`: the server's description.
    """

    def __init__(self, condition: str, type: str = "cancel", text: str = "") -> None:  # noqa: A002
        super().__init__(condition, text)
        self.condition = condition
        self.type = type
        self.text = text


class ConnectionFailed(XmppError):  # noqa: N818  # named for the event
    """The name lookup, TCP or TLS failed. `condition` is the kind of the failure."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(error.kind, "wait")
        self.args = (str(error),)


class Disconnected(XmppError):  # noqa: N818  # named for the event
    """The connection has ended, or never existed. `condition` is the reason."""

    def __init__(self, condition: str = CLOSED, text: str = "") -> None:
        super().__init__(condition, "wait", text)


class StreamError(Disconnected):
    """The stream ended with an error (RFC 6120 4.9), which the server sent or we detected."""

    def __init__(self, condition: str = CLOSED, text: str = "") -> None:
        super().__init__(condition, text)
        self.kind = f"stream error: {condition}"


class AuthenticationError(XmppError):
    """Authentication failed. `condition` is SASL's (RFC 6120 6.5), such as "not-authorized"."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(condition, "auth", text)
        self.kind = f"authentication: {condition}"


class XmppTimeout(XmppError):  # noqa: N818  # named for the event
    """Something awaited did not arrive in time. `condition` is "time-out"; `text` names it."""

    def __init__(self, awaited: str, seconds: float) -> None:
        super().__init__(TIMEOUT, "wait", f"no {awaited} within {seconds:g} s")
