"""Turns a scenario's match for stanzas into a predicate."""

from collections.abc import Callable
from functools import cache

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.names import IQ_TAG, MESSAGE_TAG, PRESENCE_TAG
from amoc_gevent.xmpp.stanzas.stanza import Stanza
from amoc_gevent.xmpp.stanzas.waits import Match

Matching = str | Callable[[Stanza], bool]

_TAGS = {"message": MESSAGE_TAG, "presence": PRESENCE_TAG, "iq": IQ_TAG}


def compiled(match: Matching) -> Match:
    """Return the predicate for `match`: a name, a child's "{namespace}name", or a function.

    Raises UsageError for anything else.
    """
    return _named(match) if isinstance(match, str) else match


@cache
def _named(match: str) -> Match:
    tag = _TAGS.get(match)
    if tag is not None:
        return lambda stanza: stanza.tag == tag
    if not match.startswith("{"):
        raise UsageError(
            f"match={match!r}: message, presence, iq, {{namespace}}child or a function"
        )
    return lambda stanza: any(child.tag == match for child in stanza)
