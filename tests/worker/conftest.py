"""Ends the users of each test."""

from collections.abc import Iterator

import pytest

from tests.worker.crowd import disperse


@pytest.fixture(autouse=True)
def _no_crowd_is_left() -> Iterator[None]:
    yield
    disperse()
