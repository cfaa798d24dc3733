"""The settings for server and accounts that all XMPP scenarios share."""

from dataclasses import replace
from functools import cached_property
from typing import Any

from amoc_gevent import settings
from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.server import MODES, Server


def declare(user: str = "user_{id}") -> "Accounts":
    """Declare the settings and return the accounts. Call it at the top level of a scenario.

    `user` is the default template for account names.

    >>> accounts = xmpp.accounts.declare()
    >>> def start(user_id):
    ...     with accounts.client(user_id) as client:
    """
    return Accounts(user)


class Accounts:
    """The server and accounts from the settings. Use it inside a callback only."""

    def __init__(self, user: str) -> None:
        self._host = settings.declare(
            "host", "127.0.0.1", "the XMPP server; empty: look the domain up in DNS"
        )
        self._port = settings.declare(
            "port", 0, "the server's port; 0 means 5222, or 5223 for direct TLS"
        )
        self._tls: settings.Setting[Any] = settings.declare(
            "tls", "starttls", "how to secure the stream", verify=MODES
        )
        self._verify = settings.declare(
            "verify",
            "yes",
            "verify the server's certificate: yes, no, or a file of CA certificates",
        )
        self._domain = settings.declare("domain", "localhost", "the domain of the accounts")
        self._user = settings.declare("user", user, "the name of an account", verify=is_template)
        self._password = settings.declare(
            "password", "password_{id}", "the password of an account", verify=is_template
        )
        self._sasl = settings.declare("sasl", "", "the SASL mechanism; empty: the strongest")
        self._cert = settings.declare(
            "cert",
            "",
            "the file with an account's client certificate and key, for SASL EXTERNAL; empty: none",
            verify=is_template,
        )
        self._source = settings.declare(
            "source_address",
            "",
            "local addresses, comma-separated, used in turn; empty: the system's",
        )
        self._timeout = settings.declare(
            "timeout",
            "30s",
            "timeout for each login step and each request",
            type=settings.duration,
        )

    @cached_property
    def server(self) -> Server:
        """The server to connect to. All users of a worker share this object."""
        verify = {"yes": True, "no": False}.get(self._verify.value, self._verify.value)
        sources = tuple(one.strip() for one in self._source.value.split(",") if one.strip())
        return Server(
            self._host.value or None,
            self._port.value or None,
            tls=self._tls.value,
            verify=verify,
            source_address=sources or None,
            timeout=self._timeout.value,
        )

    def jid(self, user_id: int) -> str:
        """Return the bare JID of a user's account."""
        return f"{self._user.value.format(id=user_id)}@{self._domain.value}"

    def password(self, user_id: int) -> str:
        """Return the password of a user's account."""
        return self._password.value.format(id=user_id)

    def client(self, user_id: int, **options: Any) -> Client:
        """Return an unconnected client for a user. `options` are passed to Client."""
        given = {"sasl": self._sasl.value or None, **options}
        server = self.server
        if self._cert.value:
            server = replace(server, cert=self._cert.value.format(id=user_id))
        return Client(self.jid(user_id), self.password(user_id), server, **given)


def is_template(text: str) -> tuple[bool, str]:
    """Verify a template for names, such as "user_{id}"."""
    try:
        text.format(id=1)
    except (KeyError, IndexError, ValueError):
        return False, "{id} stands for the user's number; no other name may stand in braces"
    return True, text
