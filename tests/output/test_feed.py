"""The stream of run events: what an output is told, whatever the others do."""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Event, UserCounts
from amoc_gevent.core.output_state import StateChanges
from amoc_gevent.core.records import Measured
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.base import Output, RunOutcome
from amoc_gevent.output.feed import AFTER_THE_SECOND, RunFeed
from tests.output.runs import START, run_of
from tests.servers import wait_for


class Told(Output):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def started(self, run: Run) -> None:
        self.calls.append(f"started {run.id}")

    def resumed(self, run: Run) -> None:
        self.calls.append(f"resumed {run.id}")

    def second(self, row: Measured) -> None:
        self.calls.append(f"second {row.second - START}: {row.snapshot.iterations}")

    def event(self, event: Event) -> None:
        self.calls.append(event.text)

    def ended(self, summary: RunOutcome) -> None:
        self.calls.append(f"{summary.status} after {summary.seconds:g} s")

    def close(self) -> None:
        self.calls.append("closed")


class Failing(Told):
    """Raises in the call of this name."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self.failing = True
        setattr(self, call, self._fail(getattr(self, call)))

    def _fail(self, call: Callable[..., None]) -> Callable[..., None]:
        def called(*arguments: object) -> None:
            if self.failing:
                raise ValueError("a bad day")
            call(*arguments)

        return called


class Slow(Told):
    """Waits in `event` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = gevent.event.Event()

    def event(self, event: Event) -> None:
        self.go.wait()
        super().event(event)


class Kept(Told):
    """Leaves the number of rounds that it was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = 0
        self.full = False

    def second(self, row: Measured) -> None:
        self.rounds += row.snapshot.iterations

    def pending(self, *, full: bool = False) -> StateChanges:
        self.full = full
        return StateChanges({"rounds": b"%d" % self.rounds}, ["old"])

    def stored(self) -> None:
        self.calls.append("stored")

    def restore(self, stored: dict[str, bytes]) -> None:
        self.calls.append(f"restored {sorted(stored)}")
        self.rounds = int(stored.get("rounds", b"0"))


class Owner:
    """A master: its run, and the feed that it drives."""

    def __init__(self, run: Run | None = None) -> None:
        self.run = run
        self.feed = RunFeed(lambda: self.run, self._note)

    def _note(self, kind: str, text: str) -> None:
        assert self.run is not None
        self.run.events.append(Event(START, kind, text))

    def begin(self, name: str = "one") -> Run:
        self.run = run = run_of()
        run.plan = replace(run.plan, run=name)
        self.look()
        return run

    def event(self, text: str) -> None:
        assert self.run is not None
        self.run.events.append(Event(START, "add", text))
        self.look()

    def second(self, after: int, iterations: int) -> None:
        assert self.run is not None
        self.run.results.add(START + after, Snapshot(iterations=iterations), [], UserCounts())

    def end(self) -> None:
        assert self.run is not None
        self.run.ended_at = START + 60.0
        self.run.plan = replace(self.run.plan, status="finished")
        self.look()

    def look(self) -> None:
        """Be at the end of a tick, and let the outputs be told."""
        self.feed.poll()
        gevent.idle()
        self.feed.poll()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have the steady clock stand still until a test sets it."""
    found = [float(START)]
    monkeypatch.setattr(clock, "steady", lambda: found[0])
    return found


@pytest.fixture
def owner() -> Iterator[Owner]:
    found = Owner()
    yield found
    found.feed.close()


def test_an_output_is_told_of_each_run_in_order(owner: Owner) -> None:
    told = Told()
    owner.feed.add(told)
    owner.begin()
    owner.event("five more")
    owner.second(1, 3)
    owner.end()
    owner.begin("two")
    owner.second(2, 4)
    assert told.calls == [
        "started one", "five more", "second 1: 3", "finished after 60 s",
        "started two", "second 2: 4",
    ]  # fmt: skip


def test_the_rest_of_a_run_is_told_before_the_next_one(owner: Owner) -> None:
    told = Told()
    owner.feed.add(told)
    owner.begin()
    run = owner.run
    assert run is not None
    run.events.append(Event(START, "add", "five more"))
    run.plan = replace(run.plan, status="failed")
    owner.begin("two")
    assert told.calls[:3] == ["started one", "five more", "failed after 0 s"]
    assert told.calls[3:] == ["started two"]


def test_an_output_that_is_added_in_the_midst_of_a_run_is_told_all_of_it(owner: Owner) -> None:
    owner.begin()
    owner.event("five more")
    owner.second(1, 3)
    told = Told()
    owner.feed.add(told)
    owner.second(1, 4)
    assert told.calls == ["started one", "second 1: 3", "five more", "second 1: 4"]


def test_a_run_of_an_earlier_master_is_resumed_and_only_what_is_new_is_told() -> None:
    run = run_of()
    run.events.append(Event(START, "add", "five more"))
    run.results.add(START, Snapshot(iterations=1), [], UserCounts())
    owner = Owner(run)
    told, late = Told(), Told()
    owner.feed.add(told)
    owner.event("two less")
    owner.second(1, 2)
    owner.feed.add(late)
    owner.event("three more")
    assert told.calls == [f"resumed {run.id}", "two less", "second 1: 2", "three more"]
    assert late.calls == [f"resumed {run.id}", "three more"]
    owner.feed.close()


def test_a_run_that_had_ended_before_the_master_began_does_not_end_again() -> None:
    run = run_of("finished", ended_after=5.0)
    owner = Owner(run)
    told = Told()
    owner.feed.add(told)
    owner.look()
    owner.begin("two")
    assert told.calls == [f"resumed {run.id}", "started two"]
    owner.feed.close()


@pytest.mark.parametrize("call", ["started", "second", "event", "tick"])
def test_an_output_that_raises_is_disconnected_until_the_next_run(
    owner: Owner, call: str, caplog: pytest.LogCaptureFixture, now: list[float]
) -> None:
    failing, told = Failing(call), Told()
    for output in (failing, told):
        owner.feed.add(output, type(output).__name__.lower())
    run = owner.begin()
    owner.event("five more")
    owner.second(1, 3)
    now[0] += 1
    owner.look()
    before = [*failing.calls]
    owner.second(2, 4)
    owner.event("two less")
    owner.end()

    assert failing.calls == before
    assert told.calls[0] == "started one"
    assert {"five more", "second 1: 3", "second 2: 4", "two less"} <= {*told.calls}
    assert "finished after 60 s" in told.calls
    notes = [event.text for event in run.events if event.kind == "output-failed"]
    assert notes == [
        "output failing failed: ValueError: a bad day; it gets nothing more of this run"
    ]
    assert [one.levelno for one in caplog.records] == [logging.ERROR]

    failing.failing = False
    owner.begin("two")
    owner.second(3, 5)
    assert failing.calls[-2:] == ["started two", "second 3: 5"]


def test_an_output_that_waits_holds_up_nobody(owner: Owner) -> None:
    slow, told = Slow(), Told()
    owner.feed.add(slow)
    owner.feed.add(told)
    owner.begin()
    for number in range(3):
        owner.event(f"event {number}")
    owner.second(1, 3)
    assert told.calls == ["started one", "event 0", "event 1", "event 2", "second 1: 3"]
    assert slow.calls == ["started one", "second 1: 3"]

    slow.go.set()
    wait_for(lambda: slow.calls[2:] == ["event 0", "event 1", "event 2"])


def test_closing_tells_what_is_left_and_does_not_wait_for_ever(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amoc_gevent.output.feed.CLOSE_S", 0.01)
    slow, told = Slow(), Told()
    owner.feed.add(slow)
    owner.feed.add(told)
    owner.begin()
    owner.event("five more")
    owner.run.events.append(Event(START, "add", "two less"))  # type: ignore[union-attr]
    owner.feed.close()
    owner.feed.close()
    assert told.calls == ["started one", "five more", "two less", "closed"]
    assert slow.calls == ["started one", "closed"]


def test_a_removed_output_is_told_nothing_more(owner: Owner) -> None:
    told = Told()
    owner.feed.add(told)
    run = owner.begin()
    owner.feed.remove(told)
    owner.event("five more")
    owner.second(1, 3)
    assert told.calls == ["started one"]
    assert run.results._observers == []


def test_ticks_come_a_quarter_after_each_second(owner: Owner, now: list[float]) -> None:
    ticks: list[float] = []
    told = Told()
    told.tick = ticks.append  # type: ignore[method-assign]
    owner.feed.add(told)
    for hundredths in range(0, 300, 5):
        now[0] = START + hundredths / 100
        owner.look()
    assert ticks == [START + second + AFTER_THE_SECOND for second in range(3)]


def test_no_tick_is_lost_though_time_passes_while_one_is_looked_for(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = itertools.count(1)
    monkeypatch.setattr(clock, "steady", lambda: START + next(passed) / 10)
    seen: list[int] = []
    told = Told()
    told.tick = lambda now: seen.append(int(now - AFTER_THE_SECOND) - START)  # type: ignore[method-assign]
    owner.feed.add(told)
    owner.begin()
    while not seen or seen[-1] < 20:
        owner.event("five more")
    assert seen == [*range(21)]


def test_a_view_is_renewed_at_once_each_second_and_at_the_end(
    owner: Owner, now: list[float]
) -> None:
    run = owner.begin()
    seen: list[float] = []

    def watch() -> None:
        seen.extend(now[0] - START for _ in owner.feed.each_second(run))

    watching = gevent.spawn(watch)
    for tenths in range(0, 20, 5):
        now[0] = START + tenths / 10
        owner.look()
    now[0] = START + 1.75
    owner.end()
    watching.join(10)
    assert seen == [0.0, 0.5, 1.5, 1.75]
    assert not owner.feed._subscriptions


def test_each_durable_output_goes_on_with_what_it_left(owner: Owner) -> None:
    kept, told = Kept(), Told()
    owner.feed.restore({"kept/rounds": b"5", "gone/rounds": b"6"})
    owner.feed.add(kept, "kept")
    owner.feed.add(told, "told")
    owner.begin()
    owner.second(1, 3)
    assert kept.calls == ["restored ['rounds']", "started one"]
    put, drop = owner.feed.pending()
    assert put == {"kept/rounds": b"8"}
    assert sorted(drop) == ["gone/rounds", "kept/old"]
    owner.feed.stored()
    assert kept.calls[-1] == "stored"
    assert owner.feed.pending() == ({"kept/rounds": b"8"}, ["kept/old"])


def test_where_nothing_is_stored_outputs_leave_all_and_there_is_nothing_of_others_to_drop(
    owner: Owner,
) -> None:
    kept = Kept()
    owner.feed.restore({"gone/rounds": b"6"})
    owner.feed.add(kept, "kept")
    assert owner.feed.pending(full=True) == ({"kept/rounds": b"0"}, ["kept/old"])
    assert kept.full
    assert owner.feed.pending().drop == ["gone/rounds", "kept/old"]
    assert not kept.full


def test_what_is_pending_is_up_to_this_moment_even_before_a_tick(owner: Owner) -> None:
    kept = Kept()
    owner.feed.add(kept, "kept")
    owner.run = run_of()
    owner.second(1, 3)
    assert owner.feed.pending().put == {"kept/rounds": b"3"}


def test_nothing_is_pending_of_an_output_that_failed(owner: Owner) -> None:
    kept = Kept()
    kept.pending = Failing("event").event  # type: ignore[method-assign]
    owner.feed.add(kept, "kept")
    owner.begin()
    assert owner.feed.pending() == ({}, [])
    owner.feed.stored()
    assert "stored" not in kept.calls
    owner.look()
    assert owner.run is not None
    assert [event.kind for event in owner.run.events] == ["output-failed"]
