"""SleekXMPP's ComponentXMPP (XEP-0114), over slixmpp's."""

# slixmpp's signatures are not all typed, and SleekXMPP's are other ones:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

from collections.abc import Mapping, Sequence
from typing import Any

import slixmpp

from amoc_gevent.xmpp.sleek.basexmpp import BaseXMPP
from amoc_gevent.xmpp.sleek.callers import slixmpp_asks


class ComponentXMPP(BaseXMPP, slixmpp.ComponentXMPP):
    """A component with SleekXMPP's face."""

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
        self._prepare()
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
        self._settle_in()

    def connect(self, *args: Any, **options: Any) -> Any:
        """Connect as SleekXMPP does: see `dial`. slixmpp itself gets a future."""
        if slixmpp_asks():
            return slixmpp.ComponentXMPP.connect(self, *args, **options)
        return self.dial(*args, **options)

    def dial(
        self,
        host: str | None = None,
        port: int | None = None,
        use_ssl: bool = False,
        use_tls: bool = False,
        reattempt: bool = True,
    ) -> bool:
        """Connect to the server, that of the constructor if none is given; return whether it did.

        Without `reattempt`, the first failure is the last; with it, this returns when it succeeds.
        """
        if isinstance(host, tuple):
            host, port = host
        return self._link((host, port), reattempt, use_tls, use_ssl)
