"""What the tests of the XMPP client have in common."""

from collections.abc import Iterator

import pytest

from amoc_gevent import metrics


@pytest.fixture(autouse=True)
def _fresh_figures() -> Iterator[None]:
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()
