"""A master connected to its outputs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.control.outputs import run_feed
from amoc_gevent.core.output_state import StateChanges
from amoc_gevent.master.master import Master
from amoc_gevent.master.store import Store
from amoc_gevent.output.base import Output
from tests.servers import wait_for


class Ticking(Output):
    """Counts its ticks; `found` is the data that it was restored with."""

    def __init__(self) -> None:
        self.ticks = 0
        self.found: dict[str, bytes] = {}
        self.is_stored = False

    def tick(self, now: float) -> None:
        self.ticks += 1

    def pending(self, *, full: bool = False) -> StateChanges:
        return StateChanges({"ticks": b"7"}, ())

    def stored(self) -> None:
        self.is_stored = True

    def restore(self, stored: dict[str, bytes]) -> None:
        self.found = stored


class ChosenTicking:
    """An output chosen on the command line."""

    file = ""

    def __init__(self, output: Output) -> None:
        self._output = output

    def arguments(self) -> list[str]:
        return []

    def open(self, say: Callable[[str], None]) -> Output:
        say("opened")
        return self._output


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    sockets = SocketDirectory()
    with Store(tmp_path / "runs.db") as store:
        store.save_nodes((), StateChanges({"one/ticks": b"5", "gone/ticks": b"6"}, ()))
        found = Master(sockets.endpoint("plans"), sockets.endpoint("reports"), store=store)
        yield found
        found.close()
        sockets.close()


def test_outputs_tick_with_the_master_even_if_another_subscriber_fails(
    master: Master, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("a bad day")

    said: list[str] = []
    one, two = Ticking(), Ticking()
    master.subscribe(fail)
    feed = run_feed(master, {"one": one, "two": ChosenTicking(two)}, said.append)
    wait_for(lambda: one.ticks > 1 and two.ticks > 1, what="two ticks")
    feed.close()
    assert said == ["opened"]
    assert "a step of the master's tick failed" in caplog.messages


def test_an_output_is_restored_and_pending_data_of_other_outputs_is_dropped(
    master: Master,
) -> None:
    one = Ticking()
    feed = run_feed(master, {"one": one})
    assert one.found == {"ticks": b"5"}
    assert master.save()
    assert master.pending() == {"one/ticks": b"7"}
    feed.close()


def test_a_master_without_outputs_drops_their_pending_data(master: Master) -> None:
    feed = run_feed(master)
    assert master.save()
    assert master.pending() == {}
    feed.close()


def test_without_keep_no_pending_data_is_stored(master: Master) -> None:
    one = Ticking()
    feed = run_feed(master, {"one": one}, keep=False)
    assert master.save()
    assert not one.is_stored
    assert master.pending() == {"one/ticks": b"5", "gone/ticks": b"6"}
    feed.close()
