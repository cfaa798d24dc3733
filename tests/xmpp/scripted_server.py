"""A server on the test's hub that follows a script, step by step through a login."""

from collections.abc import Sequence

import gevent

from amoc_gevent import xmpp
from tests.transport.scripted import Connection, Handler, resets, stays_silent

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' version='1.0' "
    "xmlns:stream='http://etherx.jabber.org/streams' from='localhost'>"
)
MECHANISMS = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
BOUND = f"<bind xmlns='{BIND}'><jid>user_1@localhost/r</jid></bind>"

LOGIN = (
    f"{HEADER}<stream:features>{MECHANISMS}</mechanisms></stream:features>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    (
        f"{HEADER}<stream:features><bind xmlns='{BIND}'/><session xmlns='{SESSION}'/>"
        "</stream:features>"
    ),
    f"<iq type='result' id='{{id}}'>{BOUND}</iq>",
    "<iq type='result' id='{id}'/>",
)
"""The replies of an RFC 3921 server to each request of a login. "{id}" is the request's id."""

STEPS = ("xmpp stream", "xmpp auth", "xmpp stream", "xmpp bind", "xmpp session")
"""The client's operations for these requests."""


def closes(_sock: Connection) -> None:
    """Close the connection cleanly, as a server that shuts down does."""


ENDS: dict[str, Handler] = {"close": closes, "reset": resets, "silence": stays_silent}


def says(
    replies: Sequence[str], then: Handler = stays_silent, piece: int = 0, after: str = ""
) -> Handler:
    """Send one reply to each request. After the client's next data, call `then`.

    `piece` is the number of bytes sent at once, 0 for all. `after` is sent with the last reply.
    """

    def handler(sock: Connection) -> None:
        for number, reply in enumerate(replies):
            request = sock.recv(65536).decode()
            if not request:
                return
            last = number == len(replies) - 1
            text = reply.replace("{id}", _id_of(request)) + (after if last else "")
            _send(sock, text.encode(), piece)
        if not after:
            sock.recv(65536)
        then(sock)

    return handler


def passes_on(target: tuple[str, int], size: int) -> Handler:
    """Relay to another server, and forward its bytes in pieces of `size`."""

    def handler(sock: Connection) -> None:
        with gevent.socket.create_connection(target) as there:
            back = gevent.spawn(_pieces, there, sock, size)
            try:
                while data := sock.recv(65536):
                    there.sendall(data)
            finally:
                back.kill()

    return handler


def client(port: int, timeout: float = 10.0, **options) -> xmpp.Client:
    """Return an unconnected client for a scripted server."""
    server = xmpp.Server("127.0.0.1", port, tls="none", timeout=timeout, **options)
    return xmpp.Client("user_1@localhost/r", "password_1", server)


def _id_of(request: str) -> str:
    return request.partition(" id='")[2].partition("'")[0]


def _send(sock: Connection, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece or len(data)):
        sock.sendall(data[start : start + (piece or len(data))])
        if piece:
            gevent.idle()


def _pieces(source: object, sink: object, size: int) -> None:
    """Forward bytes in pieces."""
    while data := source.recv(65536):
        for start in range(0, len(data), size):
            sink.sendall(data[start : start + size])
            gevent.idle()
