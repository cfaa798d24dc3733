"""The HTTP pages of the demo XMPP server: its counts and faults."""

import json
from collections.abc import Callable
from typing import Any

from amoc_gevent.demo.counts import Counts
from amoc_gevent.demo.messages import PageAnswer, Reply, Request
from amoc_gevent.demo.pages import error, json_answer
from amoc_gevent.demo.xmpp.faults import Faults
from amoc_gevent.demo.xmpp.router import Router
from amoc_gevent.errors import AmocError


class XmppPages:
    """The pages of one server.

    - ``/count``: the totals; DELETE resets them
    - ``/pairs``: messages by sender and recipient
    - ``/faults``: the current faults; PUT changes the given ones, DELETE removes all
    """

    def __init__(self, router: Router) -> None:
        self.counts = Counts()
        self._router = router
        self._pages: dict[tuple[str, str], Callable[[Request], PageAnswer]] = {
            ("GET", "/count"): self._count,
            ("DELETE", "/count"): self._forget,
            ("GET", "/pairs"): self._by_pair,
            ("GET", "/faults"): self._faults,
            ("PUT", "/faults"): self._change,
            ("DELETE", "/faults"): self._no_faults,
        }

    def answer(self, request: Request) -> PageAnswer | Reply:
        """Return the answer to `request`."""
        page = self._pages.get((request.method, request.path))
        if page is None:
            return error(404, "there are /count, /pairs and /faults")
        return page(request)

    def _count(self, _request: Request) -> PageAnswer:
        online = sum("/" in jid for jid in self._router.bound)
        return json_answer({**self._router.counts.as_dict(), "online": online})

    def _forget(self, _request: Request) -> PageAnswer:
        self._router.counts.reset()
        return PageAnswer(204)

    def _by_pair(self, _request: Request) -> PageAnswer:
        return json_answer(self._router.counts.by_pair())

    def _faults(self, _request: Request) -> PageAnswer:
        return json_answer(self._router.delivery.faults.as_dict())

    def _no_faults(self, _request: Request) -> PageAnswer:
        self._router.delivery.change(Faults())
        return PageAnswer(204)

    def _change(self, request: Request) -> PageAnswer:
        delivery = self._router.delivery
        try:
            delivery.change(delivery.faults.changed(_object(request.body)))
        except (AmocError, ValueError) as refusal:
            return error(400, str(refusal))
        return json_answer(delivery.faults.as_dict())


def _object(body: bytes) -> dict[str, Any]:
    given = json.loads(body)
    if not isinstance(given, dict):
        raise AmocError("faults must be a JSON object")
    return given
