"""Fixtures of the HTTP tests: a clean recorder, and each of the two clients."""

from collections.abc import Callable, Iterator

import pytest

from amoc_gevent import http, metrics
from amoc_gevent.core.measure.snapshot import Operation


@pytest.fixture(autouse=True)
def _recorder() -> Iterator[None]:
    metrics.recorder.reset()
    yield
    http.observe(None)
    metrics.recorder.reset()


@pytest.fixture
def recorded() -> Callable[[], dict[str, Operation]]:
    """Return the operations recorded since the last call."""
    return lambda: metrics.recorder.take().operations


@pytest.fixture(params=["Session", "RequestsSession"])
def client(request: pytest.FixtureRequest) -> type[http.Session] | type[http.RequestsSession]:
    """Each of the two clients."""
    return getattr(http, request.param)  # type: ignore[no-any-return]
