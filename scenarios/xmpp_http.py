"""Some users chat over XMPP, others browse over HTTP, for a service that offers both.

A user browses if its id is a multiple of the setting `every`. The others run xmpp_chat with its
settings.
"""

import random

import xmpp_chat

from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the web service")
path = settings.declare("path", "/", "path of the page that browsing users get")
every = settings.declare(
    "every",
    2,
    "a user browses if its id is a multiple of this number, otherwise it chats",
    verify=lambda count: count >= 1 or (False, "must be 1 or more"),
)
think = settings.declare(
    "think", "1s", "think time between two requests", type=settings.duration, update=True
)


def init() -> None:
    pass


def start(user_id: int) -> None:
    if user_id % every.value:
        xmpp_chat.start(user_id)
    else:
        browse()


def browse() -> None:
    """Get the page again and again until the user is asked to end."""
    with http.Session(url.value) as session:
        wait = random.uniform(0, think.value)
        while not user.leaving(within=wait):
            session.get(path.value)
            wait = think.value
