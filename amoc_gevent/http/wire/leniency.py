"""Response heads that break the grammar but have one meaning, rewritten as the grammar wants them.

RFC 9110 and 9112 allow a user agent each rewrite made here. A head that can be read in two ways
stays an error: that is how responses are smuggled.
"""

import re

from amoc_gevent import metrics

BARE_LINE_FEED = "bare line feed"
FOLDED_LINE = "folded line"
CONTROL_CHARACTER = "control character"
REPEATED_LENGTH = "repeated Content-Length"
LENGTH_AND_CODING = "Content-Length beside Transfer-Encoding"
IDENTITY_CODING = "transfer coding identity"
MINOR_VERSION = "version above HTTP/1.1"

_END = b"\r\n\r\n"
_ANY_END = re.compile(rb"\r?\n\r?\n")
_BARE = re.compile(rb"(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_FOLD = re.compile(rb"(?<![ \t])[ \t]*(?:\r\n[ \t]+)+")  # each blank is looked at once
_FRAMING = (b"content-length", b"transfer-encoding")
_IDENTITY = re.compile(  # it begins with characters, not (?i), so that it is searched fast
    rb"\n[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-(?i:encoding:[^\n]*\bidentity\b)"
)
_LATER_VERSION = re.compile(rb"HTTP/1\.[2-9]")


def misread(head: bytes) -> bool:
    """Return whether a strict parser accepts a head, but not in the sense of RFC 9112, 6.1."""
    return _IDENTITY.search(head) is not None


def cut(data: bytes, searched: int = 0) -> tuple[bytes, int] | None:
    """Return data with the lines of its head ended by CR LF, and the head's end.

    Return None while the head is incomplete. `searched`: bytes known to be before its end. A change
    is counted.
    """
    found = _ANY_END.search(data, searched)
    if found is None:
        return None
    head = data[: found.start()]
    if found[0] == _END and not _BARE.search(head):
        return data, len(head)
    count([BARE_LINE_FEED])
    head = _BARE.sub(b"\r\n", head)
    return head + _END + data[found.end() :], len(head)


def rewritten(head: bytes) -> tuple[bytes, list[str]]:
    """Return a head as the grammar wants it, and the rules that it broke.

    A head that is invalid for other reasons, or that contradicts itself, stays so.
    """
    broken: list[str] = []
    status, line_end, fields = head.partition(b"\r\n")
    if _LATER_VERSION.match(status):
        status = b"HTTP/1.1" + status[8:]
        broken.append(MINOR_VERSION)
    if _FOLD.search(fields):
        fields = _FOLD.sub(b" ", fields)
        broken.append(FOLDED_LINE)
    head = status + line_end + fields
    if _CONTROL.search(head):
        head = _CONTROL.sub(b" ", head)
        broken.append(CONTROL_CHARACTER)
    return _framed_once(head, broken), broken


def count(broken: list[str]) -> None:
    """Count a head for each rule that it broke, as "http lenient: RULE"."""
    for rule in broken:
        metrics.counter(f"http lenient: {rule}").add()


def _framed_once(head: bytes, broken: list[str]) -> bytes:
    """Leave one field that says where the body ends, if all of them agree (RFC 9112, 6.3)."""
    status, *lines = head.split(b"\r\n")
    lengths = _values(lines, b"content-length")
    codings = _values(lines, b"transfer-encoding")
    if len(set(lengths)) > 1 or not all(map(bytes.isdigit, lengths)):
        return head
    kept = [coding for coding in codings if coding != b"identity"]
    if kept != codings:
        broken.append(IDENTITY_CODING)
    if codings and lengths:
        broken.append(LENGTH_AND_CODING)
    elif len(lengths) > 1:
        broken.append(REPEATED_LENGTH)
    framing = []
    if kept:
        framing.append(b"Transfer-Encoding: " + b", ".join(kept))
    elif lengths:
        framing.append(b"Content-Length: " + lengths[0])
    others = [line for line in lines if _name(line) not in _FRAMING]
    return b"\r\n".join([status, *others, *framing])


def _values(lines: list[bytes], name: bytes) -> list[bytes]:
    """Return the members of all fields called `name`, in lower case."""
    fields = [line.partition(b":")[2] for line in lines if _name(line) == name]
    return [value.strip(b" \t").lower() for field in fields for value in field.split(b",")]


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()
