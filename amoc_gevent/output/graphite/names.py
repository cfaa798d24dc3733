"""How operations, counters and nodes are called in Graphite, whose dots divide and spaces end."""

import hashlib
import re

BYTES_MAX = 200
"""Bytes of one part of a path: it becomes a file's name, which may have 255."""

_OTHERS = re.compile(r"[^\w-]+")


def component(name: str) -> str:
    """Return `name` as one part of a metric's path: letters, digits, `_` and `-`.

    What else there is becomes `_`; names that are the same then are counted together. A long name
    is cut and ends with a mark of its own.
    """
    found = _OTHERS.sub("_", name).strip("_") or "_"
    encoded = found.encode(errors="replace")
    if len(encoded) <= BYTES_MAX:
        return encoded.decode()
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{encoded[: BYTES_MAX - 9].decode(errors='ignore')}_{mark}"


def is_prefix(text: str) -> bool:
    """Say whether `text` can stand before all names: parts as above, divided by dots."""
    return all(part and component(part) == part for part in text.split("."))
