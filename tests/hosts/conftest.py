"""Machines to deploy to, removed with all that runs on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.fleet import Fleet
from tests.net.conftest import plugged
from tests.servers import MissingServerError

NODES = ["n1", "n2"]


@pytest.fixture
def fleet(tmp_path: Path, release: Path) -> Iterator[Fleet]:
    """A master and two nodes with sshd, and nothing on them yet."""
    with plugged(["desk", "master", *NODES], tmp_path / "net") as net:
        try:
            found = Fleet(net, NODES, release)
        except MissingServerError as missing:
            pytest.fail(str(missing), pytrace=False)
        yield found
        found.end()
