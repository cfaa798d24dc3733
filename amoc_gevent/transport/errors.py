"""Errors of streams and of timed operations, and the kinds under which they are counted."""

import errno
import socket
import ssl

import gevent

from amoc_gevent.errors import AmocError, UsageError

REFUSED = "connection refused"
RESET = "connection reset"
CLOSED = "connection closed"
UNREACHABLE = "network unreachable"
NAME_NOT_FOUND = "name not found"
TOO_MANY_FILES = "too many open files"
CONNECT_TIMEOUT = "connect time-out"
READ_TIMEOUT = "read time-out"
TOTAL_TIMEOUT = "total time-out"
SCENARIO_TIMEOUT = "scenario time-out"

_KINDS = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.ECONNABORTED: RESET,
    errno.ETIMEDOUT: CONNECT_TIMEOUT,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.EMFILE: TOO_MANY_FILES,
    errno.ENFILE: TOO_MANY_FILES,
    errno.EADDRNOTAVAIL: "address not available",
    errno.EADDRINUSE: "address in use",
}


class OperationError(AmocError):
    """An operation failed. The metrics group errors by `kind`, a short name."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


class TransportError(OperationError):
    """A stream could not be opened, or it broke."""


class TransportTimeout(TransportError):  # noqa: N818  # a timeout is an error
    """A stream did not connect, or the peer did not answer, in time."""


class UnusableFile(UsageError, TransportError):  # noqa: N818  # named for its cause
    """A certificate or key file is missing, or does not contain one. The message names it."""


def from_os_error(error: OSError, peer: str) -> TransportError:
    """Translate an error of the operating system, the resolver or OpenSSL about `peer`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(f"TLS: {error.verify_message.rstrip('.')}", peer)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return TransportError(f"TLS: {reason}", peer)
    if isinstance(error, socket.gaierror):
        return TransportError(NAME_NOT_FOUND, f"{peer} ({error.strerror})")
    number = error.errno or 0
    kind = _KINDS.get(number) or errno.errorcode.get(number, type(error).__name__)
    made = TransportTimeout if kind == CONNECT_TIMEOUT else TransportError
    return made(kind, peer)


def kind_of(error: object) -> str:
    """Return the kind under which an operation's error is counted."""
    if isinstance(error, OperationError):
        return error.kind
    if isinstance(error, gevent.Timeout):
        return SCENARIO_TIMEOUT
    return type(error).__name__
