"""Graphite names of operations, counters and nodes: a dot separates parts, a space ends a path."""

import hashlib
import re

BYTES_MAX = 200
"""Bytes of one part of a path. It becomes a file name, which may have 255."""

_OTHERS = re.compile(r"[^\w-]+")


def component(name: str) -> str:
    """Return `name` as one part of a metric's path: letters, digits, `_` and `-`.

    Other characters become `_`; names that are then equal are counted together. A long name is cut
    and ends with a part of its SHA-256.
    """
    found = _OTHERS.sub("_", name).strip("_") or "_"
    encoded = found.encode(errors="replace")
    if len(encoded) <= BYTES_MAX:
        return encoded.decode()
    mark = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{encoded[: BYTES_MAX - 9].decode(errors='ignore')}_{mark}"


def is_prefix(text: str) -> bool:
    """Return whether `text` is a valid prefix: parts as above, separated by dots."""
    return all(part and component(part) == part for part in text.split("."))
