"""`amoc demo`: servers to try the load tester on."""

import resource
import signal

import click
import gevent
from gevent.event import Event

from amoc_gevent.targets.http import DemoServer


@click.group()
def demo() -> None:
    """Start a server to load: a target that is fast, honest and at hand."""


@demo.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--quiet", is_flag=True, help="Do not say where it listens.")
def http(host: str, port: int, quiet: bool) -> None:
    r"""Serve HTTP until Ctrl-C or SIGTERM.

    \b
    /  /json  /products  /products/<id>    something small to read
    /delay/<seconds>  /status/<code>       a slow answer, an error
    /echo                                  the request, as JSON
    /login  /account  /cart                POST user and password, get a cookie, use it
    /chunked/<n>  /gzip  /bytes/<n>        bodies of all kinds
    /redirect/<n>                          n redirects, then /
    /close  /reset  /half  /garbage  /silent   faults: each breaks HTTP in its own way
    /count                                 requests received, by path; DELETE starts again
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    told = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, told.set)
    with DemoServer((host, port)) as server:
        if not quiet:
            click.echo(f"listening on {server.url}")
        told.wait()
