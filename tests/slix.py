"""slixmpp as an independent client: logs in, does what a test asks for, and leaves."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from slixmpp import ClientXMPP, ComponentXMPP

PATIENCE = 20.0
ENDS = ("session_start", "failed_all_auth", "connection_failed", "disconnected")

T = TypeVar("T")


class LoginError(Exception):
    """It did not get in; the message names the event that said so."""


def client(
    jid: str, password: str, how: str = "plain", ca: Path | None = None, sasl: str | None = None
) -> ClientXMPP:
    """A client that connects `how`: plain, starttls or direct; `ca` verifies the certificate."""
    allow = {"feature_mechanisms": {"unencrypted_plain": True, "unencrypted_scram": True}}
    xmpp = ClientXMPP(jid, password, plugin_config=allow, sasl_mech=sasl)
    xmpp.enable_plaintext = how == "plain"
    xmpp.enable_starttls = how == "starttls"
    xmpp.enable_direct_tls = how == "direct"
    if ca is not None:
        xmpp.ssl_context = ssl.create_default_context(cafile=str(ca))
    return xmpp


async def online(
    xmpp: ClientXMPP | ComponentXMPP, port: int, use: Callable[[Any], Awaitable[T]]
) -> T:
    """Return what `use` returns, called while `xmpp` is logged in to loopback's `port`."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()
    for name in ENDS:
        xmpp.add_event_handler(name, _settles(ended, name))
    xmpp.connect("127.0.0.1", port)
    try:
        event = await asyncio.wait_for(ended, PATIENCE)
        if event != "session_start":
            raise LoginError(event)
        return await asyncio.wait_for(use(xmpp), PATIENCE)
    finally:
        xmpp.cancel_connection_attempt()
        await xmpp.disconnect()


def visit(
    xmpp: Callable[[], ClientXMPP | ComponentXMPP], port: int, use: Callable[[Any], Awaitable[T]]
) -> T:
    """Do so on an event loop of its own, which `xmpp()` makes the client for."""

    async def run() -> T:
        return await online(xmpp(), port, use)

    return on_a_loop(run)


def on_a_loop(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `run` on an event loop in a new thread and return its result.

    The calling thread may already have a running loop, that of SleekXMPP's API.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


def _settles(future: "asyncio.Future[str]", name: str) -> Callable[[Any], None]:
    def settle(_: Any) -> None:
        if not future.done():
            future.set_result(name)

    return settle
