"""Fixtures for the tests of the master."""

import pytest

from amoc_gevent.master import database, master, store


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of masters, and the time that they wait for a locked store."""
    monkeypatch.setattr(master, "TICK_S", 0.01)
    monkeypatch.setattr(master, "SAVE_S", 0.02)
    monkeypatch.setattr(master, "PUBLISH_S", 0.1)
    monkeypatch.setattr(database, "BUSY_S", 0.02)
    monkeypatch.setattr(store, "BUSY_S", 0.02)
