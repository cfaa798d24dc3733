"""Clients with SleekXMPP's API chat in pairs: time of a login, a roster request and an answer.

Start from this scenario to reuse bots written for SleekXMPP. `xmpp.Client` is several times as
fast. User 1 answers user 2, 3 answers 4, and so on. `amoc demo xmpp` serves a target.
"""

from typing import Any

from gevent.event import Event
from gevent.queue import Empty, SimpleQueue

from amoc_gevent import metrics, settings, user, xmpp
from amoc_gevent.xmpp import sleek as sleekxmpp

accounts = xmpp.accounts.declare()
messages = settings.declare("messages", 10, "messages that each even user sends in an iteration")
pause = settings.declare(
    "pause", "1s", "pause between messages", type=settings.duration, update=True
)
said = metrics.counter("messages_said")
answered = metrics.counter("messages_answered")

BYE = "bye"
RESOURCE = "amoc"


class Chatter(sleekxmpp.ClientXMPP):
    """A bot in the style of SleekXMPP's examples. Bots with odd ids echo each message."""

    def __init__(self, user_id: int) -> None:
        sasl = settings.get("sasl").value or None
        super().__init__(str(jid_of(user_id)), accounts.password(user_id), sasl_mech=sasl)
        self.ca_certs = accounts.server.verify
        self.response_timeout = accounts.server.timeout
        self.auto_reconnect = False
        self.answers = user_id % 2 == 1
        self.neighbour = jid_of(user_id + 1 if self.answers else user_id - 1)
        self.present = Event()
        self.heard: SimpleQueue[str | None] = SimpleQueue()
        self.add_event_handler("session_start", self._begin)
        self.add_event_handler("presence_available", self._meet)
        self.add_event_handler("message", self._listen)
        self.add_event_handler("disconnected", self._end)

    def _begin(self, _event: object) -> None:
        self.get_roster()
        self.send_presence()
        self.send_presence(pto=self.neighbour)

    def _meet(self, presence: Any) -> None:
        if presence["from"] == self.neighbour and not self.present.is_set():
            self.present.set()
            self.send_presence(pto=self.neighbour)  # it was offline when we sent ours

    def _listen(self, message: Any) -> None:
        if message["type"] == "error":
            return
        self.heard.put(message["body"])
        if self.answers and message["body"] != BYE:
            message.reply(message["body"]).send()
            answered.add()

    def _end(self, _reason: object) -> None:
        self.present.set()
        self.heard.put(None)


def init() -> None:
    for name in ("source_address", "cert"):
        if settings.get(name).value:
            raise ValueError(f"{name} is for xmpp.Client only")


def start(user_id: int) -> None:
    chatter = Chatter(user_id)
    server = accounts.server
    direct = server.tls == "direct"
    address = (server.host, server.port or (5223 if direct else 5222)) if server.host else ()
    if not chatter.connect(address, reattempt=False, use_tls=server.tls != "none", use_ssl=direct):
        return  # the operation has recorded the error
    chatter.process(block=False)
    if chatter.present.wait(server.timeout):
        listen(chatter) if chatter.answers else talk(chatter)
    elif not chatter.answers:
        raise TimeoutError(f"{chatter.neighbour} did not come online to answer")
    chatter.disconnect(wait=True)


def talk(chatter: Chatter) -> None:
    """Send messages to the neighbour, each after the answer to the previous one."""
    for number in range(messages.value):
        if number:
            user.sleep(pause.value)
        body = f"message {number}"
        with metrics.operation("answer") as operation:
            chatter.send_message(mto=chatter.neighbour, mbody=body, mtype="chat")
            said.add()
            if hear(chatter) != body:
                operation.fail("no answer")
                return
    chatter.send_message(mto=chatter.neighbour, mbody=BYE, mtype="chat")


def listen(chatter: Chatter) -> None:
    """Stay until the neighbour says bye, or until no message arrives in time."""
    while hear(chatter) not in {BYE, None}:
        pass


def hear(chatter: Chatter) -> str | None:
    """Return the next message, or None if none arrives in time or the session has ended."""
    try:
        return chatter.heard.get(timeout=accounts.server.timeout + pause.value)
    except Empty:
        return None


def jid_of(user_id: int) -> sleekxmpp.JID:
    return sleekxmpp.JID(f"{accounts.jid(user_id)}/{RESOURCE}")
