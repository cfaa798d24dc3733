"""SleekXMPP's ClientXMPP, on top of slixmpp's."""

# slixmpp's signatures are partly untyped, and SleekXMPP's differ from them:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import slixmpp

from amoc_gevent.transport import tls
from amoc_gevent.xmpp.sleek import loop
from amoc_gevent.xmpp.sleek.basexmpp import BaseXMPP
from amoc_gevent.xmpp.sleek.callers import called_by_slixmpp


class ClientXMPP(BaseXMPP, slixmpp.ClientXMPP):
    """A client with SleekXMPP's API."""

    def __init__(
        self,
        jid: str,
        password: str,
        plugin_config: Mapping[str, Any] | None = None,
        plugin_whitelist: Sequence[str] = (),
        escape_quotes: bool = True,
        sasl_mech: str | None = None,
        lang: str = "en",
    ) -> None:
        self._sleek_prepare()
        slixmpp.ClientXMPP.__init__(
            self,
            jid,
            password,
            dict(plugin_config or {}),
            list(plugin_whitelist),
            escape_quotes,
            sasl_mech,
            lang,
            ssl_context=tls.context(False),  # a placeholder: a new context costs 34 ms
            loop=loop.get(),
        )
        self.plugin["feature_mechanisms"].unencrypted_scram = True  # like SleekXMPP
        self._sleek_finish_init()

    def connect(self, *args: Any, **options: Any) -> Any:
        """Connect with SleekXMPP's arguments: address=(), reattempt=True, use_tls=True, use_ssl.

        The address is (host, port), by default from DNS. Return whether the stream is connected.
        With `reattempt` it retries until it succeeds, else it returns after the first failure.
        Raises TransportError for unusable certificate files. slixmpp itself gets a future.
        """
        if called_by_slixmpp():
            return slixmpp.ClientXMPP.connect(self, *args, **options)
        return self.__dial(*args, **options)

    def __dial(
        self,
        address: tuple[Any, ...] = (),
        reattempt: bool = True,
        use_tls: bool = True,
        use_ssl: bool = False,
    ) -> bool:
        return self._sleek_connect(address, reattempt, use_tls, use_ssl)

    def get_roster(
        self,
        block: bool = True,
        timeout: float | None = None,
        callback: Callable[[Any], object] | None = None,
    ) -> Any:
        """Fetch the roster; return the answer, or pass it to `callback`."""
        future = super().get_roster(timeout=timeout)
        return self.sleek_result(future, block, callback)

    def update_roster(self, jid: str, **options: Any) -> Any:
        """Change a roster item: name, subscription, groups; also block, timeout, callback."""
        block, callback = options.pop("block", True), options.pop("callback", None)
        future = super().update_roster(slixmpp.JID(jid), **options)
        return self.sleek_result(future, block, callback) if future is not None else None

    def del_roster_item(self, jid: str) -> Any:
        """Remove an item from the roster."""
        future = super().del_roster_item(jid)
        return self.sleek_result(future) if future is not None else None
