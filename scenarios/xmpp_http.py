"""Some users chat over XMPP, others browse over HTTP, by their id, as one service has both.

Every so-many-th id is a browser; the others do what xmpp_chat does, with its settings.
"""

import random

import xmpp_chat

from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the web service")
path = settings.declare("path", "/", "what browsers ask it for")
every = settings.declare(
    "every",
    2,
    "of so many users one is a browser: those whose id it divides",
    verify=lambda count: count >= 1 or (False, "must be 1 or more"),
)
think = settings.declare(
    "think", "1s", "between two requests of a browser", type=settings.duration, update=True
)


def init() -> None:
    pass


def start(user_id: int) -> None:
    if user_id % every.value:
        xmpp_chat.start(user_id)
    else:
        browse()


def browse() -> None:
    """Ask for the page until the user is asked to end."""
    with http.Session(url.value) as session:
        wait = random.uniform(0, think.value)
        while not user.leaving(within=wait):
            session.get(path.value)
            wait = think.value
