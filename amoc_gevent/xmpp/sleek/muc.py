"""SleekXMPP's methods for multi-user chat (XEP-0045) that differ from slixmpp's."""

# slixmpp's functions are partly untyped:
# mypy: disallow-untyped-calls=False

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from slixmpp import JID
from slixmpp.exceptions import IqError, IqTimeout, PresenceError

from amoc_gevent import metrics
from amoc_gevent.xmpp.sleek import loop, recording
from amoc_gevent.xmpp.sleek.wrappers import override

if TYPE_CHECKING:
    from amoc_gevent.xmpp.sleek.handling import EventHandling

log = logging.getLogger("sleekxmpp.plugins.xep_0045")


@override("xep_0045", "joinMUC")
def _join(
    stream: Any,
    plugin: Any,
    room: str,
    nick: str,
    maxhistory: str | int = "0",
    password: str = "",
    wait: bool = False,
    pstatus: str | None = None,
    pshow: str | None = None,
    pfrom: str | None = None,
) -> None:
    """Join a room. With `wait`, return when the room has accepted or refused the join.

    As in SleekXMPP, a refusal raises nothing. It is logged and recorded.
    """
    presence = {"pstatus": pstatus or None, "pshow": pshow or None, "pfrom": pfrom or None}

    async def join() -> None:
        joined = plugin.join_muc_wait(
            JID(room),
            nick,
            password=password or None,
            maxstanzas=int(maxhistory),
            presence_options=presence,
            timeout=stream.response_timeout,
        )
        with metrics.operation(recording.JOIN) as joining:
            try:
                await _unless_refused(stream, room, joined)
            except (PresenceError, TimeoutError) as error:
                kind = recording.kind_of(error)
                joining.fail(kind)
                log.warning("Could not join %s: %s", room, kind)

    stream.sleek_result(asyncio.ensure_future(join(), loop=loop.get()), wait)


async def _unless_refused(stream: "EventHandling", room: str, joined: Any) -> None:
    """Await `joined`. Raises PresenceError if the room refuses.

    slixmpp recognizes a refusal only if it repeats the request, and Prosody's does not.
    """
    refused: asyncio.Future[None] = loop.get().create_future()

    def on_error(presence: Any) -> None:
        if presence["from"].bare == room and not refused.done():
            refused.set_exception(PresenceError(presence))

    joining = asyncio.ensure_future(joined)
    with stream.event_handler("presence_error", on_error):
        done, _ = await asyncio.wait({joining, refused}, return_when=asyncio.FIRST_COMPLETED)
    for one in (joining, refused):
        if one not in done:
            one.cancel()
    for one in done:
        one.result()


@override("xep_0045", "setAffiliation")
def _set_affiliation(
    stream: "EventHandling",
    plugin: Any,
    room: str,
    jid: str | None = None,
    nick: str | None = None,
    affiliation: str = "member",
    ifrom: str | None = None,
) -> bool:
    """Set an affiliation in a room; return whether the room accepted it."""
    asked = plugin.set_affiliation(
        JID(room), affiliation, jid=jid and JID(jid), nick=nick, ifrom=ifrom
    )
    return _agreed(stream, asked)


@override("xep_0045", "configureRoom")
def _configure_room(
    stream: "EventHandling", plugin: Any, room: str, form: Any = None, ifrom: str | None = None
) -> bool:
    """Submit a room's form, by default the one it offers; return whether it accepted."""

    async def configure() -> None:
        config = form if form is not None else await plugin.get_room_config(room, ifrom=ifrom)
        config["type"] = "submit"
        await plugin.set_room_config(room, config, ifrom=ifrom)

    return _agreed(stream, configure())


def _agreed(stream: "EventHandling", asked: Any) -> bool:
    try:
        stream.sleek_result(asyncio.ensure_future(asked, loop=loop.get()))
    except (IqError, IqTimeout):
        return False
    return True
