"""`amoc run --graphite` with real carbon and graphite-web: what they return is the summary's."""

import re
import signal
import socket
from collections.abc import Iterator

import pytest

from amoc_gevent import clock
from tests.graphite_servers import Carbon, GraphiteWeb
from tests.integration.conftest import Amoc
from tests.integration.homes import Daemons, daemons_of
from tests.servers import Demo, listening_socket, wait_for

SCENARIO = """
from amoc_gevent import http, metrics, settings, user

url = settings.declare("url", "http://127.0.0.1:1", "the service")
logins = metrics.counter("log-ins")
depth = metrics.gauge("queue depth")
sizes = metrics.histogram("sizes", "bytes")


def start(user_id):
    with http.Session(url.value) as session:
        session.get("/")
        session.get("/status/503", name="GET <broken>")
        logins.add(2)
        depth.set(user_id)
        sizes.record(100 * user_id)
        user.sleep(0.02)
"""

LOAD = ("--user-rate", "100/s", "--repeat-interval", "30ms")
PATHS = {"GET /": "GET", "GET <broken>": "GET_broken"}


def graphite_options(carbon: Carbon, interval: int = 1) -> tuple[object, ...]:
    return (
        *("--graphite", carbon.address, "--graphite-prefix", "team.load"),
        *("--graphite-interval", f"{interval}s"),
    )


class Series:
    """What graphite-web returns of a run's metrics."""

    def __init__(self, web: GraphiteWeb, since: float) -> None:
        self._web = web
        self._since = since

    def values(self, path: str) -> list[float]:
        found = self._web.points(f"team.load.amoc.{path}", self._since)
        return [value for series in found.values() for value in series.values()]

    def sum(self, path: str) -> float:
        return sum(self.values(path))


def test_sums_and_extremes_of_all_points_are_the_summarys(
    amoc: Amoc, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb
) -> None:
    carbon.start()
    since = clock.wall()

    summary = amoc.load(
        *(amoc.scenario(SCENARIO), 1, 10, *LOAD, "--duration", "3s", "--comment", "the 3 seconds"),
        *(*graphite_options(carbon), "--graphite-events", f"{graphite_web.url}/events/"),
        *("--set", f"url={demo.url}", "--workers", 2),
    )

    series = Series(graphite_web, since)
    total = sum(one["count"] for one in summary["operations"].values())
    wait_for(lambda: series.sum("operations.*.count") == total, 20, "all counts in Graphite")
    carbon.end()  # which has read all, and now writes it
    assert total == demo.counts()["total"]
    for name, path in PATHS.items():
        operation = summary["operations"][name]
        latency = operation["latency_us"]
        assert series.sum(f"operations.{path}.count") == operation["count"] > 0
        assert series.sum(f"operations.{path}.rate") == operation["count"]
        assert series.sum(f"operations.{path}.errors") == operation["errors"]
        assert series.sum(f"operations.{path}.interrupted") == operation["interrupted"]
        assert min(series.values(f"operations.{path}.min")) == latency["min"]
        assert round(max(series.values(f"operations.{path}.max")), 1) == latency["max"]
    assert series.sum("counters.log-ins.count") == summary["counters"]["log-ins"]
    assert series.values("counters.log-ins.one")[-1] == summary["counters"]["log-ins"]
    assert series.sum("histograms.sizes.count") == summary["histograms"]["sizes"]["count"]
    assert max(series.values("histograms.sizes.max")) == summary["histograms"]["sizes"]["max"]
    assert series.values("gauges.queue_depth")[-1] == summary["gauges"]["queue depth"]["last"]
    for what in ("started", "iterations", "failed"):
        assert series.sum(f"users.{what}") == summary["users"][what]
    assert max(series.values("users.size")) <= summary["users"]["peak"]
    assert series.values("users.done")[-1] == 10
    assert series.values("users.size")[-1] == 0
    worst = summary["health"]["worst"]
    assert round(max(series.values("nodes.local.cpu")), 3) >= worst["cpu"]
    assert max(series.values("nodes.local.lag")) >= worst["lag_us"]
    assert max(series.values("nodes.local.descriptors")) == worst["descriptors"]
    assert max(series.values("nodes.local.workers")) == 2
    start, stop = graphite_web.events()
    assert (start["what"], stop["what"]) == ("amoc start", "amoc stop")
    assert start["data"] == (
        f"mine with users 1 to 10; nodes local; run {summary['run']['id']} of mine; the 3 seconds"
    )


@pytest.fixture
def long_step(carbon: Carbon) -> int:
    """A step of carbon's that began just now, so that one holds a whole run."""
    now = int(clock.wall())
    step = next(n for n in range(900, 1000) if now % n < n // 2)
    carbon.set_step(step)
    return step


def test_the_percentiles_of_a_run_in_one_interval_are_the_summarys(
    amoc: Amoc, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb, long_step: int
) -> None:
    carbon.start()

    summary = amoc.load(
        *(amoc.scenario(SCENARIO), 1, 10, *LOAD, "--duration", "2s", "--workers", 2),
        *(*graphite_options(carbon, long_step), "--graphite-events", "none"),
        *("--set", f"url={demo.url}"),
    )

    series = Series(graphite_web, clock.wall() - 2 * long_step)
    names = {"50": "median", "95": "95", "99": "99", "999": "999"}
    wait_for(lambda: series.values("operations.GET.count"), 20, "the points in Graphite")
    carbon.end()
    for name, path in PATHS.items():
        operation = summary["operations"][name]
        assert series.values(f"operations.{path}.count") == [operation["count"]]
        for in_summary, in_graphite in names.items():
            (value,) = series.values(f"operations.{path}.{in_graphite}")
            assert round(value, 1) == operation["latency_us"][f"p{in_summary}"]
        (mean,) = series.values(f"operations.{path}.mean")
        assert round(mean, 1) == operation["latency_us"]["mean"]


def test_with_carbon_down_the_run_is_what_it_is_and_that_is_said_once(
    amoc: Amoc, demo: Demo, carbon: Carbon
) -> None:
    process = amoc.start(
        *("run", amoc.scenario(SCENARIO), 1, 5, *LOAD, "--duration", "3s"),
        *(*graphite_options(carbon), "--graphite-events", f"http://{carbon.address}/events/"),
        *("--set", f"url={demo.url}", "--summary", amoc.summary_path),
    )
    process.expect("^running")

    assert process.wait(60) == 0, process.said()
    said = process.said()
    assert said.count("connection refused") == 2  # carbon, and graphite-web
    assert re.search(rf"Graphite at {carbon.address}: [\d,]+ points were not sent", said)
    assert "2 annotations were not posted" in said
    operations = amoc.summary()["operations"].values()
    assert sum(one["count"] for one in operations) == demo.counts()["total"] > 100


def test_one_run_after_another_adds_up_in_the_interval_of_both(
    amoc: Amoc, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb, long_step: int
) -> None:
    options = (*graphite_options(carbon, long_step), "--graphite-events", "none")
    load = (*("run", amoc.scenario(SCENARIO), 1, 5, *LOAD, "--duration", "1s"), *options)
    for exists in (False, True):  # what the first does not get rid of, the second one sends
        if exists:
            carbon.start()
        code, said = amoc.run(*load, "--set", f"url={demo.url}")
        assert code == 0, said

    series = Series(graphite_web, clock.wall() - 2 * long_step)
    total = demo.counts()["total"]
    wait_for(lambda: series.sum("operations.*.count") >= total, 20, "all counts")
    carbon.end()
    assert series.sum("operations.*.count") == total > 100
    assert len(series.values("operations.GET.count")) == 1


def test_a_home_that_cannot_be_written_keeps_no_run_from_graphite(
    amoc: Amoc, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb
) -> None:
    carbon.start()
    since = clock.wall() - 1
    (amoc.directory / "home").write_text("a file")
    summary = amoc.load(
        *(amoc.scenario(SCENARIO), 1, 5, *LOAD, "--duration", "1s", "--set", f"url={demo.url}"),
        *(*graphite_options(carbon), "--graphite-events", "none"),
    )
    series = Series(graphite_web, since)
    total = sum(one["count"] for one in summary["operations"].values())
    wait_for(lambda: series.sum("operations.*.count") == total, 20, "all counts")


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A server that takes connections and never reads."""
    with listening_socket() as sock:
        yield sock


def test_with_a_carbon_that_never_reads_the_run_ends_in_time(
    amoc: Amoc, demo: Demo, mute: socket.socket
) -> None:
    address = f"127.0.0.1:{mute.getsockname()[1]}"
    summary = amoc.load(
        *(amoc.scenario(SCENARIO), 1, 5, *LOAD, "--duration", "2s", "--set", f"url={demo.url}"),
        *("--graphite", address, "--graphite-interval", "1s"),
        *("--graphite-events", f"http://{address}/events/"),
    )

    assert sum(one["count"] for one in summary["operations"].values()) == demo.counts()["total"]
    assert summary["run"]["duration_s"] < 3


def test_what_carbon_missed_it_gets_when_it_is_back(
    amoc: Amoc, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb
) -> None:
    since = clock.wall()
    process = amoc.start(
        *("run", amoc.scenario(SCENARIO), 1, 5, *LOAD, *graphite_options(carbon)),
        *("--graphite-events", "none", "--set", f"url={demo.url}"),
        *("--summary", amoc.summary_path),
    )
    process.expect(f"Graphite at {carbon.address} does not accept data")
    carbon.start()
    process.expect(f"Graphite at {carbon.address} is back: ", 60)
    series = Series(graphite_web, since)
    wait_for(lambda: series.sum("counters.log-ins.count") > 100, 20, "points in Graphite")
    carbon.end()
    process.expect("(?s)is back.*does not accept data", 60)
    carbon.start()
    process.expect("(?s)is back.*is back", 60)
    process.popen.terminate()

    assert process.wait(30) == 0, process.said()
    summary = amoc.summary()
    total = sum(one["count"] for one in summary["operations"].values())
    wait_for(lambda: series.sum("operations.*.count") == total, 20, "all counts in Graphite")
    carbon.end()
    assert series.sum("users.iterations") == summary["users"]["iterations"]
    assert "not sent" not in process.said()


@pytest.fixture
def daemons(amoc: Amoc) -> Iterator[Daemons]:
    yield from daemons_of(amoc)


def kill_master(daemons: Daemons) -> None:
    """Kill the master, and wait for its end."""
    daemons.kill(signal.SIGKILL)
    wait_for(lambda: daemons.pid() is None, what="its end")


def test_a_masters_runs_and_events_are_in_graphite_over_its_death(
    daemons: Daemons, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb
) -> None:
    carbon.start()
    since = clock.wall() - 5  # for the point of an interval has the time of its begin
    path = daemons.amoc.scenario(SCENARIO)
    options = (*graphite_options(carbon, 5), "--graphite-events", f"{graphite_web.url}/events/")
    daemons.master(*options)
    daemons.node()
    settings = ("--set", f"url={demo.url}", "--comment", "through the night")

    daemons.good("do", path, 1, 10, "--user-rate", "100/s", *LOAD[2:], *settings)
    wait_for(lambda: demo.counts()["total"] > 100, what="load")
    daemons.good("add", 3)
    daemons.good("remove", 2)
    series = Series(graphite_web, since)
    wait_for(lambda: series.sum("operations.GET.count") > 0, 20, "an interval in Graphite")
    kill_master(daemons)
    daemons.master(*options)
    heard = demo.counts()["total"]
    wait_for(lambda: demo.counts()["total"] > heard + 100, 20, "the run to go on")
    daemons.good("stop")
    summary = daemons.json("summary")
    daemons.good("shutdown")

    total = sum(one["count"] for one in summary["operations"].values())
    assert total == demo.counts()["total"]
    wait_for(lambda: series.sum("operations.*.count") >= total, 20, "all counts")
    carbon.end()
    assert series.sum("operations.*.count") == total
    assert series.sum("histograms.sizes.count") == summary["histograms"]["sizes"]["count"]
    assert series.sum("users.iterations") == summary["users"]["iterations"]
    assert series.sum("counters.log-ins.count") == summary["counters"]["log-ins"]
    events = graphite_web.events()
    assert [event["what"] for event in events] == [
        "amoc start", "amoc add", "amoc remove", "amoc stop",
    ]  # fmt: skip
    assert events[1]["data"].startswith("3 users, 11 to 13; nodes one; run ")
    assert events[2]["data"].startswith("2 users; ids 12 to 13; nodes one; run ")
    assert all(event["data"].endswith("; through the night") for event in events)


def load_and_stop(daemons: Daemons, demo: Demo) -> None:
    """Have a run from its begin to its end, as soon as the node has joined."""
    heard = demo.counts()["total"]
    do = ("do", daemons.amoc.scenario(SCENARIO), 1, 10, *LOAD, "--set", f"url={demo.url}")
    wait_for(lambda: daemons.amoc.run(*do)[0] == 0, 20, "the node to have joined")
    wait_for(lambda: demo.counts()["total"] > heard + 100, 20, "load")
    daemons.good("stop")


def test_what_carbon_missed_when_the_master_died_it_gets_from_the_next(
    daemons: Daemons, demo: Demo, carbon: Carbon, graphite_web: GraphiteWeb, long_step: int
) -> None:
    options = (*graphite_options(carbon, long_step), "--graphite-events", "none")
    daemons.master(*options)
    daemons.node()
    load_and_stop(daemons, demo)
    load_and_stop(daemons, demo)
    kill_master(daemons)
    daemons.master(*options)
    load_and_stop(daemons, demo)  # in the interval of the others
    summaries = [daemons.json("summary", line["run"]) for line in daemons.json("runs")["runs"]]
    carbon.start()
    daemons.good("shutdown")

    series = Series(graphite_web, clock.wall() - 2 * long_step)
    total = sum(one["count"] for run in summaries for one in run["operations"].values())
    assert total == demo.counts()["total"] > 300
    wait_for(lambda: series.sum("operations.*.count") >= total, 20, "all counts")
    carbon.end()
    assert series.sum("operations.*.count") == total
    sizes = sum(run["histograms"]["sizes"]["count"] for run in summaries)
    assert series.values("histograms.sizes.count") == [sizes]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--graphite", "here:x"], "--graphite here:x: write it as HOST:PORT"),
        (["--graphite", ":2003"], "--graphite :2003: write it as HOST:PORT"),
        (["--graphite", "h", "--graphite-prefix", "a..b"], "--graphite-prefix a..b: "),
        (["--graphite", "h", "--graphite-interval", "1.5s"], "must be a whole number of seconds"),
        (["--graphite", "h", "--graphite-interval", "0s"], "must be a whole number of seconds"),
        (["--graphite", "h", "--graphite-events", "web:80"], "http://HOST:PORT/events/, or none"),
        (["--graphite-prefix", "a"], "need --graphite HOST:PORT"),
    ],
)
def test_bad_options_are_one_line_of_usage(amoc: Amoc, options: list[str], text: str) -> None:
    code, said = amoc.run("run", amoc.scenario(SCENARIO), 1, 2, *options)
    assert code == 2
    assert text in said
    assert len(said.splitlines()) == 1
