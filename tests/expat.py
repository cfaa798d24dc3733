"""Tells what expat leaves unread: on any Python, a token that it was given in part."""

from xml.etree.ElementTree import XMLParser
from xml.parsers import expat


class Watch:
    """Is given all that some parser is given; `unread` is what it could not read yet, in bytes."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate("utf-8")
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)
        self._given = 0

    def feed(self, data: bytes) -> None:
        self._given += len(data)
        self._parser.Parse(data, False)

    @property
    def unread(self) -> int:
        return self._given - max(self._parser.CurrentByteIndex, 0)  # -1 before anything came


def unread(data: bytes) -> int:
    """How much of `data` expat leaves unread that is given it at once."""
    watch = Watch()
    watch.feed(data)
    return watch.unread


class WatchedParser:
    """ElementTree's parser, which must never be left with a part of a token."""

    def __init__(self, **options: object) -> None:
        self._parser = XMLParser(**options)
        self._watch = Watch()
        self._setevents = self._parser._setevents

    def feed(self, data: bytes) -> None:
        self._parser.feed(data)
        self._watch.feed(data)
        assert not self._watch.unread, data[-self._watch.unread :]
