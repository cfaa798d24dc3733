"""Fixtures for the tests of the XMPP client."""

from collections.abc import Iterator

import pytest

from amoc_gevent import metrics


@pytest.fixture(autouse=True)
def _reset_metrics() -> Iterator[None]:
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()
