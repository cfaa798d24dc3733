"""Who may connect to a master's sockets: machines whose public key it knows (CURVE, ZMQ RFC 27)."""

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
LATER = b"300"
"""The status of a refusal after which the other side tries again; after 400 it never would, and a
node whose key is allowed a minute later would have to be started again."""

REFUSED_NAMED = 1000
"""Strangers that are remembered, so that each is named in the log once."""


class ZapAuthenticator:
    """Answers ZeroMQ's question about each connection; `allowed()` maps public keys to names.

    It is asked anew for each, so a key that is added or revoked counts from the next one on.
    There is one in a process.
    """

    def __init__(self, allowed: Callable[[], Mapping[str, str]]) -> None:
        self._allowed = allowed
        self._strangers: set[str] = set()
        context: Any = zmq.green.Context.instance()
        self._socket: Any = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ADDRESS)
        self._answering = gevent.spawn(self._answer)

    def close(self) -> None:
        """Stop authenticating."""
        self._answering.kill()
        self._socket.unbind(ADDRESS)  # which closing does some time later
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
        return [version, request, LATER, b"unknown key", b"", b""]

    def _name_of(self, key: str) -> str:
        try:
            return self._allowed().get(key, "")
        except AmocError as error:
            log.error("%s", error)
            return ""

    def _refuse(self, key: str, address: str) -> None:
        if key not in self._strangers and len(self._strangers) < REFUSED_NAMED:
            self._strangers.add(key)
            log.warning("refused %s, whose key %s is not allowed: amoc keys allow", address, key)
