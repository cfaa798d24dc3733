"""SleekXMPP's ComponentXMPP (XEP-0114), on top of slixmpp's."""

# slixmpp's signatures are partly untyped, and SleekXMPP's differ from them:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

from collections.abc import Mapping, Sequence
from typing import Any

import slixmpp

from amoc_gevent.xmpp.sleek.basexmpp import BaseXMPP
from amoc_gevent.xmpp.sleek.callers import called_by_slixmpp


class ComponentXMPP(BaseXMPP, slixmpp.ComponentXMPP):
    """A component with SleekXMPP's API."""

    def __init__(
        self,
        jid: str,
        secret: str,
        host: str | None = None,
        port: int | None = None,
        plugin_config: Mapping[str, Any] | None = None,
        plugin_whitelist: Sequence[str] = (),
        use_jc_ns: bool = False,
    ) -> None:
        self._sleek_prepare()
        slixmpp.ComponentXMPP.__init__(
            self,
            jid,
            secret,
            host,
            port,
            dict(plugin_config or {}),
            list(plugin_whitelist),
            use_jc_ns,
        )
        self._sleek_finish_init()

    def connect(self, *args: Any, **options: Any) -> Any:
        """Connect with SleekXMPP's arguments: host, port, use_ssl, use_tls, reattempt=True.

        The address defaults to the constructor's. Return whether the stream is connected.
        With `reattempt` it retries until it succeeds, else it returns after the first failure.
        slixmpp itself gets a future.
        """
        if called_by_slixmpp():
            return slixmpp.ComponentXMPP.connect(self, *args, **options)
        return self.__dial(*args, **options)

    def __dial(
        self,
        host: str | None = None,
        port: int | None = None,
        use_ssl: bool = False,
        use_tls: bool = False,
        reattempt: bool = True,
    ) -> bool:
        if isinstance(host, tuple):
            host, port = host
        return self._sleek_connect((host, port), reattempt, use_tls, use_ssl)
