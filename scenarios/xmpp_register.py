"""Users register an account (XEP-0077), log in with it and remove it.

The server must let everybody register. Operations: "register form", "register account", "register
remove", and those of a login. With `keep=yes` the accounts remain, for other scenarios.
"""

from amoc_gevent import settings, user, xmpp

accounts = xmpp.accounts.declare(user="new_{id}")
stay = settings.declare("stay", "1s", "time that a user stays logged in", type=settings.duration)
keep = settings.declare("keep", False, "keep the accounts")


def init() -> None:
    pass


def start(user_id: int) -> None:
    xmpp.registration.register(accounts.jid(user_id), accounts.password(user_id), accounts.server)
    with accounts.client(user_id) as client:
        user.leaving(within=stay.value)
        if not keep.value:
            xmpp.registration.unregister(client)
