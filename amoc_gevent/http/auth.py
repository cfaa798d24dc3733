"""Basic and Digest authentication (RFC 7617, RFC 7616)."""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amoc_gevent.errors import UsageError

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')

_QUOTABLE, _ESCAPED = re.compile(r'(["\\])'), r"\\\1"

_HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
    "SHA-512": hashlib.sha512,
    "SHA": lambda data: hashlib.sha1(data, usedforsecurity=False),
}


@dataclass(frozen=True, slots=True)
class HTTPBasicAuth:
    """Basic authentication, in each request. `auth=(name, password)` is the short form."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Basic {b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


@dataclass(slots=True)
class HTTPDigestAuth:
    """Digest authentication. The object stores the server's challenge.

    Use one object for each user: it counts the uses of a nonce. The 401 response with the challenge
    is recorded as a separate operation, "NAME (challenge)", and is not an error.
    """

    username: str
    password: str = field(repr=False)
    _challenge: dict[str, str] = field(default_factory=dict, repr=False)
    _uses: int = field(default=0, repr=False)

    def accept(self, challenges: list[str]) -> bool:
        """Store the digest challenge of a 401; return false if none is supported.

        `challenges` are the values of its WWW-Authenticate fields.
        """
        for challenge in challenges:
            scheme, _, rest = challenge.strip().partition(" ")
            offered = {k.lower(): q or t for k, q, t in _PARAMETER.findall(rest)}
            if scheme.lower() == "digest" and "nonce" in offered and _hash_of(offered):
                self._challenge, self._uses = offered, 0
                return True
        return False

    def header(self, method: str, target: str) -> str | None:
        """Return the value of the Authorization header; None before the first challenge."""
        challenge = self._challenge
        made = _hash_of(challenge)
        if not challenge or made is None:
            return None

        def digest(text: str) -> str:
            return made(text.encode()).hexdigest()

        self._uses += 1
        realm, nonce = challenge.get("realm", ""), challenge["nonce"]
        count, ours = f"{self._uses:08x}", secrets.token_hex(8)
        first = digest(f"{self.username}:{realm}:{self.password}")
        if challenge.get("algorithm", "").upper().endswith("-SESS"):
            first = digest(f"{first}:{nonce}:{ours}")
        second = digest(f"{method}:{target}")
        qop = "auth" in [q.strip() for q in challenge.get("qop", "").split(",")]
        middle = f"{nonce}:{count}:{ours}:auth" if qop else nonce
        parts = [
            f'username="{_QUOTABLE.sub(_ESCAPED, self.username)}"',
            f'realm="{realm}"',
            f'nonce="{nonce}"',
            f'uri="{target}"',
            f'response="{digest(f"{first}:{middle}:{second}")}"',
        ]
        parts += [f'opaque="{challenge["opaque"]}"'] if "opaque" in challenge else []
        parts += [f'algorithm="{challenge["algorithm"]}"'] if "algorithm" in challenge else []
        parts += [f'qop="auth", nc={count}, cnonce="{ours}"'] if qop else []
        return f"Digest {', '.join(parts)}"


Auth = tuple[str, str] | HTTPBasicAuth | HTTPDigestAuth | None

_OF_REQUESTS: dict[str, type[HTTPBasicAuth | HTTPDigestAuth]] = {
    "requests.auth.HTTPBasicAuth": HTTPBasicAuth,
    "requests.auth.HTTPDigestAuth": HTTPDigestAuth,
}


def read(given: Any) -> HTTPBasicAuth | HTTPDigestAuth | None:  # rejects other types
    """Convert an `auth=` argument.

    It may be None, (name, password), an object of this module, or one of requests. Objects of
    requests are converted without their challenge. Raises UsageError for anything else.
    """
    if given is None or isinstance(given, HTTPBasicAuth | HTTPDigestAuth):
        return given
    kind = type(given)
    made = _OF_REQUESTS.get(f"{kind.__module__}.{kind.__qualname__}")
    if made is not None:
        return made(given.username, given.password)
    if isinstance(given, tuple | list) and len(given) == 2:
        return HTTPBasicAuth(*given)
    raise UsageError(
        "auth= takes (name, password), or HTTPBasicAuth or HTTPDigestAuth of this package or "
        f"requests, not {kind.__name__}"
    )


def _hash_of(challenge: dict[str, str]) -> "Callable[[bytes], hashlib._Hash] | None":
    return _HASHES.get(challenge.get("algorithm", "MD5").upper().removesuffix("-SESS"))
