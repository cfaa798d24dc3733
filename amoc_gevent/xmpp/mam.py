"""Archives (MAM, XEP-0313): pages of a user's or a room's messages, one request for each.

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
"""Messages that one request asks for; servers send 50 to 250 at most."""

_RESULT_TAG = f"{{{MAM}}}result"
_FIN_TAG = f"{{{MAM}}}fin"
_FORWARDED = f"{{{FORWARD}}}forwarded"
_DELAY = f"{{{DELAY}}}delay"
_SET = f"{{{RSM}}}set"


@dataclass(frozen=True, slots=True)
class Archived:
    """A message of an archive: its id there, when it was stored (UTC, XEP-0082), and itself."""

    id: str
    stamp: str
    message: Stanza


@dataclass(frozen=True, slots=True)
class Page:
    """What one request brought, oldest first.

    `first` and `last` are the ids between which it lies, `count` is how many there are in all,
    None where the server does not say, `complete` is whether nothing follows in this direction.
    """

    messages: tuple[Archived, ...]
    first: str | None
    last: str | None
    count: int | None
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which messages: of a room, `of` (else the user's own archive), `with_` whom, from when on.

    `start` and `end` are included: datetimes with a zone, or texts as XEP-0082 has them.
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
        """The filter as a form; empty where there is nothing to filter."""
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
    """Return the messages after the id `after`, or those before the id `before`.

    before="" is the last page. The operation is "mam page", from the request to the arrival of its
    last answer. Raises XmppError, "item-not-found" for an id that the archive does not have.
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
        )  # nobody else may say so (XEP-0313 8)

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
    """Ask for page after page, from the oldest on or from the newest back, until there is none."""
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
    """Return the archived messages that a Filter would name, oldest first, page by page."""
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
    """Return what a server's message carries."""
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
        raise UsageError(f"{moment!r} has no time zone, which an archive needs to know")
    return moment.isoformat()
