"""A master and a node that are told garbage go on, and count or name what they could not use."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amoc_gevent import clock
from amoc_gevent.bus.topics import BEAT, PLAN, ack_topic, code_topic
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import MessageError, decode_report, encode
from amoc_gevent.core.run.commands import Nodes, Status
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.master.store import Store
from tests.master import test_master
from tests.messages import ACK, REPORT, nearly
from tests.messages import BEAT as A_BEAT
from tests.messages import PLAN as A_PLAN
from tests.node import test_node
from tests.worker.crowd import until

FUZZED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def led(tmp_path: Path) -> Iterator[test_master.Stage]:
    """A master with a run store, a run, and a node."""
    stage = test_master.Stage(tmp_path, lease=600.0, store=Store(tmp_path / "runs.db"))
    stage.running("a")
    yield stage
    stage.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[test_node.Stage]:
    """A node and its played master."""
    stage = test_node.Stage(tmp_path)
    yield stage
    stage.close()


def test_spoiled_reports_do_a_master_no_harm(led: test_master.Stage) -> None:
    good = led.nodes[0]

    @FUZZED
    @given(nearly(replace(REPORT, source="b", run=led.run.id)) | st.binary(max_size=60))
    def spoil(data: bytes) -> None:
        good.garble(data)

    spoil()
    before = led.run.results.total.counters.get("good", 0)
    good.say(seconds=((int(clock.steady()), Snapshot(counters={"good": 1})),))
    until(lambda: led.run.results.total.counters.get("good", 0) == before + 1)
    assert led.run.status == "running" or led.run.failure is not None
    led.master.handle(Nodes())
    assert as_json(led.master.handle(Status()))["run"] == led.run.id
    assert led.master.counted["refused reports"] > 0


def test_spoiled_plans_beats_acknowledgements_and_sources_do_a_node_no_harm(
    node: test_node.Stage,
) -> None:
    ack = replace(ACK, incarnation=node.master.reports[0].incarnation)

    @FUZZED
    @given(
        st.sampled_from([PLAN, BEAT, ack_topic("here"), code_topic("x"), b"plan/more"]),
        st.lists(
            nearly(replace(A_PLAN, status="idle")) | nearly(A_BEAT) | nearly(ack) | st.binary(),
            max_size=3,
        ),
    )
    def spoil(topic: bytes, frames: list[bytes]) -> None:
        node.master.garble(topic, *frames)

    spoil()
    sequence = node.master.newest.sequence
    until(lambda: node.master.newest.sequence > sequence + 1, "more reports")
    test_node.until_told(
        lambda: node.master.acknowledge(sequence), lambda: node.master.newest.oldest > sequence
    )


@pytest.mark.parametrize("second", [-1, 10**15])
def test_seconds_that_cannot_be_are_refused(led: test_master.Stage, second: int) -> None:
    rows = len(led.run.results.rows)
    led.nodes[0].say(seconds=((second, Snapshot(counters={"lie": 1})),))
    until(lambda: led.master.counted["refused reports"])
    assert "lie" not in led.run.results.total.counters
    assert len(led.run.results.rows) == rows


def test_gaps_that_never_close_cost_no_memory_without_bound(
    led: test_master.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amoc_gevent.master.registry.GAPS_MAX", 20)
    good = led.nodes[0]
    for _ in range(100):
        good.sequence += 1  # that one is never sent
        good.say()
    view: NodeView = led.master.nodes["a"]
    until(lambda: view.newest == good.sequence)
    assert len(view.ahead) <= 21
    assert view.acknowledged > good.sequence - 60


def test_a_spoiled_report_is_not_one_of_ours() -> None:
    with pytest.raises(MessageError):
        decode_report(encode(REPORT)[:-1])
