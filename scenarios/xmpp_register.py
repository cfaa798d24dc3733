"""Users make an account (XEP-0077), log in with it and take it back: the time of each step.

For servers that let everybody register. Operations: "register form", "register account",
"register remove", and those of a login. With `keep=yes` the accounts stay, for other scenarios.
"""

from amoc_gevent import settings, user, xmpp

accounts = xmpp.accounts.declare(user="new_{id}")
stay = settings.declare("stay", "1s", "how long a user is logged in", type=settings.duration)
keep = settings.declare("keep", False, "whether the accounts stay")


def init() -> None:
    pass


def start(user_id: int) -> None:
    xmpp.registration.register(accounts.jid(user_id), accounts.password(user_id), accounts.server)
    with accounts.client(user_id) as client:
        user.leaving(within=stay.value)
        if not keep.value:
            xmpp.registration.unregister(client)
