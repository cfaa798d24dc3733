"""The benchmark `xmpp` for amoc: users in pairs that play ping-pong.

Each message is answered after an optional pause. All users begin once the last has logged in.
"""

from gevent.event import Event

from amoc_gevent import settings, user, xmpp
from benchmarks.notes import Notes

BODY = "a message of some thirty bytes"

port = settings.declare("port", 5222, "the server's port, on loopback")
users = settings.declare("users", 2, "number of users")
tracked = settings.declare("tracked", False, "track the messages")
pause = settings.declare("pause", 0.0, "seconds before a message is answered")
tls = settings.declare("tls", "none", "starttls, direct or none")
ca = settings.declare("ca", "", "file of the certificate authority, for TLS")
play = settings.declare("play", True, "exchange messages instead of idling")
notes = settings.declare("notes", "notes.json", "file for the notes")


class LoginBarrier:
    """Holds the users of this worker until all have logged in."""

    def __init__(self) -> None:
        trust = ca.value or True
        self.server = xmpp.Server("127.0.0.1", port.value, tls=tls.value, verify=trust)
        self.full = Event()
        self._notes = Notes(notes.value)
        self._begun = False
        self._here = 0

    def begin(self) -> None:
        """Take a note before the first user does anything."""
        if not self._begun:
            self._begun = True
            self._notes.take("before")

    def wait(self) -> None:
        """Wait until all users are logged in. The last one takes a note."""
        self._here += 1
        if self._here == users.value:
            self._notes.take("logged in")
            self.full.set()
        self.full.wait()


def init() -> LoginBarrier:
    """Create the barrier for this worker."""
    return LoginBarrier()


def start(user_id: int, barrier: LoginBarrier) -> None:
    """Log in, wait for the other users, and answer each message of the partner."""
    barrier.begin()
    who, password = f"user_{user_id}@localhost/r", f"password_{user_id}"
    client = xmpp.Client(who, password, barrier.server, sasl="PLAIN").connect(presence=False)
    barrier.wait()
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
