"""Accounts made in-band (XEP-0077): register one, change its password, take it back.

>>> xmpp.registration.register("new_1@localhost", "secret", xmpp.Server("127.0.0.1"))
>>> with xmpp.Client("new_1@localhost", "secret", xmpp.Server("127.0.0.1")) as client:
...     xmpp.registration.unregister(client)
"""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.errors import Disconnected, StreamError
from amoc_gevent.xmpp.names import REGISTER
from amoc_gevent.xmpp.recording import Step
from amoc_gevent.xmpp.server import Server
from amoc_gevent.xmpp.stanzas import forms
from amoc_gevent.xmpp.stanzas.stanza import escaped

_QUERY_TAG = f"{{{REGISTER}}}query"
_QUERY = f"<query xmlns='{REGISTER}'"
_GOODBYE = frozenset({"not-authorized", "conflict", "stream closed"})


def register(
    jid: str,
    password: str,
    server: Server | None = None,
    *,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Make the account `jid`, on a connection of its own that is closed again.

    `fields` are what else the server wants to know, such as {"email": "a@localhost"}. The
    operations are those of a connection and "register form", "register account". Raises XmppError:
    "conflict" where there is such an account, "not-allowed" or "service-unavailable" where
    registration is not for everybody, "not-acceptable" where something is missing.
    """
    client = Client(jid, password, server).reach()
    try:
        name, _, domain = client.bare.rpartition("@")
        form = client.iq(f"{_QUERY}/>", to=domain, name="register form")
        values = {"username": name, "password": password, **(fields or {})}
        client.iq(
            f"{_QUERY}>{_answered(form, values)}</query>",
            to=domain,
            type="set",
            name="register account",
        )
    finally:
        client.close()


def change_password(client: Client, password: str, *, timeout: float | None = None) -> None:
    """Give the client's account another password; the session goes on."""
    name, _, domain = client.bare.rpartition("@")
    text = f"<username>{escaped(name)}</username><password>{escaped(password)}</password>"
    client.iq(
        f"{_QUERY}>{text}</query>",
        to=domain,
        type="set",
        timeout=timeout,
        name="register password",
    )


def unregister(client: Client, *, timeout: float | None = None) -> None:
    """Take back the client's account, with all that the server keeps for it; this ends the session.

    The operation is "register remove". Some servers answer, others close the stream at once
    (XEP-0077 3.2): either is a success.
    """
    with Step("register remove") as step:
        try:
            client._ask(step, "set", f"{_QUERY}><remove/></query>", timeout=timeout)
        except Disconnected as error:
            if isinstance(error, StreamError) and error.condition not in _GOODBYE:
                raise
    client.kill()


def _answered(answer: Element, values: Mapping[str, str]) -> str:
    """Return the content of what is sent for the form in `answer`."""
    query = answer.find(_QUERY_TAG)
    form = None if query is None else query.find(forms.FORM_TAG)
    plain = "".join(f"<{name}>{escaped(text)}</{name}>" for name, text in values.items())
    has_fields = query is not None and query.find(f"{{{REGISTER}}}username") is not None
    return plain if form is None or has_fields else forms.submission(REGISTER, values)
