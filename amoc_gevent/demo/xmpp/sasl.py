"""The server's side of SASL: PLAIN (RFC 4616), SCRAM-SHA-1 (RFC 5802), SCRAM-SHA-256 (RFC 7677)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import lru_cache

from amoc_gevent.errors import AmocError

ITERATIONS = 4096
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")
HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
KEYS_MAX = 100_000

PasswordOf = Callable[[str], str | None]

_SALT_KEY = secrets.token_bytes(16)


class SaslError(AmocError):
    """The exchange failed. The message is a defined condition (RFC 6120, 6.5)."""


class SaslExchange:
    """One client's authentication. `step` takes a response and returns the next challenge.

    After success `done` is true, `user` is set, and the last answer goes into <success/>.
    Raises SaslError for a mechanism that is not offered.
    """

    def __init__(self, mechanism: str, password_of: PasswordOf) -> None:
        if mechanism not in MECHANISMS:
            raise SaslError("invalid-mechanism")
        self._mechanism = mechanism
        self._password_of = password_of
        self._first = ""
        self._server_first = ""
        self._gs2 = ""
        self.user = ""
        self.done = False

    def step(self, text: str) -> str:
        """Return the answer to `text`, both in base64. Raises SaslError if authentication fails.

        "=" means no initial response; the answer is then an empty challenge.
        """
        if text == "=":
            return ""
        try:
            data = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise SaslError("incorrect-encoding") from None
        try:
            if self._mechanism == "PLAIN":
                answer = self._plain(data)
            elif self._server_first:
                answer = self._scram_final(data)
            else:
                answer = self._scram_first(data)
        except (ValueError, LookupError):
            raise SaslError("malformed-request") from None
        return base64.b64encode(answer.encode()).decode()

    def _plain(self, data: str) -> str:
        _, user, password = data.split("\0")
        if not password or self._password_of(user) != password:
            raise SaslError("not-authorized")
        self.user, self.done = user, True
        return ""

    def _scram_first(self, data: str) -> str:
        flag, authorization, self._first = data.split(",", 2)
        if flag[:1] == "p":
            raise SaslError("malformed-request")  # channel binding is not offered
        self._gs2 = f"{flag},{authorization},"
        fields = _fields(self._first)
        self.user = fields["n"].replace("=2C", ",").replace("=3D", "=")
        salt = hmac.digest(_SALT_KEY, self.user.encode(), "sha256")[:16]
        nonce = fields["r"] + secrets.token_urlsafe(18)
        salted = base64.b64encode(salt).decode()
        self._server_first = f"r={nonce},s={salted},i={ITERATIONS}"
        return self._server_first

    def _scram_final(self, data: str) -> str:
        fields, offered = _fields(data), _fields(self._server_first)
        password = self._password_of(self.user)
        if fields["r"] != offered["r"] or base64.b64decode(fields["c"]) != self._gs2.encode():
            raise SaslError("malformed-request")
        if password is None:
            raise SaslError("not-authorized")
        name = HASHES[self._mechanism]
        stored, server = _keys(name, password, base64.b64decode(offered["s"]))
        without_proof = data.rpartition(",p=")[0]
        message = f"{self._first},{self._server_first},{without_proof}".encode()
        signature = hmac.digest(stored, message, name)
        proof = base64.b64decode(fields["p"])
        key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(name, key).digest(), stored):
            raise SaslError("not-authorized")
        self.done = True
        return "v=" + base64.b64encode(hmac.digest(server, message, name)).decode()


def _fields(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name: value for name, _, value in pairs}


@lru_cache(KEYS_MAX)
def _keys(name: str, password: str, salt: bytes) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey. The cache saves the derivation when a user logs in again."""
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, ITERATIONS)
    client = hmac.digest(salted, b"Client Key", name)
    return hashlib.new(name, client).digest(), hmac.digest(salted, b"Server Key", name)
