"""Users register an account (XEP-0077), log in with it and remove it: time of each step.

The server must allow open registration. Operations: "register form", "register account",
"register remove", and those of a login. `keep=yes` keeps the accounts for other scenarios.
"""

from amoc_gevent import settings, user, xmpp

accounts = xmpp.accounts.declare(user="new_{id}")
stay = settings.declare("stay", "1s", "how long a user stays logged in", type=settings.duration)
keep = settings.declare("keep", False, "keep the accounts")


def init() -> None:
    pass


def start(user_id: int) -> None:
    xmpp.registration.register(accounts.jid(user_id), accounts.password(user_id), accounts.server)
    with accounts.client(user_id) as client:
        user.leaving(within=stay.value)
        if not keep.value:
            xmpp.registration.unregister(client)
