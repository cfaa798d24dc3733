"""Users chat over XMPP or browse over HTTP, for a service that offers both.

Users whose id is a multiple of `every` browse. The others do what xmpp_chat does, with its
settings.
"""

import random

import xmpp_chat

from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the web service")
path = settings.declare("path", "/", "path that browsing users request")
every = settings.declare(
    "every",
    2,
    "one in so many users browses: those whose id is a multiple of it",
    verify=lambda count: count >= 1 or (False, "must be 1 or more"),
)
think = settings.declare(
    "think",
    "1s",
    "time between two requests of a browsing user",
    type=settings.duration,
    update=True,
)


def init() -> None:
    pass


def start(user_id: int) -> None:
    if user_id % every.value:
        xmpp_chat.start(user_id)
    else:
        browse()


def browse() -> None:
    """Request the page until the user is asked to end."""
    with http.Session(url.value) as session:
        wait = random.uniform(0, think.value)
        while not user.leaving(within=wait):
            session.get(path.value)
            wait = think.value
