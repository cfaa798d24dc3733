"""`amoc demo`: servers to try the load tester on."""

import resource
import signal
import ssl
from collections.abc import Sequence
from typing import Any

import click
import gevent
from gevent.event import Event

from amoc_gevent.demo.http import DemoServer
from amoc_gevent.demo.xmpp import AccountRegistry, Faults, XmppServer
from amoc_gevent.errors import UsageError

PORT = click.IntRange(0, 65535)
HOST = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
QUIET = click.option("--quiet", is_flag=True, help="Do not print the addresses.")


@click.group()
def demo() -> None:
    """Start a demo server to load."""


@demo.command()
@HOST
@click.option(
    "--port",
    type=PORT,
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@QUIET
def http(host: str, port: int, quiet: bool) -> None:
    """Serve HTTP until Ctrl-C or SIGTERM.

    \b
    /  /json  /products  /products/<id>    small pages
    /delay/<seconds>  /status/<code>       a delayed response; a response with this status
    /echo                                  the request, as JSON
    /login  /account  /cart                POST user and password for a cookie, then use it
    /chunked/<n>  /gzip  /bytes/<n>        bodies: chunked, compressed, of a given size
    /redirect/<n>                          n redirects, then /
    /check?user=1&life=<name>&number=1&sent=<seconds>
                                           record a request of `http_check`
    /close  /reset  /half  /garbage  /silent   broken responses, one kind each
    /count                                 requests by path, and the findings of /check;
                                           DELETE resets them
    /count/seen?within=<seconds>           users that /check saw recently, with addresses
    """  # noqa: D301  # click looks for the character \b, which a raw string lacks
    with DemoServer((host, port)) as server:
        _serve([f"listening on {server.url}"], quiet)


@demo.command()
@HOST
@click.option(
    "--port", type=PORT, default=5222, show_default=True, help="Port for XMPP; 0 takes a free one."
)
@click.option(
    "--page-port",
    type=PORT,
    default=0,
    show_default=True,
    help="HTTP port for counts and faults; 0 takes a free one.",
)
@click.option("--domain", default="localhost", show_default=True, help="Domain to serve.")
@click.option(
    "--user", default=AccountRegistry.user, show_default=True, help="Template of user names."
)
@click.option(
    "--password", default=AccountRegistry.password, show_default=True, help="Template of passwords."
)
@click.option(
    "--neighbours",
    type=click.IntRange(0),
    default=0,
    help="Roster contacts: this many ids below and above.",
)
@click.option(
    "--tls",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False),
    help="Certificate chain and key: enables STARTTLS and direct TLS.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fault to inject; repeatable.",
)
@QUIET
def xmpp(host: str, port: int, page_port: int, quiet: bool, **how: Any) -> None:
    """Serve XMPP until Ctrl-C or SIGTERM.

    It supports PLAIN and SCRAM, rosters, presence, messages, pings, disco and registration. A
    message to an offline user comes back as an error. A second port serves over HTTP:

    \b
    /count   total logins and messages; DELETE resets them
    /pairs   messages by sender and recipient
    /faults  active faults; PUT a JSON object to change them

    \b
    Faults, each --fault NAME=VALUE:
    delay=0.5                    seconds, for every message
    drop, cut, malformed, duplicate, reorder=100
                                 one message in 100 is lost, cuts the recipient's
                                 connection, arrives as broken XML, arrives
                                 twice, or is overtaken by the next
    silent_at, cut_at, malformed_at=auth
                                 fault at this step of the login: connect,
                                 stream, starttls, tls, auth, bind, session
    """  # noqa: D301
    accounts = AccountRegistry(how["user"], how["password"], how["neighbours"])
    context = None
    if how["tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(*how["tls"])
        except ssl.SSLError as error:
            raise UsageError(
                f"--tls: the files must hold a certificate chain and its key: {error.reason}"
            ) from None
    server = XmppServer(
        (host, port), how["domain"], accounts=accounts, context=context, page_port=page_port
    )
    server.faults = Faults().changed(dict(map(_fault, how["faults"])))
    with server:
        where = ":".join(map(str, server.address))
        _serve([f"listening on {where}", f"counts on {server.page_url}/count"], quiet)


def _fault(text: str) -> tuple[str, float | str]:
    """Return the name and the value of NAME=VALUE, a number if it looks like one."""
    name, _, value = text.partition("=")
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def _serve(lines: Sequence[str], quiet: bool) -> None:
    """Print `lines`, unless `quiet`, and serve until SIGINT or SIGTERM."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, ended.set)
    if not quiet:
        click.echo("\n".join(lines))
    ended.wait()
