"""Masters that die: whatever carbon has by then, it has the figures of all runs in the end."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gevent
import pytest
from gevent import socket
from hypothesis import example, given
from hypothesis import strategies as st

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import Gauge, Snapshot
from amoc_gevent.core.messages import Event, UserCounts
from amoc_gevent.core.records import Measured
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.graphite import output
from amoc_gevent.output.graphite.output import RESENT_S, Graphite
from amoc_gevent.output.graphite.points import Point
from amoc_gevent.output.graphite.target import EventsAddress, Target
from tests.output.runs import health, measured, run_of

START = 1_000_000
INTERVAL = 10
NOBODY = UserCounts()


class FakeCarbon:
    """Carbon and the sender to it: as long as it is `away`, what is put waits in the master."""

    def __init__(self) -> None:
        self.away = False
        self.points: dict[tuple[str, int], float] = {}
        self.received: Counter[int] = Counter()
        self._waiting: list[Sequence[Point]] = []
        self._in_doubt: list[Sequence[Point]] = []

    def begin_master(self) -> "FakeCarbon":
        """Forget what an earlier master had not sent: it died with it."""
        self._waiting, self._in_doubt = [], []
        return self

    def put(self, _prefix: str, points: Sequence[Point]) -> None:
        self._waiting.append(points)
        self.read()

    def read(self) -> None:
        """Take what waits, unless it is away."""
        if self.away:
            return
        for points in self._waiting:
            self.points |= {(point.path, point.time): point.value for point in points}
            self.received[points[0].time] += 1
        self._in_doubt += self._waiting
        self._waiting = []

    def confirm(self) -> None:
        """Let a minute pass: what was sent before is not in doubt any more."""
        self._in_doubt = []

    def oldest_waiting(self) -> int | None:
        return min((points[0].time for points in self._waiting), default=None)

    def oldest(self) -> int | None:
        both = (*self._waiting, *self._in_doubt)
        return min((points[0].time for points in both), default=None)

    def finish(self, _patience: float) -> None:
        self.read()

    def count(self, name: str) -> float:
        return sum(value for (path, _), value in self.points.items() if path == f"amoc.{name}")

    def at(self, time: int) -> dict[str, float]:
        return {path: value for (path, when), value in self.points.items() if when == time}


class Masters:
    """A master of a home, and the ones after it; reports that are not stored come again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.carbon = FakeCarbon()
        self.now = float(START)
        self.interval = INTERVAL
        self.stored: dict[str, bytes] = {}
        self.reports: list[tuple[int, dict[str, list[int]]]] = []
        self.runs = [run_of()]
        self._saved = 0
        self.graphite: Graphite
        self.feed: RunFeed
        monkeypatch.setattr(output, "Carbon", lambda *_: self.carbon.begin_master())
        monkeypatch.setattr(clock, "steady", lambda: self.now)
        self._begin(None)

    @property
    def run(self) -> Run:
        return self.runs[-1]

    def _begin(self, run: Run | None) -> None:
        current = [run]
        self.graphite = Graphite(Target(("carbon", 2003), interval=self.interval), print)
        self.feed = RunFeed(lambda: current[0], no_note)
        self.feed.restore(self.stored)
        self.feed.add(self.graphite, "graphite")
        current[0] = self.run
        self._current = current

    def report(self, second: int, latencies: dict[str, list[int]]) -> None:
        self.feed.pending()  # the store was written when the run began
        self.reports.append((second, latencies))
        self._take_in(self.run, second, latencies)

    @staticmethod
    def _take_in(run: Run, second: int, latencies: dict[str, list[int]]) -> None:
        snapshot = measured(latencies)
        snapshot.counters["hits"] = sum(map(len, latencies.values()))
        snapshot.histograms["sizes"] = ("bytes", measured(latencies).operation("a").latency)
        run.results.add(second, snapshot, [], NOBODY)

    def save(self, *, full: bool = False) -> None:
        """Write the run store, or another one in its place."""
        put, drop = self.feed.pending(full=full)
        self.stored = {} if full else self.stored
        self.stored |= put
        for key in drop:
            del self.stored[key]
        self.feed.stored()
        self._saved = len(self.reports)

    def send(self, after: float = 0.0) -> None:
        self.now += after
        self.feed.pending()  # it is told what is new
        self.graphite.tick(self.now)

    def end_run(self) -> None:
        """End the run, and begin another."""
        self.save()
        self.run.ended_at = self.now
        self.run.plan = replace(self.run.plan, status="finished")
        self.save()
        self.runs.append(run_of())
        self._current[0] = self.run
        self.reports, self._saved = [], 0
        self.save()

    def die(self, down: float = 0.0, *, run_ended: bool = False) -> None:
        """Be killed, and have another master start after `down` seconds."""
        self.close()
        self.now += down
        run = self.runs[-1] = run_of()
        for report in self.reports[: self._saved]:
            self._take_in(run, *report)
        again, self.reports = self.reports[self._saved :], self.reports[: self._saved]
        self._begin(None if run_ended else run)
        for second, latencies in again:
            self.report(second, latencies)

    def finish(self) -> None:
        """End the last master, with carbon there."""
        self.carbon.away = False
        self.carbon.read()
        self.feed.close()

    def close(self) -> None:
        self.feed.remove(self.graphite)


def no_note(kind: str, text: str) -> None:
    """Fail: no output may."""
    raise AssertionError(text)


@pytest.fixture
def masters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Masters]:
    found = Masters(monkeypatch)
    yield found
    found.close()


def test_an_interval_is_whole_though_its_master_died_in_the_midst_of_it(masters: Masters) -> None:
    for second in range(START, START + 18):  # of these, the first 7 are closed
        masters.report(second, {"a": [second - START]})
    masters.save()
    masters.send(after=18)
    masters.die(down=1)
    masters.report(START + 19, {"a": [19]})
    masters.finish()

    assert masters.carbon.count("operations.a.count") == 19
    first, second = masters.carbon.at(START), masters.carbon.at(START + 10)
    assert (first["amoc.operations.a.min"], first["amoc.operations.a.max"]) == (0, 9)
    assert (second["amoc.operations.a.min"], second["amoc.operations.a.max"]) == (10, 19)
    assert second["amoc.histograms.sizes.count"] == second["amoc.counters.hits.count"] == 9
    assert second["amoc.counters.hits.one"] == 19


def test_an_interval_is_whole_though_the_run_store_was_replaced_in_the_midst_of_it(
    masters: Masters,
) -> None:
    masters.report(START + 1, {"a": [10]})
    masters.save()
    masters.report(START + 12, {"a": [20]})
    masters.feed.pending(full=True)  # which cannot be stored
    masters.save(full=True)
    masters.report(START + 13, {"a": [30]})
    masters.save()
    masters.die()
    masters.send(after=40.0)
    assert [masters.carbon.at(START + start)["amoc.operations.a.count"] for start in (0, 10)] == [
        1,
        2,
    ]


def test_gauges_users_and_health_are_as_before_after_a_death(masters: Masters) -> None:
    snapshot = Snapshot(gauges={"depth": Gauge(4.5)}, started=1, iterations=2, failed=3)
    users, one = UserCounts(1, 2, 3, 4), health(START, cpu=0.95, descriptors=7)
    masters.feed.pending()
    masters.run.results.add(START, snapshot, [one], users)
    masters.save()
    masters.send(after=12)
    before = masters.carbon.points.copy()
    assert {"amoc.gauges.depth", "amoc.users.done", "amoc.nodes.local.overloaded"} <= {
        path for path, _ in before
    }

    masters.carbon.points.clear()
    masters.die()
    masters.finish()
    assert masters.carbon.points == before


def test_what_waited_for_carbon_when_the_master_died_the_next_one_sends(masters: Masters) -> None:
    masters.carbon.away = True
    for second in range(START, START + 300):
        masters.report(second, {"a": [1]})
        masters.send(after=1)
        masters.save()
    masters.die(down=3600)
    masters.finish()

    assert masters.carbon.count("operations.a.count") == 300
    assert all(masters.carbon.at(START + after) for after in range(0, 300, INTERVAL))


def test_a_report_that_came_late_is_still_in_its_interval_after_a_death(masters: Masters) -> None:
    for second in (*range(START, START + 24), START + 5, START + 11):
        masters.report(second, {"a": [1]})
    masters.save()
    masters.send(after=30)
    masters.die()
    masters.finish()

    assert masters.carbon.at(START)["amoc.operations.a.count"] == 11
    assert masters.carbon.at(START + 10)["amoc.operations.a.count"] == 11


def test_operations_without_a_row_of_their_own_are_not_counted_twice(masters: Masters) -> None:
    for second in range(START, START + 18):
        masters.report(second, {f"n{number}": [1] for number in range(150)})
    masters.save()
    masters.send(after=18)
    masters.die()
    masters.finish()

    assert sum(masters.carbon.count(f"operations.n{number}.count") for number in range(150)) == 2700
    assert masters.carbon.count("operations.other.count") == 0


@pytest.mark.parametrize("killed", [True, False])
def test_two_runs_in_one_interval_add_up_over_a_death_or_a_restart(
    masters: Masters, *, killed: bool
) -> None:
    masters.report(START + 1, {"a": [1, 1]})
    masters.save()
    masters.now += 3
    if not killed:
        masters.feed.close()
        masters.save()
    masters.end_run()
    masters.die(run_ended=True)
    masters.report(START + 5, {"a": [1], "b": [1]})
    masters.save()
    masters.die()
    masters.finish()

    assert masters.carbon.at(START)["amoc.operations.a.count"] == 3
    assert masters.carbon.at(START)["amoc.operations.b.count"] == 1


def test_the_last_interval_of_a_run_is_sent_though_its_master_died_after_the_end(
    masters: Masters,
) -> None:
    masters.report(START + 8, {"a": [1]})
    masters.end_run()
    masters.die(down=86_400, run_ended=True)
    masters.finish()

    assert masters.carbon.count("operations.a.count") == 1


def test_what_was_sent_long_ago_is_not_sent_again(masters: Masters) -> None:
    for second in range(START, START + 40):
        masters.report(second, {"a": [1]})
        masters.send(after=1)
        masters.save()
    masters.send(after=12)
    masters.save()
    masters.die(down=RESENT_S + 100)
    masters.finish()
    assert set(masters.carbon.received.values()) == {1}

    masters.die()
    masters.report(START + 39, {"a": [1]})
    masters.finish()
    assert masters.carbon.count("operations.a.count") == 41


def test_what_carbon_may_not_have_read_is_sent_again(masters: Masters) -> None:
    masters.report(START, {"a": [1]})
    masters.send(after=12)
    masters.save()
    masters.carbon.points.clear()  # its machine died too
    masters.die(down=60)
    masters.finish()
    assert masters.carbon.count("operations.a.count") == 1


def test_what_is_settled_is_not_stored_any_more(masters: Masters) -> None:
    for second in range(START, START + 1000):
        masters.report(second, {"a": [1]})
        masters.send(after=1)
        masters.carbon.confirm()
        masters.save()
    assert len(masters.stored) < 150

    masters.die()
    masters.report(START + 3, {"a": [1]})  # of an interval that is not known any more
    masters.finish()
    assert masters.carbon.count("operations.a.count") == 1001


def test_another_length_of_intervals_loses_nothing(masters: Masters) -> None:
    for second in range(START, START + 25):
        masters.report(second, {"a": [1]})
    masters.save()
    masters.interval = 7
    masters.die()
    masters.report(START + 26, {"a": [1]})
    masters.save()
    masters.send(after=40)
    masters.die()
    masters.finish()
    assert masters.carbon.count("operations.a.count") == 26


def test_a_run_of_which_nothing_is_left_is_sent_from_now_on(masters: Masters) -> None:
    for second in range(START, START + 16):
        masters.report(second, {"a": [1]})
    masters.send(after=60)
    masters.save()
    masters.stored.clear()  # as a master without Graphite does
    masters.die()
    masters.save()
    masters.die()
    masters.report(START + 3, {"a": [1]})
    masters.finish()

    assert masters.carbon.at(START)["amoc.operations.a.count"] == 10
    assert masters.carbon.count("operations.a.count") == 17


def test_what_is_idle_after_a_death_is_at_zero(masters: Masters) -> None:
    masters.report(START, {"a": [1]})
    masters.save()
    masters.die()
    masters.report(START + 200, {"b": [1]})
    masters.finish()

    found = masters.carbon.at(START + 200)
    assert found["amoc.operations.a.count"] == found["amoc.counters.hits.one"] - 1 == 0


def test_what_cannot_be_read_is_said_and_the_rest_is_sent(
    masters: Masters, caplog: pytest.LogCaptureFixture
) -> None:
    masters.report(START, {"a": [1]})
    masters.report(START + 10, {"a": [1]})
    masters.save()
    masters.stored[f"graphite/interval/{INTERVAL}/{START}/1"] = b"?"
    masters.stored["graphite/annotations"] = b"["
    masters.die()
    masters.finish()

    assert masters.carbon.count("operations.a.count") == 1
    assert [": ".join(message.split(": ")[:2]) for message in caplog.messages] == [
        "Graphite: annotations of an earlier master cannot be read",
        f"Graphite: interval/{INTERVAL}/{START}/1 of an earlier master cannot be read",
    ]


def test_annotations_that_were_not_taken_are_posted_by_the_next_master() -> None:
    run, address = run_of(), EventsAddress.of("http://127.0.0.1:1/events/")
    target = Target(("127.0.0.1", 1), events=address)
    said: list[str] = []
    one = Graphite(target, said.append)
    one.restore({})
    one.started(run)
    one.event(Event(START, "start", "shop with users 1 to 10"))
    stored = dict(one.pending().put)
    one.stored()
    assert one.pending() == ({}, [])

    two = Graphite(target, said.append)
    two.resumed(run)
    two.restore(stored)
    assert two._events is not None
    assert [event["what"] for event in two._events.waiting] == ["amoc start"]
    for graphite in (one, two):
        graphite._carbon.finish(0)
        assert graphite._events is not None
        graphite._events.finish(0)


def test_at_the_end_carbon_is_waited_for_though_graphite_web_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def read(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                pass
            gevent.sleep(0.3)  # a busy one, which closes its end later

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        gevent.spawn(lambda: read(server.accept()[0]))
        address = EventsAddress.of("http://127.0.0.1:1/events/")
        graphite = Graphite(Target(server.getsockname(), events=address), said.append)
        run = run_of()
        graphite.started(run)
        graphite.event(Event(START, "start", "shop with users 1 to 10"))
        graphite.second(Measured(START, measured({"a": [1]}), (), NOBODY))
        monkeypatch.setattr(output, "FINISH_S", 1.0)
        graphite.close()

    assert [line.partition(" at ")[0] for line in said] == ["graphite-web", "graphite-web"]


steps = st.one_of(
    st.tuples(st.just("report"), st.integers(-40, 5), st.lists(st.integers(0, 99), max_size=3)),
    st.tuples(st.sampled_from(["send", "save", "die", "run", "away", "back", "confirm"])),
    st.tuples(st.just("wait"), st.integers(0, 200)),
)


@given(script=st.lists(steps, max_size=60))
@example(script=[("run",), ("report", -11, [0]), ("send",), ("die",)])
def test_whenever_masters_die_sums_and_extremes_are_those_of_the_runs(
    script: list[tuple[object, ...]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        masters = Masters(patch)
        masters.now += 100
        for what, *arguments in script:
            _play(masters, what, *arguments)
        masters.save()
        masters.finish()
        masters.close()

    total = Snapshot()
    for run in masters.runs:
        total.merge(run.results.total)
    series: dict[str, list[float]] = defaultdict(list)
    for (path, _), value in masters.carbon.points.items():
        series[path].append(value)
    assert sum(series["amoc.counters.hits.count"]) == total.counters.get("hits", 0)
    if "a" in total.operations:
        operation = total.operations["a"]
        assert sum(series["amoc.operations.a.count"]) == operation.count
        assert max(series["amoc.operations.a.max"], default=0) == operation.latency.max
        assert min(series["amoc.operations.a.min"], default=0) == operation.latency.min
        assert sum(series["amoc.histograms.sizes.count"]) == operation.count


def _play(masters: Masters, what: object, *arguments: object) -> None:
    match what, arguments:
        case "report", (int(ago), list(latencies)):
            masters.report(int(masters.now) + ago, {"a": latencies})
        case "wait", (int(seconds),):
            masters.now += seconds
        case "send", _:
            masters.send()
        case "save", _:
            masters.save()
        case "die", _:
            masters.die()
        case "run", _:
            masters.end_run()
        case "confirm", _:
            masters.carbon.confirm()
        case "away", _:
            masters.carbon.away = True
        case _:
            masters.carbon.away = False
            masters.carbon.read()
