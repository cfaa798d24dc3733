"""Messages: they survive the way, and garbage is one MessageError that poisons nobody."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.messages import (
    Ack,
    Beat,
    Clock,
    Event,
    Failure,
    Health,
    MessageError,
    Order,
    Report,
    UserCounts,
    decode_ack,
    decode_beat,
    decode_order,
    decode_plan,
    decode_report,
    encode,
)
from amoc_gevent.core.placement import Arrival, steps
from amoc_gevent.core.plan import UNRELEASED, Batch, Move, Options, Plan, Removal
from amoc_gevent.core.results import Results
from amoc_gevent.core.snapshot import Gauge, Snapshot, UserError

DECODERS: list[Callable[[bytes], Any]] = [
    decode_plan,
    decode_order,
    decode_report,
    decode_beat,
    decode_ack,
]


def full_snapshot() -> Snapshot:
    snapshot = Snapshot(
        counters={"orders": 7},
        gauges={"open": Gauge(2.5, "carts")},
        started=3,
        iterations=2,
        failed=1,
    )
    operation = snapshot.operation("GET /")
    operation.count, operation.interrupted = 4, 1
    operation.latency.record(1_234_567)
    operation.phase("connect").record(250)
    operation.fail("timeout", 2)
    snapshot.histograms["size"] = ("bytes", type(operation.latency)({5: 2}))
    snapshot.add_error(UserError("KeyError", "s.py:3", "m", "trace", 2, 1.5, 2.5))
    snapshot.lag.record(40)
    return snapshot


PLAN = Plan(
    version=7,
    run="r1",
    status="running",
    force=True,
    scenario="/s/hello.py",
    code="5e9d",
    settings={"url": "http://x"},
    options=Options(5.0, 0.0, 3, "stop", 1.0),
    batches=(Batch(1, 10, 99.5, 2.0, ("a", "b")), Batch(11, 11, UNRELEASED, 2.0, ("b",))),
    moves=(Move("b", ("a", "c"), 3, 120.5, 2.0, 1, ((2, 2),)),),
    removals=(Removal(9, 10, force=True), Removal(1, 7, force=False, step=2)),
    pauses=((110.0, 112.5), (130.0, UNRELEASED)),
)
CLOCK = Clock(77.25, -0.5, 0.0005)
ORDER = Order(PLAN, "a", 2, "/s/hello.py", CLOCK, 99.5, ((1, 3), (5, 5)))
REPORT = Report(
    source="a",
    incarnation="inc",
    sequence=42,
    run="r1",
    state="ready",
    oldest=40,
    plan_version=7,
    users=UserCounts(1, 2, 3, 4),
    seconds=((1234, full_snapshot()), (1235, Snapshot())),
    health=(Health("a", 0, 1234, 4321, 0.5, 100, 200, 10**8, 30, 1024, -0.5),),
    events=(Event(1.0, "stop", "gently"),),
    ended=((1, 2),),
    failure=Failure("no", "trace", usage=True),
    workers=2,
    sent=98.5,
    place="host:/home",
    wants="5e9d",
    left=True,
    clock=CLOCK,
)
BEAT = Beat("life", 1234.5, 7)
ACK = Ack("inc", 41, 98.5, 1234.0, 1234.5, 12.0, "no")


def seen(report: Report) -> Results:
    """Return what a master makes of a report's measurements, down to the rows."""
    results = Results()
    for second, snapshot in report.seconds:
        results.add(second, snapshot, report.health, report.users)
    results.close_all()
    return results


def test_a_plan_survives_the_way() -> None:
    assert decode_plan(encode(PLAN)) == PLAN
    assert decode_plan(encode(Plan())) == Plan()


def test_an_order_survives_the_way() -> None:
    assert decode_order(encode(ORDER)) == ORDER


def test_beats_and_acknowledgements_survive_the_way() -> None:
    assert decode_beat(encode(BEAT)) == BEAT
    assert decode_ack(encode(ACK)) == ACK


def test_a_report_survives_the_way_with_all_that_was_measured() -> None:
    found = decode_report(encode(REPORT))

    assert replace(found, seconds=()) == replace(REPORT, seconds=())
    assert [second for second, _ in found.seconds] == [1234, 1235]
    snapshot, original = found.seconds[0][1], full_snapshot()
    operation = snapshot.operations["GET /"]
    assert (operation.count, operation.errors, operation.interrupted) == (4, 2, 1)
    assert operation.latency.buckets == original.operations["GET /"].latency.buckets
    assert operation.phases["connect"].buckets == {250: 1}
    assert operation.error_groups == {"timeout": 2}
    assert snapshot.histograms["size"][0] == "bytes"
    assert snapshot.histograms["size"][1].buckets == {5: 2}
    assert snapshot.errors == original.errors
    assert snapshot.lag.buckets == {40: 1}
    assert (snapshot.counters, snapshot.gauges) == (original.counters, original.gauges)
    assert (snapshot.started, snapshot.iterations, snapshot.failed) == (3, 2, 1)


def test_what_was_decoded_can_be_recorded_into() -> None:
    found = decode_report(encode(REPORT)).seconds[0][1]
    found.operation("GET /").latency.record(7)
    assert found.operations["GET /"].latency.count == 2


def test_a_whole_number_where_a_fraction_is_meant_is_one() -> None:
    found = decode_plan(encode(Plan(pauses=((5, 6),), options=Options(user_rate=20))))
    assert isinstance(found.pauses[0][0], float)
    assert found.options.user_rate == 20.0


@pytest.mark.parametrize("decoder", DECODERS)
@given(st.binary(max_size=200))
def test_garbage_is_a_message_error_and_nothing_else(
    decoder: Callable[[bytes], Any], data: bytes
) -> None:
    with pytest.raises(MessageError, match="not a"):
        decoder(data)


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@pytest.mark.parametrize("decoder", DECODERS)
@given(junk)
def test_wellformed_garbage_is_a_message_error_and_nothing_else(
    decoder: Callable[[bytes], Any], value: object
) -> None:
    with pytest.raises(MessageError, match="not a"):
        decoder(msgpack.packb(value))


def spoiled(packed: Any, draw: st.DrawFn) -> Any:
    """Return `packed` with one value, at any depth, replaced by another."""
    if not isinstance(packed, list | dict) or not packed or draw(st.integers(0, 9)) == 0:
        return draw(junk)
    if isinstance(packed, dict):
        key = draw(st.sampled_from(sorted(packed, key=repr)))
        if draw(st.booleans()):
            return {**packed, key: spoiled(packed[key], draw)}
        return {**packed, draw(st.text(max_size=3) | st.integers(-(2**63), 2**64 - 1)): packed[key]}
    at = draw(st.integers(0, len(packed) - 1))
    return [*packed[:at], spoiled(packed[at], draw), *packed[at + 1 :]]


@st.composite
def nearly(draw: st.DrawFn, message: Plan | Order | Report) -> bytes:
    """Bytes of a message with one thing in it wrong."""
    whole = msgpack.unpackb(encode(message), strict_map_key=False)
    return bytes(msgpack.packb(spoiled(whole, draw)))


@settings(max_examples=400)
@given(nearly(REPORT))
def test_what_decodes_of_a_spoiled_report_does_the_master_no_harm(data: bytes) -> None:
    try:
        report = decode_report(data)
    except MessageError:
        return
    assert len(seen(report).rows) >= len(report.seconds) - 1
    assert len(IdSet(report.ended)) >= 0
    assert (report.users + report.users).present == 2 * report.users.present
    encode(report)


@settings(max_examples=200)
@given(nearly(ORDER))
def test_what_decodes_of_a_spoiled_order_does_a_worker_no_harm(data: bytes) -> None:
    try:
        order = decode_order(data)
    except MessageError:
        return
    for made in steps(order.plan, order.node, order.workers, 0):
        for step in made or ():
            if isinstance(step, Arrival) and step.share.ids:
                batch = step.share.batch
                assert batch.slot(step.share.ids[0]) >= batch.start
    encode(order)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((0,), 5),
        ((2,), True),
        ((4,), "asleep"),
        ((7, 0), -0.5),
        ((8, 0, 1, 1), {"orders": "7"}),
        ((8, 0, 1, 5), {-1: 1}),
        ((8, 0, 1, 5), {2**40: 1}),
        ((8, 0, 1, 5), {1.5: 1}),
        ((8, 0, 1, 5), {5: -1}),
        ((9, 0, 4), "0.5"),
        ((11, 0), [1, 2, 3]),
        ((12,), ["one line"]),
    ],
)
def test_each_value_of_a_report_must_be_of_its_type(at: tuple[int, ...], value: object) -> None:
    whole = msgpack.unpackb(encode(REPORT), strict_map_key=False)
    place = whole
    for step in at[:-1]:
        place = place[step]
    place[at[-1]] = value
    with pytest.raises(MessageError, match="not a report: "):
        decode_report(msgpack.packb(whole))


def test_a_message_error_is_one_short_line() -> None:
    with pytest.raises(MessageError) as caught:
        decode_plan(msgpack.packb(["x\n" * 10_000] * 11))
    assert len(str(caught.value)) < 120
    assert "\n" not in str(caught.value)
