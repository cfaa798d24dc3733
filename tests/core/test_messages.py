"""Messages: they survive encoding, and garbage raises MessageError and harms nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.measure.histogram import Histogram, bucket_of
from amoc_gevent.core.measure.results import Results
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import (
    MessageError,
    Report,
    decode_ack,
    decode_beat,
    decode_order,
    decode_plan,
    decode_report,
    encode,
)
from amoc_gevent.core.run.placement import own_shares
from amoc_gevent.core.run.plan import Options, Plan
from tests.messages import ACK, BEAT, ORDER, PLAN, REPORT, full_snapshot, junk, nearly

DECODERS: list[Callable[[bytes], Any]] = [
    decode_plan,
    decode_order,
    decode_report,
    decode_beat,
    decode_ack,
]


def seen(report: Report) -> Results:
    """Return what a master makes of a report's measurements, down to the rows."""
    results = Results()
    for second, snapshot in report.seconds:
        results.collect(second, snapshot, report.health, report.users)
    results.merge_collected(lambda *_: None)
    results.close_all()
    return results


def test_a_plan_survives_encoding() -> None:
    assert decode_plan(encode(PLAN)) == PLAN
    assert decode_plan(encode(Plan())) == Plan()


def test_an_order_survives_encoding() -> None:
    assert decode_order(encode(ORDER)) == ORDER


def test_beats_and_acknowledgements_survive_encoding() -> None:
    assert decode_beat(encode(BEAT)) == BEAT
    assert decode_ack(encode(ACK)) == ACK


def test_a_report_survives_encoding_with_all_measurements() -> None:
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


def test_decoded_snapshots_can_be_recorded_into() -> None:
    found = decode_report(encode(REPORT)).seconds[0][1]
    found.operation("GET /").latency.record(7)
    assert found.operations["GET /"].latency.count == 2


@pytest.mark.parametrize("count", [1, (1 << 16) - 1, 1 << 16, 1 << 40])
def test_histograms_of_any_count_survive_encoding(count: int) -> None:
    sent = Snapshot()
    buckets = {0: 1, 1000: count, bucket_of((1 << 63) - 1): 2}
    sent.lag = Histogram(buckets)
    sent.operation("GET /").latency = Histogram(buckets)
    sent.operation("GET /").phases["tls"] = Histogram(buckets)
    ((_, found),) = decode_report(encode(replace(REPORT, seconds=((5, sent),)))).seconds
    operation = found.operations["GET /"]
    assert found.lag.buckets == operation.latency.buckets == buckets
    assert operation.phases["tls"].buckets == buckets


def test_decoded_data_is_forwarded_with_later_additions() -> None:
    found = decode_report(encode(REPORT))
    assert encode(found) == encode(REPORT)
    operation = found.seconds[0][1].operation("GET /")
    before = dict(operation.latency.buckets)
    operation.latency.record(7)
    again = decode_report(encode(found)).seconds[0][1].operation("GET /")
    assert again.latency.buckets == {**before, 7: before.get(7, 0) + 1}


def test_an_integer_is_accepted_for_a_float() -> None:
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


@pytest.mark.parametrize("decoder", [one for one in DECODERS if one is not decode_beat])
@given(junk)
def test_wellformed_garbage_is_a_message_error_and_nothing_else(
    decoder: Callable[[bytes], Any], value: object
) -> None:
    with pytest.raises(MessageError, match="not a"):
        decoder(msgpack.packb(value))


@given(junk)
def test_wellformed_garbage_is_a_message_error_or_by_chance_a_beat(value: object) -> None:
    try:
        found = decode_beat(msgpack.packb(value))
    except MessageError:
        return
    assert decode_beat(encode(found)) == found  # a text and two numbers are one


@settings(max_examples=400)
@given(nearly(REPORT))
def test_a_damaged_report_that_decodes_does_not_harm_the_master(data: bytes) -> None:
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
def test_a_damaged_order_that_decodes_does_not_harm_a_worker(data: bytes) -> None:
    try:
        order = decode_order(data)
    except MessageError:
        return
    for share in own_shares(order.plan, order.node, order.workers, 0):
        assert share.batch.slot(share.ids[0]) >= share.batch.start
    encode(order)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((0,), 5),
        ((2,), True),
        ((4,), "asleep"),
        ((7, 0), -0.5),
        ((8, 0, 1, 1), {"orders": "7"}),
        ((8, 0, 1, 6), {5: 1}),
        ((8, 0, 1, 6), "\x05\x00\x01\x00"),
        ((8, 0, 1, 6), b"\x05\x00\x01"),
        ((8, 0, 1, 6), b"\x05\x00\x01\x00\x00\x6e\x01\x00"),
        ((8, 0, 1, 6), [b"\x05\x00"]),
        ((8, 0, 1, 6), [b"\x05\x00", 1]),
        ((8, 0, 1, 6), [b"\x05\x00", bytes(7)]),
        ((8, 0, 1, 6), [b"\x05\x00\x00", bytes(12)]),
        ((8, 0, 1, 6), [b"\x00\x6e", bytes(8)]),
        ((8, 0, 1, 6), [b"\x05\x00", b"\xff" * 8]),
        ((8, 0, 1, 0), []),
        ((8, 0, 1, 0), {1: [1, 0, b"", {}, {}]}),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"", {}]),
        ((8, 0, 1, 0, "GET /"), [1.5, 0, b"", {}, {}]),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"\x00\x6e\x01\x00", {}, {}]),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"", {"tls": b"\x00\x6e\x01\x00"}, {}]),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"", {"tls": b"\x00"}, {}]),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"", {1: b""}, {}]),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"", {}, {"timeout": "2"}]),
        ((8, 0, 1, 0, "GET /"), [1, 0, b"", {}, []]),
        ((9, 0, 4), "0.5"),
        ((11, 0), [1, 2, 3]),
        ((12,), ["one line"]),
        ((19,), "hello"),
        ((19, 1), None),
        ((19, 2), ["init()"] * 1001),
        ((19, 3, 0, 6), 1),
        ((19, 8), "feeder"),
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


GOOD = [1, 0, b"\x05\x00\x01\x00", {"tls": b""}, {}]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((0,), True),
        ((0,), 2**53 + 1),
        ((1,), -(2**53) - 1),
        ((1,), 1.0),
        ((2,), [b"\x05\x00", 1]),
        ((2,), b"\x05\x00\x01\x00\x05"),
        ((2,), b"\x00\x6e\x01\x00"),
        ((3,), []),
        ((3,), {1: b""}),
        ((3,), {"tls": [b"\x05\x00", 1]}),
        ((4,), {1: 2}),
        ((4,), {"x": True}),
        ((4,), None),
        ((), [*GOOD, 1]),
        ((), "row"),
    ],
)
def test_one_wrong_row_among_good_ones_is_found(at: tuple[int, ...], value: object) -> None:
    whole = msgpack.unpackb(encode(REPORT), strict_map_key=False)
    rows = {"a": [*GOOD], "b": [*GOOD], "c": [*GOOD]}
    if at:
        rows["b"][at[0]] = value
    else:
        rows["b"] = value  # type: ignore[assignment]
    whole[8][0][1][0] = rows
    with pytest.raises(MessageError, match="not a report: "):
        decode_report(msgpack.packb(whole))


def test_a_message_error_is_one_short_line() -> None:
    with pytest.raises(MessageError) as caught:
        decode_plan(msgpack.packb(["x\n" * 10_000] * 11))
    assert len(str(caught.value)) < 120
    assert "\n" not in str(caught.value)
