"""The settings of a session, and the request template made from them."""

from collections.abc import Mapping

from amoc_gevent import __version__
from amoc_gevent.errors import UsageError
from amoc_gevent.http import auth as auths
from amoc_gevent.http.auth import Auth, HTTPBasicAuth, HTTPDigestAuth
from amoc_gevent.http.cookies import Cookies
from amoc_gevent.http.timeouts import Limits, Timeout, Timeouts, timeouts
from amoc_gevent.http.wire import urls
from amoc_gevent.http.wire.coding import ACCEPTED
from amoc_gevent.http.wire.headers import Headers
from amoc_gevent.http.wire.target import Common, Template
from amoc_gevent.transport import Certificate, SourceAddress, Verify

_DEFAULT_HEADERS = {
    "User-Agent": f"amoc_gevent/{__version__}",
    "Accept-Encoding": ACCEPTED,
    "Accept": "*/*",
}
_SETTABLE = (
    "auth, base_url, cert, cookies, headers, max_response_size, source_address, timeout, verify"
)
_OF_REQUESTS_ONLY = frozenset(
    {"adapters", "hooks", "max_redirects", "params", "proxies", "stream", "trust_env"}
)
_COMMON = frozenset({"base_url", "timeout", "verify", "cert", "headers", "auth", "source_address"})


class SessionSettings:
    """The settings of an `http.Session`. A change takes effect with the next request."""

    def __init__(
        self,
        base_url: str,
        timeout: Timeout,
        verify: Verify,
        cert: Certificate,
        headers: Mapping[str, str] | None,
        auth: Auth,
        source_address: SourceAddress,
    ) -> None:
        self._times = Timeouts()
        self._limits = Limits(self._times.connect, self._times.read)
        self._digest: HTTPDigestAuth | None = None
        self._last_digest: tuple[object, HTTPDigestAuth] | None = None
        self._headers_version = 0
        self._template: Template | None = None
        self.base_url = base_url
        self.timeout = timeout
        self.verify = verify
        self.cert = cert
        self.auth = auth
        self.source_address = source_address
        self.headers = Headers(_DEFAULT_HEADERS)
        self.headers.update(headers or {})

    def __setattr__(self, name: str, value: object) -> None:
        if name == "headers" and not isinstance(value, Headers):
            value = Headers(value)  # type: ignore[arg-type]  # the type allows any mapping
        elif name == "cookies" and not isinstance(value, Cookies):
            value = Cookies(value)  # type: ignore[arg-type]  # it reads any mapping or jar
        elif name == "base_url":
            value = urls.as_text(value)
        elif name == "auth":
            value = auths.read(value)
        elif name in _OF_REQUESTS_ONLY:
            raise UsageError(f"http.Session has no setting {name}; its settings are {_SETTABLE}")
        object.__setattr__(self, name, value)
        if name in _COMMON:
            object.__setattr__(self, "_template", None)

    def _auth(self, given: object) -> HTTPBasicAuth | HTTPDigestAuth | None:
        """Convert `auth=`. The last digest object of requests keeps its converted one."""
        if self._last_digest is not None and self._last_digest[0] is given:
            return self._last_digest[1]
        auth = auths.read(given)
        if isinstance(auth, HTTPDigestAuth) and auth is not given:
            self._last_digest = given, auth
        return auth

    def _update_template(self) -> Template:
        self._digest = self.auth if isinstance(self.auth, HTTPDigestAuth) else None
        self._times = times = timeouts(self.timeout, Timeouts())
        self._limits = Limits(times.connect, times.read)
        self._headers_version = self.headers.version
        self._template = made = self._template_for()
        return made

    def _template_for(
        self,
        auth: HTTPBasicAuth | HTTPDigestAuth | None = None,
        verify: Verify | None = None,
        cert: Certificate = None,
    ) -> Template:
        """Return the template for these settings. Sessions with the same settings share it."""
        auth = auth or auths.read(self.auth)
        return Template.of(
            Common(
                base_url=self.base_url,
                fields=tuple((k, v) for k, v in self.headers.items() if v is not None),
                verify=self.verify if verify is None else verify,
                cert=cert or self.cert,
                source=self.source_address,
                basic=auth if isinstance(auth, HTTPBasicAuth) else None,
            )
        )
