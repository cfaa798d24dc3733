"""SASL: the strongest mechanism that both sides support, computed by slixmpp's classes.

slixmpp's SCRAM iterates the hash in Python. Here OpenSSL does, once for each password and salt.

To add a mechanism: `SUPPORTED`, `_usable` and `_mechanism` here, and for the demo server
`demo/xmpp/sasl.py`.
"""

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element

from slixmpp.util import sasl
from slixmpp.util.sasl.client import MECH_SEC_SCORES, MECHANISMS, saslprep
from slixmpp.util.sasl.mechanisms import SCRAM
from slixmpp.util.stringprep_profiles import StringPrepError

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.errors import AuthenticationError

SUPPORTED = frozenset(
    name
    for name in MECHANISMS
    if name.startswith("SCRAM-") or name in {"DIGEST-MD5", "PLAIN", "EXTERNAL", "ANONYMOUS"}
)
_ONE_STEP = frozenset({"PLAIN", "EXTERNAL", "ANONYMOUS"})
_CHALLENGES_MAX = 4
"""Limit of challenges. No mechanism needs more, and a server could send them forever."""

_FAILURES = (sasl.SASLCancelled, sasl.SASLFailed, KeyError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials for a login. `username` is None for an anonymous user."""

    username: str | None
    password: str
    domain: str
    certificate: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """The TLS of the stream to log in on: its version ("" without TLS) and channel binding data."""

    tls: str = ""
    binding: bytes | None = None


class SaslClientExchange:
    """One authentication: `first` starts it, `answer` responds to each challenge."""

    __slots__ = ("_challenges_left", "_mechanism", "name")

    def __init__(
        self, offered: set[str], credentials: Credentials, channel: Channel, only: str | None
    ) -> None:
        self.name = choose(offered, credentials, channel, only)
        self._mechanism = _mechanism(self.name, offered, credentials, channel)
        self._challenges_left = 0 if self.name in _ONE_STEP else _CHALLENGES_MAX

    def first(self) -> str:
        """Return the initial response in base 64: "=" if it is empty, "" if there is none."""
        if self.name == "DIGEST-MD5":
            return ""
        return _encoded(self._step(None)) or "="

    def answer(self, challenge: Element) -> str:
        """Return the response to a challenge. Raises AuthenticationError if it is invalid."""
        self._challenges_left -= 1
        if self._challenges_left < 0:
            raise AuthenticationError("incorrect-challenge", f"too many challenges for {self.name}")
        return _encoded(self._step(challenge.text))

    def finish(self, success: Element) -> None:
        """Verify the server's proof. Raises AuthenticationError if it is wrong."""
        if success.text and self.name not in _ONE_STEP:
            self._step(success.text)

    def _step(self, challenge: str | None) -> bytes | None:
        try:
            answer: bytes | None = self._mechanism.process(
                b64decode((challenge or "").strip(), validate=True)
            )
        except sasl.SASLMutualAuthFailed:
            raise AuthenticationError("mutual-authentication-failed") from None
        except _FAILURES as error:
            said = str(getattr(error, "message", error))
            raise AuthenticationError("incorrect-challenge", said) from None
        return answer


def choose(offered: set[str], credentials: Credentials, channel: Channel, only: str | None) -> str:
    """Return the strongest of the `offered` mechanisms, or `only` if it is given."""
    if only is not None:
        if only not in SUPPORTED:
            known = ", ".join(sorted(SUPPORTED, key=MECH_SEC_SCORES.__getitem__, reverse=True))
            raise UsageError(f"sasl={only!r} is not known: {known}")
        if only not in offered:
            raise AuthenticationError(
                "no-mechanism", f"{only} is not among {', '.join(sorted(offered)) or 'none'}"
            )
        return only
    possible = [name for name in offered & SUPPORTED if _usable(name, credentials, channel)]
    if not possible:
        raise AuthenticationError(
            "no-mechanism", f"none fits among {', '.join(sorted(offered)) or 'none'}"
        )
    return max(possible, key=MECH_SEC_SCORES.__getitem__)


def _usable(name: str, credentials: Credentials, channel: Channel) -> bool:
    if credentials.username is None:
        return name == "ANONYMOUS"
    if name == "EXTERNAL":
        return credentials.certificate
    if name.endswith("-PLUS"):
        return channel.binding is not None
    return name != "ANONYMOUS"


class _Scram(SCRAM):
    def Hi(self, text: Any, salt: bytes, iterations: int) -> bytes:  # noqa: N802  # RFC 5802's name
        return _salted_password(self.hash_name, bytes(text), salt, iterations)


@lru_cache(maxsize=100_000)
def _salted_password(algorithm: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)


def _mechanism(name: str, offered: set[str], credentials: Credentials, channel: Channel) -> Any:
    fields = {
        "username": _prepared(credentials.username or ""),
        "password": _prepared(credentials.password),
        "authzid": b"",
        "channel_binding": channel.binding if name.endswith("-PLUS") else b"",
        "realm": credentials.domain.encode(),
        "service": b"xmpp",
        "host": credentials.domain.encode(),
        "service-name": credentials.domain.encode(),
    }
    security = {
        "encrypted": True,  # the server's `tls` decides whether a password may go unencrypted
        "encrypted_plain": True,
        "tls_version": channel.tls,
        "binding_proposed": any(one.endswith("-PLUS") for one in offered),
    }
    mechanism = _Scram if name.startswith("SCRAM-") else MECHANISMS[name]
    try:
        return mechanism(name, fields, security)
    except sasl.SASLCancelled as error:
        raise AuthenticationError("no-mechanism", f"{name}: {error.message}") from None


@lru_cache(maxsize=10_000)
def _prepared(text: str) -> bytes:
    """Apply SASLprep (RFC 4013) to a name or a password."""
    if text.isascii() and text.isprintable():
        return text.encode()
    try:
        return saslprep(text).encode()  # type: ignore[no-any-return]
    except StringPrepError as error:
        raise UsageError(f"{text!r} is not a valid name or password (SASLprep): {error}") from None


def _encoded(answer: bytes | None) -> str:
    return b64encode(answer).decode() if answer else ""
