"""Rooms (MUC, XEP-0045): join, create, configure, talk and leave, as timed operations.

>>> room = xmpp.muc.join(client, "tea@conference.localhost", "ann")
>>> room.say("hello")
>>> print(room.occupants, client.wait_for(room.said, timeout=5).body)
>>> room.leave()
"""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from amoc_gevent import clock
from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.errors import XmppError
from amoc_gevent.xmpp.names import (
    MESSAGE_TAG,
    MUC,
    MUC_CONFIG,
    MUC_OWNER,
    MUC_USER,
    PRESENCE_TAG,
)
from amoc_gevent.xmpp.recording import Step
from amoc_gevent.xmpp.retrying import pause_or_raise
from amoc_gevent.xmpp.stanzas import forms
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped

_STATUS_TAG = f"{{{MUC_USER}}}x/{{{MUC_USER}}}status"
_SELF, _CREATED = "110", "201"
_LOCKED = "item-not-found"  # XEP-0045 10.1.2

Config = Mapping[str, forms.Value]
"""Fields of a room's configuration, such as {"muc#roomconfig_membersonly": True}."""


class Room:
    """A room that a client has joined. `nick` is the nick that the room assigned.

    `occupants` holds the nicks of all occupants, the user's own included, as reported by the room.
    `new` is true if this client created the room, `inside` until it leaves or is removed. Messages
    in the room reach the inbox, handlers and `wait_for` like any other.
    """

    __slots__ = ("_client", "_prefix", "inside", "jid", "new", "nick", "occupants")

    def __init__(self, client: Client, jid: str, nick: str) -> None:
        if not nick or "@" not in jid or "/" in jid:
            raise UsageError(
                f"room {jid!r}, nick {nick!r}: a room is name@service, a nick is not empty"
            )
        self._client = client
        self.jid = jid.lower()
        self._prefix = f"{self.jid}/"
        self.nick = nick
        self.occupants: set[str] = set()
        self.new = False
        self.inside = False

    def said(self, stanza: Stanza) -> bool:
        """Match messages in the room, except its subject; for `wait_for` and `on`."""
        return (
            stanza.tag == MESSAGE_TAG
            and stanza.type == "groupchat"
            and stanza.body is not None
            and (stanza.sender or "").startswith(self._prefix)
        )

    def send(self, body: str, *, tracked: bool = False, extra: str = "") -> None:
        """Send a message and return. If `tracked`, its delivery to each occupant is tracked."""
        if tracked:
            self._client.send_tracked(self.jid, body, type="groupchat", extra=extra)
        else:
            self._client.send_message(self.jid, body, type="groupchat", extra=extra)

    def say(self, body: str, *, timeout: float | None = None) -> Stanza:
        """Send a message; return the copy that the room sends back.

        The operation is "muc message". Raises XmppError, "not-acceptable" if the user is not in
        the room.
        """
        key = self._client.new_id()

        def heard(stanza: Stanza) -> bool:
            return (
                stanza.tag == MESSAGE_TAG
                and stanza.id == key
                and (stanza.sender or "").partition("/")[0] == self.jid
            )

        message = (
            f"<message to='{escaped(self.jid)}' type='groupchat' id='{key}'>"
            f"<body>{escaped(body)}</body></message>"
        )
        return self._client.exchange(message, heard, name="muc message", timeout=timeout)

    def configure(self, config: Config | None = None, *, timeout: float | None = None) -> None:
        """Configure the user's own room. None accepts the defaults (and unlocks the room)."""
        form = forms.submission() if config is None else forms.submission(MUC_CONFIG, config)
        self._owner_request(form, "set", "muc configure", timeout)

    def configuration(self, *, timeout: float | None = None) -> dict[str, list[str]]:
        """Return the configuration of the user's own room: the values of each field."""
        return forms.filled(self._owner_request("", "get", "muc configuration", timeout))

    def destroy(self, reason: str = "", *, timeout: float | None = None) -> None:
        """Destroy the user's own room. The server notifies all occupants."""
        text = f"<reason>{escaped(reason)}</reason>" if reason else ""
        self._owner_request(f"<destroy>{text}</destroy>", "set", "muc destroy", timeout)
        self._mark_left()

    def leave(self, *, timeout: float | None = None) -> None:
        """Leave the room; return when the room confirms it. The operation is "muc leave"."""
        own = self._prefix + self.nick

        def left(stanza: Stanza) -> bool:
            gone = stanza.type in {"unavailable", "error"}
            return gone and stanza.tag == PRESENCE_TAG and stanza.sender == own

        request = f"<presence to='{escaped(own)}' type='unavailable'/>"
        self._client.exchange(request, left, name="muc leave", timeout=timeout)
        self._mark_left()

    def _owner_request(self, content: str, kind: str, name: str, timeout: float | None) -> Stanza:
        """Send a request that only the owner of the room may send."""
        query = f"<query xmlns='{MUC_OWNER}'>{content}</query>"
        return self._client.iq(query, to=self.jid, type=kind, timeout=timeout, name=name)

    def _enter(self, name: str, password: str | None, history: int, timeout: float | None) -> None:
        """Enter, as the operation `name`. Retry while the room is locked."""
        client = self._client
        secret = "" if password is None else f"<password>{escaped(password)}</password>"
        request = (
            f"<presence to='{escaped(self._prefix + self.nick)}'><x xmlns='{MUC}'>"
            f"<history maxstanzas='{history}'/>{secret}</x></presence>"
        )
        seconds = client.server.timeout if timeout is None else timeout
        deadline = clock.monotonic() + seconds
        client.watch(self._on_presence)
        try:
            with Step(name) as step:
                while True:
                    left = deadline - clock.monotonic()
                    try:
                        answer = client.exchange_in(step, request, self._is_join_answer, left)
                        break
                    except XmppError as error:
                        if error.condition != _LOCKED:
                            raise
                        pause_or_raise(error, deadline)
        except BaseException:
            self._mark_left()
            raise
        self.nick = (answer.sender or "").removeprefix(self._prefix)
        self.new = _CREATED in _statuses(answer)

    def _is_join_answer(self, stanza: Stanza) -> bool:
        """Match the answer to a join: the user's own presence, or an error."""
        return (
            stanza.tag == PRESENCE_TAG
            and (stanza.sender or "").partition("/")[0] == self.jid
            and (stanza.type == "error" or _SELF in _statuses(stanza))
        )

    def _on_presence(self, stanza: Stanza) -> None:
        """Update the occupants; called on the hub."""
        if stanza.tag != PRESENCE_TAG or not (stanza.sender or "").startswith(self._prefix):
            return
        nick = (stanza.sender or "").removeprefix(self._prefix)
        if stanza.type is None:
            self.occupants.add(nick)
            self.inside = self.inside or _SELF in _statuses(stanza)
        elif stanza.type == "unavailable":
            self.occupants.discard(nick)
            if nick == self.nick:
                self._mark_left()

    def _mark_left(self) -> None:
        self.inside = False
        self.occupants.clear()
        self._client.unwatch(self._on_presence)


def join(
    client: Client,
    room: str,
    nick: str,
    *,
    password: str | None = None,
    history: int = 0,
    timeout: float | None = None,
) -> Room:
    """Enter a room and create it if needed; return when the user's own presence arrives.

    `history` is how many earlier messages to request. The operation is "muc join". If this call
    creates the room, "muc configure" follows and unlocks it. Until then nobody else can enter, so
    others retry their join (XEP-0045 10.1). Raises XmppError: "not-authorized" without the right
    password, "conflict" if the nick is taken, "forbidden" if the user is banned,
    "registration-required" in a members-only room.
    """
    joined = Room(client, room, nick)
    joined._enter("muc join", password, history, timeout)
    if joined.new:
        joined.configure(timeout=timeout)
    return joined


def create(
    client: Client,
    room: str,
    nick: str,
    config: Config | None = None,
    *,
    timeout: float | None = None,
) -> Room:
    """Create a room as its owner and enter it. Without `config` it has the server's defaults.

    The operations are "muc create" and "muc configure". Raises XmppError "conflict" if the room
    exists (its occupants then see the user enter and leave).
    """
    made = Room(client, room, nick)
    made._enter("muc create", None, 0, timeout)
    if not made.new:
        made.leave(timeout=timeout)
        raise XmppError("conflict", text=f"{made.jid} exists already")
    made.configure(config, timeout=timeout)
    return made


def _statuses(presence: Element) -> set[str]:
    """Return the status codes in a room's presence."""
    return {status.get("code", "") for status in presence.iterfind(_STATUS_TAG)}
