"""Rounds of users in the test's own process, run as the worker runs them."""

from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult

from amoc_gevent.user import UserGreenlet


def as_user(user_id: int, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Run `function` as one round; return its result and what a helper of it raised.

    What the function itself raises is raised here.
    """
    done: AsyncResult = AsyncResult()

    def run() -> None:
        try:
            result = function()
        except Exception as error:  # noqa: BLE001  # handed to the test
            done.set_exception(error)
        else:
            done.set((result, greenlet.end_helpers()))

    hub = gevent.get_hub()
    greenlet = UserGreenlet(run, hub)
    greenlet.user_id = user_id
    hub.loop.run_callback(greenlet.switch)
    found: tuple[Any, BaseException | None] = done.get(timeout=30)
    return found
