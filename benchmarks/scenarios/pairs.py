"""Users in pairs that play ping-pong, each message answered after a pause, if one is given.

The side of ours in the benchmark `xmpp`; all begin when the last of them has logged in.
"""

from gevent.event import Event

from amoc_gevent import settings, user, xmpp
from benchmarks.notes import Notes

BODY = "a message of some thirty bytes"

port = settings.declare("port", 5222, "the server's port, on loopback")
users = settings.declare("users", 2, "how many users there are")
tracked = settings.declare("tracked", False, "track the messages")
pause = settings.declare("pause", 0.0, "seconds before a message is answered")
tls = settings.declare("tls", "none", "starttls, direct or none")
ca = settings.declare("ca", "", "file of the certificate authority, for TLS")
play = settings.declare("play", True, "whether they play, or only stay")
notes = settings.declare("notes", "notes.json", "file for the notes")


class Hall:
    """Where the users of this worker wait for each other."""

    def __init__(self) -> None:
        trust = ca.value or True
        self.server = xmpp.Server("127.0.0.1", port.value, tls=tls.value, verify=trust)
        self.full = Event()
        self._notes = Notes(notes.value)
        self._begun = False
        self._here = 0

    def begin(self) -> None:
        """Note how the worker stands before the first user does anything."""
        if not self._begun:
            self._begun = True
            self._notes.take("before")

    def enter(self) -> None:
        """Wait until all users are there; the last one notes what that took."""
        self._here += 1
        if self._here == users.value:
            self._notes.take("logged in")
            self.full.set()
        self.full.wait()


def init() -> Hall:
    """Begin with nobody there."""
    return Hall()


def start(user_id: int, hall: Hall) -> None:
    """Log in, wait for the others, and answer what the partner sends for as long as that is."""
    hall.begin()
    who, password = f"user_{user_id}@localhost/r", f"password_{user_id}"
    client = xmpp.Client(who, password, hall.server, sasl="PLAIN").connect(presence=False)
    hall.enter()
    if not play.value:
        user.sleep(3600)
    send = client.send_tracked if tracked.value else client.send_message
    is_first, seconds = user_id % 2 == 1, pause.value
    partner = f"user_{user_id + 1 if is_first else user_id - 1}@localhost/r"
    if is_first:
        send(partner, BODY)
    while True:
        client.wait_for("message")
        if seconds:
            user.sleep(seconds)
        send(partner, BODY)
