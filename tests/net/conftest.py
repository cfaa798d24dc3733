"""Networks for the tests, each removed with all that runs in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests import rights
from tests.net.network import Network
from tests.servers import MissingServerError

Plug = Callable[[Sequence[str]], Network]


@contextmanager
def plugged(names: Sequence[str], directory: Path) -> Iterator[Network]:
    """Make a network of hosts with the given names; a program that is missing fails the test."""
    network = Network(names, directory)
    try:
        rights.NETWORKS.need()
        network.open()
    except MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)
    with closing(network):
        yield network


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    """Make a network of hosts with the given names; it lasts as long as the test."""
    with ExitStack() as networks:

        def make(names: Sequence[str]) -> Network:
            directory = tmp_path / str(len(list(tmp_path.iterdir())))
            return networks.enter_context(plugged(names, directory))

        yield make
