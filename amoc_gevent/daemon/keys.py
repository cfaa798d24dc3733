"""The keys of a home: its own key pair, the allowed machines and the trusted master.

Keys are CURVE keys (curve25519) of 40 Z85 characters (ZeroMQ RFC 32), one per file under `keys/`:
`own.public`, `own.secret` (mode 0600), `master.public`, `allowed/NAME.public`.
"""

import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError

THIS_MACHINE = "this machine"
"""The name of a home's own key among the allowed ones: its node may join its master."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WITH_PORT = re.compile(r"(\[.*\]|[^:]*):\d*")
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
KEY_CHARACTERS = 40


def own_keypair(home: Home) -> tuple[bytes, bytes] | None:
    """Return this home's (public, secret) key pair in Z85; None if it has none."""
    public, secret = home.keys / "own.public", home.keys / "own.secret"
    if not secret.exists():
        return None
    if secret.stat().st_mode & 0o077:
        raise AmocError(f"{secret} can be read by others: chmod 600 it, or make a new one")
    return _read(public), _read(secret)


def allowed(home: Home, on_invalid: Callable[[str], object] = str) -> dict[str, str]:
    """Return the names of the machines that may join this home's master, by public key (Z85).

    The home's own key is among them. A file without a valid key allows nobody: `on_invalid` gets a
    line about it.
    """
    found = {}
    for path in sorted((home.keys / "allowed").glob("*.public")):
        try:
            found[_read(path).decode()] = path.stem
        except AmocError as error:
            on_invalid(f"{error}; nobody joins with it")
    own = home.keys / "own.public"
    return {_read(own).decode(): THIS_MACHINE, **found} if own.exists() else found


def master_key(home: Home) -> bytes | None:
    """Return the public key (Z85) of the master that this home's node trusts, if any."""
    path = home.keys / "master.public"
    return _read(path) if path.exists() else None


def make(home: Home) -> bytes:
    """Make this home's key pair and return the public key. Raises AmocError if it has one."""
    import zmq  # noqa: PLC0415  # slow to import, and not needed to list keys

    secret = home.keys / "own.secret"
    if secret.exists():
        raise AmocError(f"{secret} exists: remove it first, and give all machines the new key")
    public_key, secret_key = zmq.curve_keypair()
    while public_key.startswith(b"-"):  # it would look like an option on a command line
        public_key, secret_key = zmq.curve_keypair()
    _write(home, "own.secret", secret_key)
    _write(home, "own.public", public_key)
    return public_key


def allow(home: Home, name: str, key: str) -> None:
    """Allow machine `name` with this public key to join the master; replace its former key."""
    checked = _checked(key, "the public key")
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a machine name: use letters, digits, '.', '_' and '-'")
    for other, other_name in allowed(home).items():
        if other == checked.decode() and other_name != name:
            raise UsageError(f"{key} is the key of {other_name} already")
    _write(home, f"allowed/{name}.public", checked)


def revoke(home: Home, name: str) -> None:
    """Remove machine `name` from the allowed ones. Raises UsageError if it is not among them."""
    names = [found for found in allowed(home).values() if found != THIS_MACHINE]
    if name not in names:
        known = f"there are {', '.join(sorted(names))}" if names else "there is none"
        raise UsageError(f"no machine {name} is allowed; {known}")
    (home.keys / "allowed" / f"{name}.public").unlink()


def trust_master(home: Home, key: str) -> None:
    """Make this home's node join only the master with this public key."""
    _write(home, "master.public", _checked(key, "the public key"))


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, has only loopback addresses.

    Raises UsageError for an unknown name.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{host} is not an address: {reason}") from None
    return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)


def check_master(home: Home, host: str, *, insecure: bool) -> None:
    """Raise UsageError if a master would listen on `host` without keys."""
    if insecure or own_keypair(home) is not None:
        return
    if is_loopback(host):
        raise UsageError(
            f"--bind {host} without keys lets any user of this machine join and read the scenario: "
            "leave out --bind, and only the node of this home can join; or make keys with "
            "`amoc keys make`, or use --insecure"
        )
    raise UsageError(
        f"--bind {host} without keys lets anyone who reaches it join and read the scenario: "
        "make keys with `amoc keys make`, or use --insecure"
    )


def check_node(home: Home, host: str, *, insecure: bool) -> None:
    """Raise UsageError if a node would join a master at `host` without keys."""
    if WITH_PORT.fullmatch(host) or "/" in host:
        raise UsageError(f"--master {host}: HOST without port; use --port and --reports-port")
    own, master = own_keypair(home), master_key(home)
    # With keys, the name may still be unknown while the network comes up.
    if insecure or (own is not None and master is not None):
        return
    steps = [] if own is not None else ["`amoc keys make` here", "`amoc keys allow` on the master"]
    if master is None:
        steps.append("`amoc keys trust-master KEY` here with the master's public key")
    *before, last = steps
    missing = f"{', '.join(before)} and {last}" if before else last
    if is_loopback(host):
        missing = f"leave out --master to join the master of this home; or {missing}"
    raise UsageError(
        f"--master {host} without keys runs code from anyone who poses as it: "
        f"{missing}, or use --insecure"
    )


def _checked(text: str, what: str) -> bytes:
    """Return the 40 characters of a key, or raise UsageError."""
    stripped = text.strip()
    if len(stripped) != KEY_CHARACTERS or not _is_z85(stripped):
        raise UsageError(f"{what} is 40 characters of Z85, as `amoc keys` shows, not {text[:60]!r}")
    return stripped.encode()


def _is_z85(text: str) -> bool:
    """Return whether each group of five characters is a 32-bit number in base 85."""
    if not set(text) <= set(_Z85):
        return False
    for start in range(0, len(text), 5):
        value = 0
        for character in text[start : start + 5]:
            value = value * 85 + _Z85.index(character)
        if value >= 1 << 32:
            return False
    return True


def _read(path: Path) -> bytes:
    try:
        return _checked(path.read_text(errors="replace"), f"{path}: a key")
    except OSError as error:
        raise AmocError(f"{path} cannot be read: {error.strerror}") from error
    except UsageError as error:
        raise AmocError(str(error)) from error


def _write(home: Home, name: str, key: bytes) -> None:
    """Write a key atomically, readable only by its owner."""
    path = home.make().keys / name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(key + b"\n")
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise AmocError(f"{path} cannot be written: {error.strerror}") from error
