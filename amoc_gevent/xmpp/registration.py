"""In-band registration (XEP-0077): register an account, change its password, remove it.

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
_EXPECTED_CLOSES = frozenset({"not-authorized", "conflict", "stream closed"})


def register(
    jid: str,
    password: str,
    server: Server | None = None,
    *,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Register the account `jid` on a temporary connection.

    `fields` holds further fields that the server requires, such as {"email": "a@localhost"}. The
    operations are those of a connection, "register form" and "register account". Raises XmppError:
    "conflict" if the account exists, "not-allowed" or "service-unavailable" if the server does
    not allow registration, "not-acceptable" if a field is missing.
    """
    client = Client(jid, password, server).open_stream()
    try:
        name, _, domain = client.bare.rpartition("@")
        form = client.iq(f"{_QUERY}/>", to=domain, name="register form")
        values = {"username": name, "password": password, **(fields or {})}
        client.iq(
            f"{_QUERY}>{_form_reply(form, values)}</query>",
            to=domain,
            type="set",
            name="register account",
        )
    finally:
        client.close()


def change_password(client: Client, password: str, *, timeout: float | None = None) -> None:
    """Change the password of the client's account. The session continues."""
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
    """Remove the client's account and all its data from the server. This ends the session.

    The operation is "register remove". Some servers answer, others close the stream at once
    (XEP-0077 3.2). Both count as success.
    """
    with Step("register remove") as step:
        try:
            client._ask(step, "set", f"{_QUERY}><remove/></query>", timeout=timeout)
        except Disconnected as error:
            if isinstance(error, StreamError) and error.condition not in _EXPECTED_CLOSES:
                raise
    client.kill()


def _form_reply(answer: Element, values: Mapping[str, str]) -> str:
    """Return the XML that fills in the form in `answer`."""
    query = answer.find(_QUERY_TAG)
    form = None if query is None else query.find(forms.FORM_TAG)
    plain = "".join(f"<{name}>{escaped(text)}</{name}>" for name, text in values.items())
    has_fields = query is not None and query.find(f"{{{REGISTER}}}username") is not None
    return plain if form is None or has_fields else forms.submission(REGISTER, values)
