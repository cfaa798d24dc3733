"""Machines to deploy to, removed with all that runs on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.fleet import Fleet
from tests.net.conftest import plugged
from tests.servers import MissingServerError

NODES = ["n1", "n2"]


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path, release: Path) -> Iterator[Fleet]:
    """A master and two nodes (or those of the parameter) with sshd, and nothing on them yet."""
    nodes = getattr(request, "param", NODES)
    with plugged(["desk", "master", *nodes], tmp_path / "net") as net:
        try:
            found = Fleet(net, nodes, release)
        except MissingServerError as missing:
            pytest.fail(str(missing), pytrace=False)
        yield found
        found.end()
