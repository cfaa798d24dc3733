"""Archives (MAM, XEP-0313): the messages of a user or a room, page by page.

>>> for archived in xmpp.mam.messages(client, with_="user_2@localhost", page=50):
...     print(archived.stamp, archived.message.body)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree.ElementTree import Element

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.names import DELAY, FORWARD, MAM, MESSAGE_TAG, RSM
from amoc_gevent.xmpp.stanzas import forms
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped
from amoc_gevent.xmpp.tracking import bare

PAGE = 50
"""Messages per request. Servers send at most 50 to 250."""

_RESULT_TAG = f"{{{MAM}}}result"
_FIN_TAG = f"{{{MAM}}}fin"
_FORWARDED = f"{{{FORWARD}}}forwarded"
_DELAY = f"{{{DELAY}}}delay"
_SET = f"{{{RSM}}}set"


@dataclass(frozen=True, slots=True)
class Archived:
    """An archived message with its archive id and the time it was stored (UTC, XEP-0082)."""

    id: str
    stamp: str
    message: Stanza


@dataclass(frozen=True, slots=True)
class Page:
    """The messages of one request, oldest first.

    `first` and `last` are the archive ids of the first and last message. `count` is the total, or
    None if the server does not tell. `complete` is true if nothing follows in this direction.
    """

    messages: tuple[Archived, ...]
    first: str | None
    last: str | None
    count: int | None
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Selects messages: from the room `of` (default: the user's archive), `with_` a JID, by time.

    `start` and `end` are inclusive: datetimes with a time zone, or XEP-0082 strings.
    """

    of: str | None = None
    with_: str | None = None
    start: datetime | str | None = None
    end: datetime | str | None = None
    _form: str = field(init=False, default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        values: dict[str, forms.Value] = {
            name: value if isinstance(value, str) else _stamp(value)
            for name, value in (("with", self.with_), ("start", self.start), ("end", self.end))
            if value is not None
        }
        object.__setattr__(self, "_form", forms.submission(MAM, values) if values else "")

    @property
    def form(self) -> str:
        """The filter as a form; empty if nothing is filtered."""
        return self._form


def page(
    client: Client,
    which: Filter | None = None,
    *,
    size: int = PAGE,
    after: str | None = None,
    before: str | None = None,
    timeout: float | None = None,
) -> Page:
    """Return the page after the id `after`, or before the id `before`.

    before="" is the last page. The operation "mam page" lasts from the request to the arrival of
    its final answer. Raises XmppError "item-not-found" if the archive does not have the id.
    """
    chosen = which or Filter()
    key = client.new_id()
    paging = f"<max>{size}</max>"
    paging += "" if after is None else f"<after>{escaped(after)}</after>"
    paging += "" if before is None else f"<before>{escaped(before)}</before>"
    source = chosen.of or client.bare

    def result(stanza: Stanza) -> bool:
        if stanza.tag != MESSAGE_TAG or not len(stanza):
            return False
        return (
            any(one.tag == _RESULT_TAG and one.get("queryid") == key for one in stanza)
            and bare(stanza.sender or client.bare) == source
        )  # only the archive itself may send results (XEP-0313 8)

    with client.collecting(result) as found:
        answer = client.iq(
            f"<query xmlns='{MAM}' queryid='{key}'>{chosen.form}<set xmlns='{RSM}'>{paging}</set>"
            "</query>",
            to=chosen.of,
            type="set",
            timeout=timeout,
            name="mam page",
        )
    return _page([_archived(stanza) for stanza in found], answer)


def pages(
    client: Client,
    which: Filter | None = None,
    *,
    size: int = PAGE,
    newest_first: bool = False,
    timeout: float | None = None,
) -> Iterator[Page]:
    """Yield all pages, from the oldest forwards or from the newest backwards."""
    after: str | None = None
    before: str | None = "" if newest_first else None
    while True:
        found = page(client, which, size=size, after=after, before=before, timeout=timeout)
        if found.messages:
            yield found
        if found.complete or not found.messages:
            return
        if newest_first:
            before = found.first
        else:
            after = found.last


def messages(
    client: Client,
    *,
    of: str | None = None,
    with_: str | None = None,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    page: int = PAGE,
    timeout: float | None = None,
) -> Iterator[Archived]:
    """Yield the archived messages that a Filter selects, oldest first, fetched page by page."""
    which = Filter(of=of, with_=with_, start=start, end=end)
    for one in pages(client, which, size=page, timeout=timeout):
        yield from one.messages


def _page(found: list[Archived], answer: Element) -> Page:
    fin = answer.find(_FIN_TAG)
    told = None if fin is None else fin.find(_SET)
    texts = {one.tag.rpartition("}")[2]: one.text for one in told} if told is not None else {}
    count = texts.get("count")
    return Page(
        tuple(found),
        texts.get("first") or (found[0].id if found else None),
        texts.get("last") or (found[-1].id if found else None),
        int(count) if count else None,
        fin is not None and fin.get("complete") in {"true", "1"},
    )


def _archived(stanza: Stanza) -> Archived:
    """Return the archived message in a result."""
    for result in stanza.iter(_RESULT_TAG):
        forwarded = result.find(_FORWARDED)
        inner = None if forwarded is None else forwarded.find(MESSAGE_TAG)
        if forwarded is not None and inner is not None:
            delay = forwarded.find(_DELAY)
            stamp = "" if delay is None else delay.get("stamp", "")
            return Archived(result.get("id", ""), stamp, Stanza.of(inner, stanza.received_at))
    return Archived("", "", stanza)


def _stamp(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise UsageError(f"{moment!r} has no time zone: give the datetime a tzinfo")
    return moment.isoformat()
