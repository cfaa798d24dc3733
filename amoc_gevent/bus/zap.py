"""Admits only machines with a known public key to a master's sockets (CURVE, ZMQ RFC 27)."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import zmq
import zmq.green
from zmq.utils import z85

from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

ADDRESS = "inproc://zeromq.zap.01"
KEY_BYTES = 32
TEMPORARY_ERROR = b"300"
"""The status of a refusal, after which the other end retries. After 400 it would not, and a node
whose key is allowed a minute later would have to be restarted."""

REFUSED_LOGGED = 1000
"""Number of refused keys to remember, so that each is logged once."""


class ZapAuthenticator:
    """Answers ZeroMQ's authentication requests; `allowed()` maps public keys to names.

    `allowed` is called for each connection, so changes apply to the next one. A process has one
    authenticator.
    """

    def __init__(self, allowed: Callable[[], Mapping[str, str]]) -> None:
        self._allowed = allowed
        self._refused_keys: set[str] = set()
        context: Any = zmq.green.Context.instance()
        self._socket: Any = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ADDRESS)
        self._answering = gevent.spawn(self._answer)

    def close(self) -> None:
        """Stop authenticating."""
        self._answering.kill()
        self._socket.unbind(ADDRESS)  # closing would do it only some time later
        self._socket.close()

    def _answer(self) -> None:
        while True:
            frames = self._socket.recv_multipart()
            self._socket.send_multipart(self._verdict(frames))

    def _verdict(self, frames: list[bytes]) -> list[bytes]:
        version, request, _domain, address, _identity, mechanism, *credentials = frames
        key = ""
        if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == KEY_BYTES:
            key = z85.encode(credentials[0]).decode()
        name = self._name_of(key)
        if name:
            return [version, request, b"200", b"OK", name.encode(), b""]
        self._refuse(key or mechanism.decode(errors="replace"), address.decode(errors="replace"))
        return [version, request, TEMPORARY_ERROR, b"unknown key", b"", b""]

    def _name_of(self, key: str) -> str:
        try:
            return self._allowed().get(key, "")
        except AmocError as error:
            log.error("%s", error)
            return ""

    def _refuse(self, key: str, address: str) -> None:
        if key not in self._refused_keys and len(self._refused_keys) < REFUSED_LOGGED:
            self._refused_keys.add(key)
            log.warning("refused %s, whose key %s is not allowed: amoc keys allow", address, key)
